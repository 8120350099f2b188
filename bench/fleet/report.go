//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// about says what was measured, with what, on what and when.
func about(headgate, args string) (string, error) {
	redis, err := redisVersion()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(headgate, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", headgate, err)
	}
	return fmt.Sprintf(`## One quota for many instances

| | |
|---|---|
| command | %s |
| headgate | %s |
| redis | %s, nothing on disk, loopback |
| this program | %s |
| machine | %s, %d cores |
| load average before | %s |
| date | %s |
`,
		"`"+strings.TrimSpace("scripts/bench-fleet "+args)+"`",
		strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), ", "),
		redis, runtime.Version(), cpuModel(), runtime.NumCPU(), loadAverage(), time.Now().UTC().Format(time.DateOnly)), nil
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
	m := fmt.Sprintf(format, median(values))
	if len(values) == 1 {
		return m
	}
	return fmt.Sprintf("%s ("+format+" – "+format+")", m, slices.Min(values), slices.Max(values))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// quantile returns the least of the values, which are in ascending order, that
// a share of them does not exceed (nearest rank).
func quantile(sorted []float64, share float64) float64 {
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// counted writes how many of all, over the rounds.
func counted(of, all int) string {
	if of == 0 {
		return fmt.Sprintf("0 of %d", all)
	}
	return fmt.Sprintf("%d of %d (%.2f %%)", of, all, 100*float64(of)/float64(all))
}
