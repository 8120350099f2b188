//go:build linux

package main

import (
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// stallLeast is how late a witness wakes at least where a CPU stood still. To
// wake from idle takes tens of µs.
const stallLeast = 500 * time.Microsecond

// stalls are times during which a CPU stood still: a hypervisor gave it to
// somebody else, as a rule. No program can do anything about that, and a call
// that met one says nothing about its way.
type stalls []stall

type stall struct{ from, to time.Time }

// met reports whether a call met one of them.
func (s stalls) met(due, done time.Time) bool {
	for _, one := range s {
		if due.Before(one.to) && done.After(one.from) {
			return true
		}
	}
	return false
}

// watchCPUs has a thread on each CPU wake every millisecond, for so long and a
// little longer, and returns a function that waits for them and says what they
// saw. They go before all other threads (sched(7)), so that no front can make
// them late; where that is not allowed, or they cannot be pinned, a busy machine
// counts as one that stands still.
func watchCPUs(span time.Duration) func() stalls {
	var wg sync.WaitGroup
	seen := make([]stalls, runtime.NumCPU())
	for cpu := range seen {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // the thread must not end: what it has started would be stopped (Pdeathsig)
			defer goBefore(cpu)()
			seen[cpu] = witness(span)
		})
	}
	return func() (all stalls) {
		wg.Wait()
		for _, s := range seen {
			all = append(all, s...)
		}
		return all
	}
}

// goBefore lets this thread go before all others on a CPU, as far as that is
// allowed, until back is called.
func goBefore(cpu int) (back func()) {
	const other, fifo = 0, 1
	set := func(mask [16]uint64, policy uintptr, priority int32) {
		_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
		_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, policy, uintptr(unsafe.Pointer(&priority)))
	}
	var before, one [16]uint64
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(before), uintptr(unsafe.Pointer(&before)))
	one[cpu/64] = 1 << (cpu % 64)
	set(one, fifo, 1)
	return func() { set(before, other, 0) }
}

// witness wakes for so long, and returns when it did so late.
func witness(span time.Duration) (seen stalls) {
	const interval = time.Millisecond
	next := time.Now()
	for end := next.Add(span + 20*interval); next.Before(end); {
		next = next.Add(interval)
		wait := syscall.NsecToTimespec(time.Until(next).Nanoseconds())
		_, _, _ = syscall.Syscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&wait)), 0, 0)
		if now := time.Now(); now.Sub(next) > stallLeast {
			// It may have begun right after the last look, and those that it
			// held up need a moment.
			seen = append(seen, stall{next.Add(-interval), now.Add(interval)})
			next = now
		}
	}
	return seen
}
