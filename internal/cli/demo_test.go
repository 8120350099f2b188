package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/lipgloss"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

func TestFleetStormsAroundTheGateAndNotThroughIt(t *testing.T) {
	l, err := limit.Parse("50/10s")
	if err != nil {
		t.Fatal(err)
	}
	var both [2]*demoResult
	for i, through := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			upstream := mock.New(mock.Config{Limits: []limit.Limit{l}, Latency: demoLatency, Jitter: demoJitter})
			f := newFleet(slices.Repeat([]string{"http://upstream"}, demoClients), thinkFor(l), !through)
			var rt = upstream.RoundTripper()
			if through {
				rt = headgate.Transport(headgate.Limit("50/10s"), headgate.Base(rt))
			}
			for _, c := range f.clients {
				c.Transport = rt
			}
			h := &demoHalf{through: through, upstream: upstream, fleet: f, began: time.Now()}
			// Not a deadline: the door would refuse what cannot end before it.
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(20*time.Second, cancel)
			f.run(ctx)
			h.end()
			both[i] = h.view().result()
		})
	}
	around, through := both[0], both[1]
	if around.Throttled < 100 || around.Lost == 0 || *around.AttemptsPerSuccess < 2 {
		t.Errorf("around the gate: %+v, want a storm: 429s, lost calls, several attempts for each success", *around)
	}
	if through.Throttled != 0 || through.Lost != 0 || *through.AttemptsPerSuccess != 1 {
		t.Errorf("through the gate: %+v, want no 429, no lost call and one attempt each", *through)
	}
	if through.Answered < around.Answered*95/100 {
		t.Errorf("through the gate %d were answered, around it %d; want no less", through.Answered, around.Answered)
	}
	for _, r := range both {
		if got := r.Answered + r.Lost + r.Unfinished; got != r.Wanted {
			t.Errorf("%+v: ends sum up to %d, want the calls wanted", *r, got)
		}
	}
}

func TestCallersGiveUpAfterFiveTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		f := &fleet{retries: true}
		client := demoClient{Client: &http.Client{Transport: answers(func() int { attempts++; return 429 })}, url: "http://upstream"}
		start := time.Now()
		if f.call(t.Context(), client) {
			t.Error("call = true, want it lost")
		}
		if took := time.Since(start); attempts != 5 || took != 7500*time.Millisecond {
			t.Errorf("%d attempts in %v, want 5 in 0.5 + 1 + 2 + 4 s", attempts, took)
		}
	})
}

func TestDemoPrintsItsTableAsJSON(t *testing.T) {
	status, stdout, stderr := run(t, "", "demo", "--duration", "2s", "--limit", "20/1s", "--json")
	if status != 0 {
		t.Fatalf("demo = %d %s, want 0", status, stderr)
	}
	var got struct {
		Limit           string
		Around, Through *demoResult
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("demo --json: %v\n%s", err, stdout)
	}
	if got.Limit != "20/1s" || got.Around == nil || got.Through == nil {
		t.Fatalf("demo --json = %s, want the limit and both halves", stdout)
	}
	if got.Around.Attempts == 0 || got.Through.Answered == 0 || got.Through.Throttled != 0 {
		t.Errorf("demo --json = %s, want calls in both halves and no 429 through the gate", stdout)
	}
}

func TestInterruptedDemoPrintsWhatWasMeasured(t *testing.T) {
	c := begin("demo", "--duration", "1h", "--limit", "100/10s")
	c.waitFor(t, `around the gate \d+s/1800s: quota`)
	c.signals <- os.Interrupt
	if status := c.wait(t); status != 0 {
		t.Errorf("demo = %d after Ctrl-C, want 0: %s", status, c.err)
	}
	for _, want := range []string{"100/10s   around the gate   through the gate", "calls wanted"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("demo printed\n%s\nwant it to have %q", c.out, want)
		}
	}
	if last := strings.Fields(c.out.String()); last[len(last)-1] != "–" {
		t.Errorf("demo printed\n%s\nwant – for the half that never began", c.out)
	}
}

func TestDemoDrawsEachHalf(t *testing.T) {
	began := time.Unix(1000, 0)
	v := demoView{
		name: "around the gate", began: began, elapsed: 4500 * time.Millisecond,
		judge: mock.Stats{
			Accepted: 12, Refused: 20,
			Limits:  []mock.LimitStats{{Usage: 0.5}},
			Seconds: []mock.Second{{Unix: 1000, Accepted: 8, Refused: 16}, {Unix: 1003, Accepted: 4, Refused: 4}},
		},
		calls: fleetCounts{wanted: 30, answered: 12, lost: 3, retries: 9},
	}
	p := newDemoPainter(lipgloss.NewRenderer(io.Discard), newDemoRun(limit.Limit{}, 25*time.Second))
	var got strings.Builder
	p.draw(&got, v)
	want := "around the gate 4s/25s\n" +
		"  quota     ████████████████████░░░░░░░░░░░░░░░░░░░░ 50 %\n" +
		"  accepted  ▄  ▂  12\n" +
		"  429       █  ▂  20\n" +
		"  429s 20, retries 9, answered 12, lost 3, waiting 15\n\n"
	if got.String() != want {
		t.Errorf("drew\n%s\nwant\n%s", &got, want)
	}
}

func TestFramesFitTheTerminal(t *testing.T) {
	frame := "first\nsecond, which is long\nthird\n"
	for _, s := range []struct {
		width, height int
		want          string
	}{
		{80, 24, "first|second, which is long|third"},
		{6, 24, "first|second|third"},
		{80, 3, "second, which is long|third"},
		{80, 1, ""},
	} {
		if got := strings.Join(fit(frame, s.width, s.height), "|"); got != s.want {
			t.Errorf("fit to %d × %d = %q, want %q", s.width, s.height, got, s.want)
		}
	}
}

func TestFramesAreDrawnOverTheLast(t *testing.T) {
	if got, want := redrawn([]string{"a", "b"}, 0), "\ra\x1b[K\nb\x1b[K\n\x1b[J"; got != want {
		t.Errorf("first frame = %q, want %q", got, want)
	}
	if got, want := redrawn([]string{"a"}, 2), "\r\x1b[2Aa\x1b[K\n\x1b[J"; got != want {
		t.Errorf("next frame = %q, want %q", got, want)
	}
}

func TestDemoTableLeavesOutWhatWasNotMeasured(t *testing.T) {
	var got strings.Builder
	if err := printDemoTable(&got, "50/10s", [2]*demoResult{demoView{judge: mock.Stats{Limits: make([]mock.LimitStats, 1)}}.result(), nil}); err != nil {
		t.Fatal(err)
	}
	golden(t, "demo-nothing.txt", got.String())
}

func TestThinkTimeIsBounded(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"50/10s":       40 * time.Second / 15,
		"1/1d":         5 * time.Second,
		"100000/1s":    50 * time.Millisecond,
		"concurrent:4": 50 * time.Millisecond,
	} {
		l, err := limit.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := thinkFor(l); (got - want).Abs() > time.Microsecond {
			t.Errorf("thinkFor(%s) = %v, want %v", text, got, want)
		}
	}
}

// answers is an upstream that answers with a status.
type answers func() int

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a(), Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}
