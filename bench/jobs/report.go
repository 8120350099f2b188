//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// about says what was measured, with what, on what and when.
func about(args string) (string, error) {
	redis, err := redisVersion()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`## Jobs in Redis

| | |
|---|---|
| command | %s |
| asynq | %s |
| redis | %s, loopback |
| this program | %s |
| machine | %s, %d cores |
| load average before | %s |
| date | %s |
`,
		"`"+strings.TrimSpace("scripts/bench-jobs "+args)+"`", version("github.com/hibiken/asynq"), redis,
		runtime.Version(), cpuModel(), runtime.NumCPU(), loadAverage(), time.Now().UTC().Format(time.DateOnly)), nil
}

// version returns that of a module in this program.
func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "unknown"
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

// cpuModel returns the processor's name, or its architecture where Linux does
// not say.
func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// loadAverage returns that of 1, 5 and 15 minutes: above 0 before the start
// somebody else is at work.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// summary writes the median of values, and their range if there are several.
func summary(format string, values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	m := fmt.Sprintf(format, (sorted[(n-1)/2]+sorted[n/2])/2)
	if n == 1 {
		return m
	}
	return fmt.Sprintf("%s ("+format+" – "+format+")", m, sorted[0], sorted[n-1])
}
