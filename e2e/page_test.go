package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A saturated gate is opened in a real browser, read, and looked after.
func TestPageShowsAndRunsAGate(t *testing.T) {
	b := newBrowser(t)
	g := servePage(t)
	b.look(t, 1280, 900, "dark")
	b.open(t, g.admin+"/")
	b.waitFor(t, "#link", "live")

	t.Run("the usage chart moves", func(t *testing.T) {
		b.waitFor(t, `[data-key="api"] .limit`, "4/2s")
		b.waitFor(t, `[data-key="api"] .limit`, "4 of 4 in use")
		picture := `document.querySelector('[data-key="api"] .chart canvas')?.toDataURL()`
		eventually(t, "there is a chart", func() bool { return b.eval(t, picture) != "undefined" })
		first := b.eval(t, picture)
		eventually(t, "the chart is drawn anew", func() bool { return b.eval(t, picture) != first })
	})

	t.Run("who waits is shown, for what and until when", func(t *testing.T) {
		b.tab(t, "waiting")
		b.waitFor(t, "tbody tr:last-child", "4/2s")
		b.waitFor(t, "tbody tr:last-child code", "GET /v1/items")
		row := b.eval(t, `[...document.querySelectorAll("tbody tr:last-child > *")].map((e) => e.dataset.label + "=" + e.innerText).join(";")`)
		if !regexp.MustCompile(`Place=\d+;.*Priority=3;Waits for=4/2s;Earliest in=\d[\d.]*m?s`).MatchString(row) {
			t.Errorf("the last row is %q, want its place, limit and time", row)
		}
	})

	t.Run("pause and resume work", func(t *testing.T) {
		b.tab(t, "overview")
		b.click(t, `[data-act="pause"][data-name="api"]`)
		b.waitFor(t, "dialog[open] h2", "Pause api?")
		b.do(t, "say how long", chromedp.SetValue("dialog [name=for]", "nonsense", chromedp.ByQuery))
		b.click(t, "#ask-yes")
		b.waitFor(t, "#ask-fault", "want a duration up to 24h")
		b.do(t, "say how long", chromedp.SetValue("dialog [name=for]", "5m", chromedp.ByQuery))
		b.click(t, "#ask-yes")
		b.waitFor(t, "#toast", "api is paused for 5m.")
		b.waitFor(t, `[data-key="api"] .banner`, "Paused for ")
		b.waitFor(t, `[data-key="api"] .badge`, "paused")
		g.waitFor(t, `msg="change by the admin plane" request="POST /api/v1/upstreams/api/pause" from=127\.0\.0\.1:\d+ detail=5m0s`)
		g.waitFor(t, `msg=pause upstream=api .*reason="by hand"`)
		if until := g.paused(t, "api"); time.Until(until) < 4*time.Minute {
			t.Errorf("paused until %v, want five minutes", until)
		}
		b.click(t, `[data-act="resume"][data-name="api"]`)
		b.click(t, "#ask-yes")
		b.waitFor(t, "#toast", "api is resumed.")
		b.waitFor(t, `[data-key="api"] .badge`, "calls wait")
		if until := g.paused(t, "api"); !until.IsZero() {
			t.Errorf("paused until %v, want it resumed", until)
		}
	})

	t.Run("a breaker is opened and closed", func(t *testing.T) {
		b.click(t, `[data-act="open-breaker"][data-name="flaky"]`)
		b.click(t, "#ask-yes")
		b.waitFor(t, `[data-key="flaky"] .banner`, "Breaker open, by hand")
		b.click(t, `[data-act="close-breaker"][data-name="flaky"]`)
		b.click(t, "#ask-yes")
		b.waitFor(t, `[data-key="flaky"] .badge`, "flowing")
		b.tab(t, "retries")
		b.waitFor(t, "tbody", "breaker closed")
	})

	t.Run("a failed job is retried", func(t *testing.T) {
		id := g.failJob(t)
		b.tab(t, "jobs")
		b.click(t, `[data-act="job-state"][data-state="failed"]`)
		b.click(t, `[data-id="`+id+`"]`)
		b.waitFor(t, ".panel .timeline", "400 fatal")
		b.click(t, `[data-act="job-retry"]`)
		b.waitFor(t, "dialog[open]", id)
		b.click(t, "#ask-yes")
		b.waitFor(t, "#toast", "The job is to run again")
		b.click(t, `[data-act="job-state"][data-state="done"]`)
		b.waitFor(t, `[data-key="`+id+`"]`, "done")
		b.waitFor(t, ".panel", "Attempts (2)")
		b.click(t, `[data-act="job-close"]`)
	})

	t.Run("arrows go through the tabs", func(t *testing.T) {
		b.tab(t, "overview")
		b.do(t, "press keys", chromedp.Focus("#tab-overview", chromedp.ByQuery), chromedp.KeyEvent("\u0303"), chromedp.KeyEvent("\u0303"))
		if on := b.eval(t, "document.activeElement.id"); on != "tab-retries" {
			t.Errorf("two arrows to the right lead to %s, want tab-retries", on)
		}
	})

	for _, scheme := range []string{"dark", "light"} {
		for _, width := range []int64{1280, 390} {
			b.look(t, width, 844, scheme)
			for _, view := range []string{"overview", "waiting", "retries", "jobs", "instances", "limits"} {
				b.tab(t, view)
				eventually(t, view+" is there", func() bool { return len(b.eval(t, "document.getElementById('main').innerText")) > 40 })
				if low := b.lowContrast(t); low != "" {
					t.Errorf("%s, %s, %d px: too little contrast of\n%s", view, scheme, width, low)
				}
				if bare := b.nameless(t); bare != "" {
					t.Errorf("%s, %s, %d px: no name for\n%s", view, scheme, width, bare)
				}
				if w := b.eval(t, "document.documentElement.scrollWidth - innerWidth"); strings.HasPrefix(w, "-") == false && w != "0" {
					t.Errorf("%s, %s, %d px: %s px wider than the window", view, scheme, width, w)
				}
			}
		}
	}

	if found := b.elsewhere(t, g.admin); len(found) > 0 {
		t.Errorf("fetched from elsewhere: %q", found)
	}
	for _, fault := range b.complaints() {
		if !strings.Contains(fault, "status of 400") { // of the duration that was no duration
			t.Errorf("the page complains: %s", fault)
		}
	}

	t.Run("a lost connection is said", func(t *testing.T) {
		b.tab(t, "overview")
		if err := g.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		b.waitFor(t, "#link", "connection lost")
	})
}

