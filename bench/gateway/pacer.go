//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// pacer sends calls at a fixed rate over kept-alive connections, from one
// thread that waits for the clock and for answers at once (epoll(7)). There is
// no goroutine between an answer and the moment that is noted for it, and
// nothing is allocated while it runs.
type pacer struct {
	epoll int
	conns map[int32]*pacedConn
	free  []*pacedConn
}

type pacedConn struct {
	fd   int
	call int // the one that is under way
	have int
	buf  [4 << 10]byte
}

// newPacer opens n connections to addr.
func newPacer(addr string, n int) (*pacer, error) {
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &pacer{epoll: epoll, conns: make(map[int32]*pacedConn)}
	for range n {
		if err := p.dial(to); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *pacer) dial(to *net.TCPAddr) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	c := &pacedConn{fd: fd}
	p.conns[int32(fd)] = c
	p.free = append(p.free, c)
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
		return os.NewSyscallError("connect", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return p.watch(fd)
}

func (p *pacer) watch(fd int) error {
	err := syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}

func (p *pacer) close() {
	for _, c := range p.conns {
		syscall.Close(c.fd)
	}
	syscall.Close(p.epoll)
}

// paced sends the calls of a slice to addr, over n connections of its own.
func paced(ctx context.Context, addr string, n int) (sliced, error) {
	p, err := newPacer(addr, n)
	if err != nil {
		return sliced{}, err
	}
	defer p.close()
	return p.run(ctx)
}

// run sends the calls of a slice.
func (p *pacer) run(ctx context.Context) (sliced, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC() // not while it is measured
	witnessed := watchCPUs(settle + slice)
	const interval = time.Second / paceRate
	calls := int((settle + slice) / interval)
	took, late := make([]float64, calls), make([]float64, calls)
	request := get()
	events := make([]syscall.EpollEvent, len(p.conns)+1)
	began := time.Now()
	ticks, err := newTicks(interval)
	if err != nil {
		return sliced{}, err
	}
	defer syscall.Close(ticks)
	if err := p.watch(ticks); err != nil {
		return sliced{}, err
	}
	since := func(call int) float64 { // it was due, in µs
		return float64(time.Since(began.Add(time.Duration(call+1)*interval)).Nanoseconds()) / 1000
	}
	for due, sent, done := 0, 0, 0; done < calls; {
		n, err := syscall.EpollWait(p.epoll, events, 5000)
		switch {
		case err != nil && err != syscall.EINTR:
			return sliced{}, os.NewSyscallError("epoll_wait", err)
		case err == nil && n == 0:
			return sliced{}, errors.New("no answer within 5 s")
		case ctx.Err() != nil:
			return sliced{}, context.Cause(ctx)
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == ticks {
				passed, err := readTicks(ticks)
				if err != nil {
					return sliced{}, err
				}
				for ; passed > 0 && due < calls; passed-- {
					late[due] = since(due)
					due++
				}
				continue
			}
			c := p.conns[e.Fd]
			whole, err := c.read()
			if err != nil {
				return sliced{}, err
			}
			if whole {
				took[c.call] = since(c.call)
				p.free = append(p.free, c)
				done++
			}
		}
		for ; sent < due && len(p.free) > 0; sent++ {
			c := p.free[len(p.free)-1]
			p.free = p.free[:len(p.free)-1]
			c.call, c.have = sent, 0
			if _, err := syscall.Write(c.fd, request); err != nil {
				return sliced{}, os.NewSyscallError("write", err)
			}
		}
	}
	stalls := witnessed()
	var kept, keptLate []float64
	for call := int(settle / interval); call < calls; call++ {
		due := began.Add(time.Duration(call+1) * interval)
		if !stalls.met(due, due.Add(time.Duration(1000*took[call]))) {
			kept, keptLate = append(kept, took[call]), append(keptLate, late[call])
		}
	}
	all := took[settle/interval:]
	one := sliced{all: quantilesOf(all), took: quantilesOf(kept)}
	one.leftOut = 100 * float64(len(all)-len(kept)) / float64(len(all))
	if len(keptLate) > 0 {
		one.late = quantilesOf(keptLate)[last]
	}
	return one, nil
}

// read reads what there is, and reports whether the answer is whole.
func (c *pacedConn) read() (whole bool, err error) {
	n, err := syscall.Read(c.fd, c.buf[c.have:])
	if err != nil {
		return false, os.NewSyscallError("read", err)
	}
	if n == 0 {
		return false, errors.New("the connection was closed")
	}
	c.have += n
	return isWhole(c.buf[:c.have])
}

// isWhole reports whether b is the upstream's answer from its beginning to its
// end. Anything else is an error.
func isWhole(b []byte) (bool, error) {
	const ok = "HTTP/1.1 200 "
	if len(b) >= len(ok) && string(b[:len(ok)]) != ok {
		return false, fmt.Errorf("answer is not 200: %s", b)
	}
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return false, nil
	}
	size := len(b) - head - len("\r\n\r\n")
	if size > answerSize {
		return false, fmt.Errorf("answer of %d bytes, want %d", size, answerSize)
	}
	return size == answerSize, nil
}

// newTicks returns a timer of the kernel's (timerfd_create(2)) that ticks at an
// interval from now on.
func newTicks(interval time.Duration) (fd int, err error) {
	const monotonic = 1 // CLOCK_MONOTONIC
	r, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("timerfd_create", errno)
	}
	every := syscall.NsecToTimespec(interval.Nanoseconds())
	spec := struct{ interval, first syscall.Timespec }{every, every}
	_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, r, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		syscall.Close(int(r))
		return 0, os.NewSyscallError("timerfd_settime", errno)
	}
	return int(r), nil
}

// readTicks returns how many ticks there were since it was last called.
func readTicks(timer int) (uint64, error) {
	var n [8]byte
	if _, err := syscall.Read(timer, n[:]); err != nil {
		return 0, os.NewSyscallError("read", err)
	}
	return binary.NativeEndian.Uint64(n[:]), nil
}
