//go:build linux

package main

import (
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

	"github.com/redis/go-redis/v9"
)

// server is a Redis of our own, in a directory of its own.
type server struct {
	addr   string
	dir    string
	cmd    *exec.Cmd
	client *redis.Client
}

// startRedis starts a Redis, and returns when it answers. fsync is off, everysec
// or always.
func startRedis(ctx context.Context, fsync string) (_ *server, err error) {
	dir, err := os.MkdirTemp("", "bench-jobs-*")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(s.addr)
	args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--logfile", filepath.Join(dir, "log")}
	if fsync == "off" {
		args = append(args, "--appendonly", "no")
	} else {
		args = append(args, "--appendonly", "yes", "--appendfsync", fsync)
	}
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // Ctrl-C is ours
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.client = redis.NewClient(&redis.Options{Addr: s.addr})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = s.client.Ping(ctx).Err(); err == nil {
			return s, nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			said, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("start redis-server: %w\n%s", err, said)
		}
	}
}

// stop ends the server and forgets all that it kept.
func (s *server) stop() {
	if s.client != nil {
		_ = s.client.Close() // nothing is under way
	}
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill() // it fails only if it has ended
		_ = s.cmd.Wait()
	}
	_ = os.RemoveAll(s.dir)
}

// cpu returns the CPU time that the server has spent.
func (s *server) cpu(ctx context.Context) (time.Duration, error) {
	text, err := s.client.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	var times int
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("INFO: %s: %w", name, err)
		}
		sum += time.Duration(seconds * float64(time.Second))
		times++
	}
	if times != 2 {
		return 0, errors.New("INFO does not tell the CPU time")
	}
	return sum, nil
}

// selfCPU returns the CPU time that this program has spent.
func selfCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