func TestPageAsksForTheAdminKey(t *testing.T) {
	b := newBrowser(t)
	made := run(t, headgate([]string{"key", "--name", "admin"}))
	key := regexp.MustCompile(`key:  (\S+)\nhash: (\S+)`).FindStringSubmatch(made.stdout)
	g, _ := serveFile(t, fmt.Sprintf("admin_key: %q\nupstreams: {api: {url: %q}}\n", key[2], mock(t)))
	b.look(t, 390, 844, "light")
	b.open(t, g.admin+"/")
	b.click(t, `[data-act="pause"][data-name="api"]`)
	b.click(t, "#ask-yes")
	b.waitFor(t, "#ask-fault", "need the admin key")
	b.do(t, "give the key", chromedp.SetValue("dialog [name=key]", key[1], chromedp.ByQuery))
	b.click(t, "#ask-yes")
	b.waitFor(t, "#toast", "api is paused for 30s.")
	b.click(t, `[data-act="resume"][data-name="api"]`) // it is not asked for again
	b.click(t, "#ask-yes")
	b.waitFor(t, "#toast", "api is resumed.")
	if strings.Contains(g.stderr.String(), key[1]) {
		t.Errorf("the log has the key:\n%s", g.stderr)
	}
}

// pageGate is a gate worth looking at: more is asked of api than its limit
// gives, and flaky answers the first call of a path with 400.
type pageGate struct{ *gate }

func servePage(t *testing.T) pageGate {
	t.Helper()
	var seen sync.Map
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := seen.LoadOrStore(r.URL.Path, new(atomic.Int64))
		if n.(*atomic.Int64).Add(1) == 1 {
			w.WriteHeader(http.StatusBadRequest)
		}
		io.WriteString(w, "{}")
	}))
	t.Cleanup(flaky.Close)
	g, _ := serveFile(t, fmt.Sprintf(`
jobs: %q
upstreams:
  api: {url: %q, limits: [4/2s], line: {max_wait: 10m}}
  flaky: {url: %q}
`, filepath.Join(t.TempDir(), "jobs.db"), mock(t, "--limit", "4/2s"), flaky.URL))
	ctx, stop := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for i := range 12 {
		callers.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/api/v1/items?n=%d", g.url, i), nil)
				if err != nil {
					return
				}
				if resp, err := http.DefaultClient.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
	t.Cleanup(func() { stop(); callers.Wait() })
	return pageGate{g}
}

// paused returns until when an upstream is paused, zero if it is not.
func (g pageGate) paused(t *testing.T, upstream string) (until time.Time) {
	t.Helper()
	resp, err := http.Get(g.admin + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var status struct {
		Upstreams []struct {
			Name        string
			Credentials []struct {
				PausedUntil time.Time `json:"paused_until"`
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	for _, u := range status.Upstreams {
		if u.Name == upstream {
			for _, c := range u.Credentials {
				until = c.PausedUntil
			}
		}
	}
	return until
}

// failJob stores a job, and returns its ID once it has failed.
func (g pageGate) failJob(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequest("POST", g.url+"/flaky/v1/once", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Prefer", "respond-async")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	id := strings.TrimPrefix(resp.Header.Get("Location"), "/jobs/")
	eventually(t, "job "+id+" has failed", func() bool {
		resp, err := http.Get(g.admin + "/api/v1/jobs/" + id)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var j struct{ State string }
		return json.NewDecoder(resp.Body).Decode(&j) == nil && j.State == "failed"
	})
	return id
}
