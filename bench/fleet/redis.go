//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a Redis of our own, which keeps nothing on disk.
type server struct {
	addr    string
	process *process
	client  *redis.Client
}

func (g *rig) startRedis(ctx context.Context) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, g.file("redis"), addr,
		"redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", g.dir, "--save", "", "--appendonly", "no")
	if err != nil {
		return nil, err
	}
	return &server{addr: addr, process: p, client: redis.NewClient(&redis.Options{Addr: addr})}, nil
}

func (s *server) url() string { return "redis://" + s.addr }

func (s *server) stop() {
	_ = s.client.Close() // nothing is under way
	s.process.stop()
}

// spent is what a Redis did for those who asked it.
type spent struct {
	at    time.Time
	steps int64         // functions and scripts run: a round trip each
	cpu   time.Duration // of the whole server
}

func (s *server) spent(ctx context.Context) (spent, error) {
	text, err := s.client.Info(ctx, "cpu", "commandstats").Result()
	if err != nil {
		return spent{}, err
	}
	sum, err := readSpent(text)
	sum.at = time.Now()
	return sum, err
}

// readSpent reads what INFO says of CPU and commands.
func readSpent(text string) (spent, error) {
	var sum spent
	var times int
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_sys", "used_cpu_user":
			s, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return spent{}, fmt.Errorf("INFO: %s: %w", name, err)
			}
			sum.cpu += time.Duration(s * float64(time.Second))
			times++
		case "cmdstat_fcall", "cmdstat_evalsha", "cmdstat_eval":
			var calls int64
			if _, err := fmt.Sscanf(value, "calls=%d,", &calls); err != nil {
				return spent{}, fmt.Errorf("INFO: %s:%s: %w", name, value, err)
			}
			sum.steps += calls
		}
	}
	if times != 2 {
		return spent{}, errors.New("INFO does not tell the CPU time")
	}
	return sum, nil
}

// since returns what was spent from an earlier moment to this.
func (s spent) since(earlier spent) spent {
	return spent{s.at, s.steps - earlier.steps, s.cpu - earlier.cpu}
}

// memory returns what the keys of Headgate take, in bytes, and how many there
// are.
func (s *server) memory(ctx context.Context) (size int64, keys int, err error) {
	names, err := s.client.Keys(ctx, "headgate:*").Result()
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		n, err := s.client.MemoryUsage(ctx, name, 0).Result() // 0: all fields, not a sample
		if err != nil {
			return 0, 0, err
		}
		size += n
	}
	return size, len(names), nil
}

func redisVersion() (string, error) {
	out, err := exec.Command("redis-server", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("redis-server --version: %w", err)
	}
	for _, word := range bytes.Fields(out) {
		if v, ok := bytes.CutPrefix(word, []byte("v=")); ok {
			return string(v), nil
		}
	}
	return string(bytes.TrimSpace(out)), nil
}
