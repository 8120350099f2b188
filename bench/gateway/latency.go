//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// paceRate is how many calls a second are sent, whatever becomes of them.
const paceRate = 1000

// quantiles are those that are told.
var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}}

// measureLatency sends GETs at a fixed rate to the upstream itself and through
// each front in turn. A call's latency counts from the moment it was due, so
// that one slow answer shows in those behind it.
func measureLatency(ctx context.Context, g *rig, s settings) (string, error) {
	ways := append([]*front{{name: "direct", addr: g.upstream}}, g.fronts...)
	took := make(map[string][][]float64) // by way: for each quantile, that of each round, in µs
	for _, w := range ways {
		took[w.name] = make([][]float64, len(quantiles))
	}
	for round := range s.rounds {
		for _, w := range ways {
			all, err := paced(ctx, w.addr, s)
			if err != nil {
				return "", fmt.Errorf("through %s: %w", w.name, err)
			}
			for i, q := range quantiles {
				took[w.name][i] = append(took[w.name][i], quantile(all, q.share))
			}
			log.Printf("latency, round %d of %d, %s: p50 %.0f µs", round+1, s.rounds, w.name, quantile(all, 0.5))
		}
	}

	var b strings.Builder
	fmt.Fprintf(&b, "### Latency at %d calls/s\n\nGET in open loop, counted from the moment a call was due, %d rounds of %v each in turn: median of the rounds (range), in µs.\n"+
		"Added is the difference to direct, round by round.\n\n| way |", paceRate, s.rounds, s.paced)
	for _, q := range quantiles {
		fmt.Fprintf(&b, " %s |", q.name)
	}
	for _, q := range quantiles {
		fmt.Fprintf(&b, " added %s |", q.name)
	}
	b.WriteString("\n|---" + strings.Repeat("|---", 2*len(quantiles)) + "|\n")
	for _, w := range ways {
		fmt.Fprintf(&b, "| %s |", w.name)
		for i := range quantiles {
			fmt.Fprintf(&b, " %s |", summary("%.0f", took[w.name][i]))
		}
		for i := range quantiles {
			if w.process == nil {
				b.WriteString(" |")
				continue
			}
			var added []float64
			for round, t := range took[w.name][i] {
				added = append(added, t-took["direct"][i][round])
			}
			fmt.Fprintf(&b, " %s |", summary("%.0f", added))
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// paced sends calls as they are due, on whichever connection is free, and
// returns their latencies in µs, in ascending order. The first second is a
// warm-up and left out.
func paced(ctx context.Context, addr string, s settings) ([]float64, error) {
	const interval = time.Second / paceRate
	calls := int((warmUp + s.paced) / interval)
	due := make(chan int, calls) // has room for all: who paces never waits
	took := make([]float64, calls)
	request := get()
	var began time.Time
	c, err := startCallers(addr, s.conns, func(_ *callers, one *conn) error {
		for i := range due {
			if err := one.call(request); err != nil {
				return err
			}
			took[i] = float64(time.Since(began.Add(time.Duration(i+1)*interval)).Nanoseconds()) / 1000
		}
		return nil
	})
	if err != nil {
		close(due)
		return nil, err
	}
	timer, err := newTicks(interval)
	if err != nil {
		close(due)
		return nil, c.failed(err)
	}
	defer timer.Close()
	began = time.Now()
	for sent := 0; sent < calls; {
		n, err := readTicks(timer)
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && c.err.Load() != nil {
			err = *c.err.Load()
		}
		if err != nil {
			close(due)
			return nil, c.failed(err)
		}
		for ; n > 0 && sent < calls; n-- {
			due <- sent
			sent++
		}
	}
	close(due)
	c.wg.Wait()
	if err := c.stop(); err != nil {
		return nil, err
	}
	took = took[warmUp/interval:]
	slices.Sort(took)
	return took, nil
}

// newTicks returns a timer of the kernel's (timerfd_create(2)) that ticks at an
// interval from now on. One of Go's would do so up to a millisecond late where
// nothing else runs: that is the unit of its wait for events.
func newTicks(interval time.Duration) (*os.File, error) {
	const monotonic = 1 // CLOCK_MONOTONIC
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("timerfd_create", errno)
	}
	every := syscall.NsecToTimespec(interval.Nanoseconds())
	spec := struct{ interval, first syscall.Timespec }{every, every}
	_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		syscall.Close(int(fd))
		return nil, os.NewSyscallError("timerfd_settime", errno)
	}
	return os.NewFile(fd, "timerfd"), nil
}

// readTicks waits for the next tick, and returns how many there were since it
// was last called.
func readTicks(timer *os.File) (uint64, error) {
	var n [8]byte
	if _, err := timer.Read(n[:]); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(n[:]), nil
}
