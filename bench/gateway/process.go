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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The cores that processes are pinned to.
const (
	frontCPU = "0"
	loadCPU  = "1"
)

// process is a program that was started here, and is stopped by its process id.
type process struct {
	cmd   *exec.Cmd
	log   string        // the file that its output goes to
	ended chan struct{} // closed when it has
}

// start runs a program until stop, pinned to a core unless cpu is "", and
// returns once it accepts connections at addr.
func start(ctx context.Context, log, cpu, addr string, env []string, command ...string) (*process, error) {
	if cpu != "" {
		command = append([]string{"taskset", "-c", cpu}, command...) // which becomes the program: same process id
	}
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(command[0], command[1:]...), log: log, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C is for us; we stop it
		Pdeathsig: syscall.SIGTERM, // should we be killed
	}
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

// await returns once addr accepts connections.
func (p *process) await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("it does not listen"))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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

// cpu returns the CPU time that the process and its children have used, such
// as nginx and its worker.
func (p *process) cpu() (time.Duration, error) {
	pid := p.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, id := range append(strings.Fields(string(children)), strconv.Itoa(pid)) {
		stat, err := os.ReadFile("/proc/" + id + "/stat")
		if err != nil {
			return 0, err
		}
		used, err := cpuOf(string(stat))
		if err != nil {
			return 0, fmt.Errorf("/proc/%s/stat: %w", id, err)
		}
		total += used
	}
	return total, nil
}

// tick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// cpuOf returns utime + stime of a /proc/PID/stat (proc_pid_stat(5)), fields 14
// and 15. The name, field 2, is in parentheses and may hold anything.
func cpuOf(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%q: too few fields", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(user+system) * tick, nil
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

// allowFiles raises the bound on open files, for this process and those it
// starts.
func allowFiles(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur, l.Max = n, max(l.Max, n)
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
