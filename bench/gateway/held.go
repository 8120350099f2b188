//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// heldBody is what held POSTs carry, in bytes.
const heldBody = 1000

// hold is what one run of held calls showed.
type hold struct {
	before, during, after    int64 // RSS in bytes
	none, waiting, left      int   // goroutines
	entered, emptied, ceased time.Duration
}

// measureHeld has a line of calls wait for a permit that will not come, and
// then all of them leave.
func measureHeld(ctx context.Context, g *rig, s settings) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "### Calls held in line\n\n%d callers, an HTTP/1.1 connection each, wait for a permit of `1/1h`; then all leave at once. "+
		"RSS of headgate, without the kernel's socket buffers.\n\n", s.held)
	b.WriteString("| call | RSS before | RSS held | KB per call | all in line after | left: line empty after | goroutines back after | goroutines before / held / back |\n" +
		"|---|---|---|---|---|---|---|---|\n")
	for _, m := range []struct {
		name    string
		request []byte
	}{
		{"GET", get()},
		{fmt.Sprintf("POST %.1f KB", heldBody/1000.), post(heldBody)},
	} {
		r, err := g.hold(ctx, s.held, m.request)
		if err != nil {
			return "", fmt.Errorf("hold %s: %w", m.name, err)
		}
		log.Printf("held %d × %s: RSS %d → %d → %d MB", s.held, m.name, r.before>>20, r.during>>20, r.after>>20)
		fmt.Fprintf(&b, "| %s | %d MB | %d MB | %.1f | %.1f s | %.2f s | %.2f s | %d / %d / %d |\n", m.name,
			r.before>>20, r.during>>20, float64(r.during-r.before)/1024/float64(s.held),
			r.entered.Seconds(), r.emptied.Seconds(), r.ceased.Seconds(), r.none, r.waiting, r.left)
	}
	return b.String(), nil
}

// hold starts a headgate of its own, whose memory nothing else has touched.
func (g *rig) hold(ctx context.Context, n int, request []byte) (hold, error) {
	addr, err := freeAddr()
	if err != nil {
		return hold{}, err
	}
	admin, err := freeAddr()
	if err != nil {
		return hold{}, err
	}
	p, err := g.startHeadgate(ctx, addr, admin, "--limit", "1/1h",
		"--max-length", strconv.Itoa(n),
		"--max-wait", fmt.Sprintf("%dh", 2*n)) // the last one's turn comes in n hours: less, and it is refused at once
	if err != nil {
		return hold{}, err
	}
	defer g.end(p)
	a := headgateAdmin{base: "http://" + admin}

	first, err := dial(addr)
	if err != nil {
		return hold{}, err
	}
	err = first.call(request) // takes the hour's permit
	first.Close()
	if err != nil {
		return hold{}, err
	}
	var r hold
	if r.none, err = a.settled(ctx); err != nil {
		return r, err
	}
	if r.before, err = p.rss(); err != nil {
		return r, err
	}

	began := time.Now()
	c, err := startCallers(addr, n, func(_ *callers, one *conn) error { return one.call(request) })
	if err != nil {
		return r, err
	}
	if r.entered, err = a.until(ctx, began, a.inLine, func(v int) bool { return v >= n }); err != nil {
		return r, c.failed(err)
	}
	if r.waiting, err = a.settled(ctx); err != nil {
		return r, c.failed(err)
	}
	if r.during, err = p.rss(); err != nil {
		return r, c.failed(err)
	}

	began = time.Now()
	if err := c.stop(); err != nil {
		return r, err
	}
	if r.emptied, err = a.until(ctx, began, a.inLine, func(v int) bool { return v == 0 }); err != nil {
		return r, err
	}
	if r.ceased, err = a.until(ctx, began, a.goroutines, func(v int) bool { return v <= r.none }); err != nil {
		return r, err
	}
	if r.left, err = a.settled(ctx); err != nil {
		return r, err
	}
	r.after, err = p.rss()
	return r, err
}

// headgateAdmin reads the admin plane.
type headgateAdmin struct{ base string }

// inLine returns how many calls wait.
func (a headgateAdmin) inLine() (int, error) {
	text, err := a.get("/api/v1/status")
	if err != nil {
		return 0, err
	}
	var status struct {
		Upstreams []struct{ Line struct{ Length int } }
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return 0, err
	}
	if len(status.Upstreams) != 1 {
		return 0, fmt.Errorf("/api/v1/status has %d upstreams, want 1", len(status.Upstreams))
	}
	return status.Upstreams[0].Line.Length, nil
}

func (a headgateAdmin) goroutines() (int, error) {
	text, err := a.get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			return strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return 0, errors.New("/metrics has no go_goroutines")
}

func (a headgateAdmin) get(path string) ([]byte, error) {
	res, err := http.Get(a.base + path)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, res.Status)
	}
	return io.ReadAll(res.Body)
}

// settled gives what was just begun or ended two seconds, and returns the
// number of goroutines.
func (a headgateAdmin) settled(ctx context.Context) (int, error) {
	if err := sleep(ctx, 2*time.Second); err != nil {
		return 0, err
	}
	return a.goroutines()
}

// until returns how long after began a value was as it should be.
func (a headgateAdmin) until(ctx context.Context, began time.Time, value func() (int, error), ok func(int) bool) (time.Duration, error) {
	const most = 60 * time.Second
	for {
		v, err := value()
		if err != nil {
			return 0, err
		}
		took := time.Since(began)
		if ok(v) {
			return took, nil
		}
		if took > most {
			return 0, fmt.Errorf("not there after %v: at %d", most, v)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
	}
}
