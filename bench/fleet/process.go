//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that was started here, and is stopped by its process id.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// start runs a program until stop, its output going to a file, and returns once
// it accepts connections at addr.
func start(ctx context.Context, log, addr string, command ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = apart()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended matters only while it is awaited
	}()
	if err := p.await(ctx, addr); err != nil {
		p.stop()
		said, _ := os.ReadFile(log)
		return nil, fmt.Errorf("start %s: %w\n%s", filepath.Base(p.cmd.Path), err, bytes.TrimSpace(said))
	}
	return p, nil
}

// apart has a process leave Ctrl-C to us, who stop it, and end if we are killed.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// await returns once addr accepts connections.
func (p *process) await(ctx context.Context, addr string) error {
	return eventually(ctx, "it does not listen", func() (bool, error) {
		select {
		case <-p.ended:
			return false, errors.New("it ended")
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
}

// stop ends the process, by force if it does not end within 5 s.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it fails only if it has ended
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// rss returns the memory of the process that is in RAM, in bytes.
func (p *process) rss() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}

// eventually returns once done does, or with missing as its error after 10 s.
func eventually(ctx context.Context, missing string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New(missing))
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// allowFiles raises the bound on open files, for this process and those it
// starts.
func allowFiles(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur, l.Max = max(l.Cur, n), max(l.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("%d open files are needed: %w; raise the hard limit (ulimit -Hn)", n, err)
	}
	return nil
}

// freeAddr returns an address that nobody listens on now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
