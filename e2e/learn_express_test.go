package e2e

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests measure, so that they do not run beside others of another kind.

func TestLimitThatExpressTellsIsLearned(t *testing.T) {
	for _, draft := range []string{"draft-6", "draft-8"} {
		t.Run(draft, func(t *testing.T) {
			t.Parallel() // the two are a small load
			usage, refused, late := loadExpress(t, draft, 10*time.Second)
			if usage < 0.85 || refused > 12 {
				missed(t, late, "usage = %.1f %%, %d refused, want 85 %% or more and at most 12", 100*usage, refused)
			}
		})
	}
}

func TestExpressRefusesNothingThatIsConfigured(t *testing.T) {
	usage, refused, late := loadExpress(t, "draft-8", 6*time.Second, "--limit", "80/2s")
	if usage < 0.9 || refused > 0 {
		missed(t, late, "usage = %.1f %%, %d refused, want 90 %% or more and none", 100*usage, refused)
	}
}

// loadExpress has callers want all they can get for a span, of whole windows, of
// an API that express-rate-limit limits, through a gate with args. It returns
// which share of the quota they used after the first window, how many of their
// calls were refused, and how late timers came at most.
func loadExpress(t *testing.T, draft string, span time.Duration, args ...string) (usage float64, refused int, late time.Duration) {
	t.Helper()
	const n, window = 80, 2 * time.Second
	api := startExpress(t, draft)
	g := serve(t, append(args, "--upstream", api)...)
	c := newClient(t)
	req := newRequest(t, "GET", g.url+"/", "")
	lateness := watchTimers(t)
	callers := startCallers(t, 40, 0, func() *http.Request { return req.Clone(t.Context()) })
	time.Sleep(span)
	endAll(callers)
	late = lateness()
	wantAll200(t, callers)

	var counted [][2]float64 // when, in ms, and the status
	if a := get(t, c, api+"/counted"); json.Unmarshal([]byte(a.body), &counted) != nil || len(counted) == 0 {
		t.Fatalf("counted = %v", a)
	}
	first := slices.MinFunc(counted, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })[0]
	accepted := 0
	for _, r := range counted {
		at := time.Duration((r[0] - first) * float64(time.Millisecond))
		switch {
		case r[1] == http.StatusTooManyRequests:
			refused++
		case at >= window && at < span:
			accepted++
		}
	}
	usage = float64(accepted) / float64(n*(span-window)/window)
	t.Logf("%s %q: usage %.1f %%, %d of %d refused; timers came up to %v late", draft, args, 100*usage, refused, len(counted), late)
	return usage, refused, late
}

// startExpress starts testdata/express, and returns its URL.
func startExpress(t *testing.T, draft string) string {
	t.Helper()
	dir := install(t, "express")
	p := start(t, exec.Command("node", filepath.Join(dir, "api.mjs"), draft))
	eventually(t, "express listens", func() bool { return strings.HasSuffix(p.stdout.String(), "\n") })
	_, port, _ := strings.Cut(strings.TrimSpace(p.stdout.String()), " ")
	return "http://127.0.0.1:" + port
}
