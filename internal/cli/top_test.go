package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/admin"
)

func TestTopPrintsOnceWithoutATerminal(t *testing.T) {
	g, err := headgate.Open(t.Context(), config.Config{Upstreams: map[string]config.Upstream{"openai": {URL: "http://127.0.0.1:1", Limits: []config.Limit{{Limit: "50/1m"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	permit, err := g.Acquire(t.Context(), "openai", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer permit.Done(headgate.OK)
	if err := g.Pause("openai", time.Hour); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(admin.New(admin.Options{Listen: "127.0.0.1:0", Version: "1.2.3", Gate: g, Metrics: http.NotFoundHandler()}))
	defer server.Close()
	status, stdout, stderr := run(t, "", "top", "--server", server.URL)
	for _, want := range []string{"Headgate 1.2.3", "openai", "paused for 1h0m0s", "50/1m", "1 of 50", "WHAT HAPPENED"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("top prints\n%s\nwant %q in it", stdout, want)
		}
	}
	if status != 0 || stderr != "" || stdout != ansi.Strip(stdout) {
		t.Errorf("top = %d, stderr %q, stdout\n%q, want 0 and plain text", status, stderr, stdout)
	}
}

func TestTopSaysWhereNobodyAnswers(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	if status, _, stderr := run(t, "", "top", "--server", gone.URL); status != 1 || !strings.Contains(stderr, "is headgate serve running there?") {
		t.Errorf("top = %d %s, want 1 and what to look at", status, stderr)
	}
	if status, _, _ := run(t, "", "top", "--server", "ftp://x"); status != 2 {
		t.Errorf("top of an address that is none = %d, want 2", status)
	}
}

func TestTopFitsTheWindow(t *testing.T) {
	x := &top{server: &jobServer{}}
	x.server, _ = newJobServer("127.0.0.1:8788")
	for i := range 12 {
		u := headgate.UpstreamStatus{Name: fmt.Sprint("upstream-of-a-very-long-name-", i)}
		for range 4 {
			u.Credentials = append(u.Credentials, headgate.CredentialStatus{Breaker: "closed", Limits: []headgate.LimitStatus{{Limit: "tokens:200000/1m", Used: 5, InForce: 200000, Source: "told"}}})
		}
		x.mu.said.Status.Upstreams = append(x.mu.said.Status.Upstreams, u)
	}
	x.mu.said.At = time.Now()
	for range 50 {
		x.mu.notes = append(x.mu.notes, topNote{Kind: "retry", Upstream: "a", Reason: strings.Repeat("long ", 50) + "\x1b[2J"})
	}
	for _, size := range [][2]int{{80, 24}, {20, 5}, {200, 60}} {
		lines := newTopPainter(lipgloss.NewRenderer(io.Discard), size[0], size[1]).page(x)
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			if w := ansi.StringWidth(line); w > size[0] || strings.Contains(line, "\x1b[2J") {
				t.Errorf("%v: line of %d columns: %q", size, w, line)
			}
		}
		if text := strings.Join(lines, "\n"); size[1] == 24 && (!strings.Contains(text, "make the window higher") || !strings.Contains(text, "attempt 1 of 0")) {
			t.Errorf("%v:\n%s\nwant what is left out said, and some of what happened", size, text)
		}
	}
}

func TestTopHearsWhatHappensUntilTheInstanceEnds(t *testing.T) {
	feed := new(admin.Feed)
	a := admin.New(admin.Options{Listen: "127.0.0.1:0", Gate: newGate(t), Feed: feed, Metrics: http.NotFoundHandler()})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	server := httptest.NewServer(a)
	defer server.Close()
	s, err := newJobServer(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	feed.Events().Paused(headgate.Paused{Upstream: "openai", Until: time.Now().Add(time.Hour), Reason: "by hand"})
	x := &top{server: s}
	words := 0
	err = x.listen(t.Context(), func() {
		if words++; words == 3 { // snapshot, pause, status
			stop()
		}
	})
	<-ended
	if words < 3 || len(x.mu.notes) != 1 || x.mu.notes[0].Reason != "by hand" || x.mu.said.At.IsZero() {
		t.Errorf("heard %d words, %+v, %+v, want a status and a pause", words, x.mu.said, x.mu.notes)
	}
	if err == nil || !strings.Contains(err.Error(), "ended the connection") {
		t.Errorf("listen = %v, want that the instance ended it", err)
	}
}
