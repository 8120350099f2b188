package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// These tests measure, so that they do not run beside others.

// Who calls a silent upstream.
const (
	ours = iota
	foreign
)

func TestLimitThatNobodyTellsIsLearned(t *testing.T) {
	const span = 20 * time.Second
	up := newSilent(t, "100/1s", (*silent).serve)
	g := serve(t, "--upstream", up.URL)
	lateness := watchTimers(t)
	callers := startCallers(t, 60, 0, requests(t, g.url, ours))
	time.Sleep(span)
	endAll(callers)
	late := lateness()
	wantAll200(t, callers)

	h := up.history()
	from := h[0].at
	usage, refused := up.usage(from, from.Add(span)), h.refusedShare()
	t.Logf("usage %.1f %%, in its last third %.1f %%; %d of %d refused, %.2f %%; timers came up to %v late",
		100*usage, 100*up.usage(from.Add(span*2/3), from.Add(span)), h.refused(), len(h), 100*refused, late)
	if refused > 0.01 {
		t.Errorf("%.2f %% were refused, want at most 1 %%", 100*refused)
	}
	if usage < 0.85 {
		missed(t, late, "usage = %.1f %%, want 85 %% or more", 100*usage)
	}
}

func TestForeignUserOfTheQuotaGetsRoom(t *testing.T) {
	const n, span = 100, 30 * time.Second
	up := newSilent(t, fmt.Sprintf("%d/1s", n), (*silent).serve)
	g := serve(t, "--upstream", up.URL, "--limit", fmt.Sprintf("%d/1s", n))
	lateness := watchTimers(t)
	endForeign := callSteadily(t, 3*time.Second/n, requests(t, up.URL, foreign))
	callers := startCallers(t, 60, 0, requests(t, g.url, ours))
	time.Sleep(span)
	endAll(callers)
	endForeign()
	late := lateness()
	wantAll200(t, callers)

	h := up.history()
	from := h[0].at
	h = h.between(from, from.Add(span))
	mine, theirs := h.by(ours), h.by(foreign)
	usage := up.usage(from, from.Add(span))
	t.Logf("usage of the whole %.1f %%; ours: %d of %d refused, %.2f %%; foreign: %d of %d refused, %.1f %%; timers came up to %v late",
		100*usage, mine.refused(), len(mine), 100*mine.refusedShare(), theirs.refused(), len(theirs), 100*theirs.refusedShare(), late)
	if refused := mine.refusedShare(); refused > 0.01 {
		missed(t, late, "%.2f %% of our calls were refused, want at most 1 %%", 100*refused)
	}
	if refused := theirs.refusedShare(); refused > 0.1 {
		missed(t, late, "%.1f %% of the foreign calls were refused, want at most 10 %%", 100*refused)
	}
	if usage < 0.95 {
		missed(t, late, "usage of the whole = %.1f %%, want 95 %% or more", 100*usage)
	}
}

func TestTokensOfUnknownAnswersFillTheQuota(t *testing.T) {
	const span = 10 * time.Second
	up := newSilent(t, "tokens:30000/1s", (*silent).serveModel)
	g, _ := serveFile(t, fmt.Sprintf(`upstreams: {model: {url: %q, dialect: openai, limits: ["tokens:30000/1s"]}}`, up.URL))
	lateness := watchTimers(t)
	var asked atomic.Int64
	callers := startCallers(t, 60, 0, func() *http.Request {
		stream := ""
		if asked.Add(1)%3 == 0 {
			stream = `"stream":true,"stream_options":{"include_usage":true},`
		}
		body := fmt.Sprintf(`{"model":"m",%s"messages":[{"role":"user","content":%q}]}`, stream, strings.Repeat("x", 250+rand.IntN(1000)))
		return newRequest(t, "POST", g.url+"/model/v1/chat/completions", body, "Content-Type", "application/json")
	})
	time.Sleep(span)
	endAll(callers)
	late := lateness()
	wantAll200(t, callers)

	h := up.history()
	from := h[0].at
	usage, refused := up.usage(from, from.Add(span)), h.refusedShare()
	t.Logf("usage %.1f %%; %d of %d refused, %.2f %%; timers came up to %v late", 100*usage, h.refused(), len(h), 100*refused, late)
	if usage < 0.9 || refused > 0.001 {
		missed(t, late, "usage = %.1f %%, %.2f %% refused, want 90 %% or more and at most 0.1 %%", 100*usage, 100*refused)
	}
}

// requests returns what makes requests to an upstream or a gate, in the name of
// ours or foreign.
func requests(t *testing.T, url string, by int) func() *http.Request {
	t.Helper()
	req := newRequest(t, "GET", url+"/", "", instanceHeader, strconv.Itoa(by))
	return func() *http.Request { return req.Clone(t.Context()) }
}

// callSteadily makes a call every so often, whatever becomes of the others,
// until it is ended.
func callSteadily(t *testing.T, every time.Duration, next func() *http.Request) (end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	client := newClient(t)
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				running.Go(func() {
					if _, err := try(client, next()); err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
	return func() {
		stop()
		running.Wait()
	}
}
