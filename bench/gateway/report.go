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
func about(nginxPath, headgatePath, args string) (string, error) {
	nginx, err := exec.Command(nginxPath, "-v").CombinedOutput() // it says so on stderr
	if err != nil {
		return "", fmt.Errorf("nginx -v: %w", err)
	}
	headgate, err := exec.Command(headgatePath, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", headgatePath, err)
	}
	versions := strings.Join(strings.Split(strings.TrimSpace(string(headgate)), "\n"), ", ")
	pins := "none (that takes two cores and taskset)"
	if pinLoad() {
		pins = fmt.Sprintf("front on CPU %s, load and upstream on CPU %s; none for latency", frontCPU, loadCPU)
		unpinLoad()
	}
	return fmt.Sprintf(`## The gateway's cost beside nginx

| | |
|---|---|
| command | %s |
| headgate | %s; %s |
| nginx | %s; one worker |
| load | %s; upstream: nginx, %d bytes of JSON |
| machine | %s, %d cores |
| pinning | %s |
| load average before | %s |
| date | %s |
`,
		"`"+strings.TrimSpace("scripts/bench-gateway "+args)+"`",
		versions, "`serve --limit 1000000/1s`, otherwise with its defaults; GOMAXPROCS=1, but for latency",
		strings.TrimPrefix(strings.TrimSpace(string(nginx)), "nginx version: "),
		runtime.Version(), answerSize,
		cpuModel(), runtime.NumCPU(), pins, loadAverage(), time.Now().UTC().Format(time.DateOnly)), nil
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

// quantile returns the least of the values, which are in ascending order, that
// a share of them does not exceed (nearest rank).
func quantile(sorted []float64, share float64) float64 {
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}
