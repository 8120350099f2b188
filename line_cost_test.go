//go:build unix

package headgate

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/breaker"
)

// What a call costs the desk must not grow with those who wait. The bound is
// loose: a cost that grows with them would take minutes. It is on the time of
// the processor, since other programs may have most of the machine.
func TestTenThousandWaitCheaply(t *testing.T) {
	tests := []struct {
		name        string
		credentials int
	}{
		{"of one credential", 1},
		{"of a hundred credentials", 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := config.Config{Upstreams: map[string]config.Upstream{"api": {
				URL: "http://api.test", Limits: limits("1/1h"), Line: config.Line{MaxWait: config.Duration(1e6 * time.Hour)},
			}}}
			g, err := Open(t.Context(), cfg, Base(&fake{}))
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			u := g.upstream("api")
			start, since := time.Now(), processorTime(t)
			var waiting []*waiter
			for i := range 10_000 {
				w := &waiter{upstream: u, keys: []credentialKey{{name: fmt.Sprint(i % test.credentials)}}, ready: make(chan struct{}, 1)}
				w.entry.Value, w.deadline = w, start.Add(1e6*time.Hour)
				granted, err := u.desk.enter(w, false)
				if err != nil {
					t.Fatal(err)
				}
				if !granted {
					waiting = append(waiting, w)
				}
			}
			joined := processorTime(t) - since
			since = processorTime(t)
			for i := range 200 { // attempts that are refused, all at once
				s := waiting[i%len(waiting)].seat
				u.desk.answered(s, grant{}, verdict{outcome: breaker.Throttled, told: true, pause: func(int) time.Duration { return time.Hour }})
				u.desk.written(s, grant{})
			}
			told := processorTime(t) - since
			since = processorTime(t)
			for _, w := range waiting {
				u.desk.leave(w)
			}
			left := processorTime(t) - since
			t.Logf("joined %v, 200 refusals %v, left %v", joined, told, left)
			if all := joined + told + left; all > 20*time.Second {
				t.Errorf("took %v, want seconds", all)
			}
		})
	}
}

// processorTime returns what the process has used of it.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
