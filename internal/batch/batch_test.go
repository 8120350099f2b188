package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// upstream answers attempts, and counts them by path and body.
type upstream struct {
	answer func(n int, r *http.Request, body string) (status int, text string) // n: of all attempts, from 1
	takes  time.Duration

	mu    sync.Mutex
	n     int
	calls map[string]int
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	if u.takes > 0 {
		select {
		case <-time.After(u.takes):
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
	}
	u.mu.Lock()
	u.n++
	n := u.n
	if u.calls == nil {
		u.calls = make(map[string]int)
	}
	u.calls[r.Method+" "+r.URL.RequestURI()+" "+string(body)]++
	u.mu.Unlock()
	status, text := 200, `{"ok": true}`
	if u.answer != nil {
		status, text = u.answer(n, r, string(body))
	}
	if status == 0 {
		return nil, errors.New(text)
	}
	h := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {fmt.Sprintf("req-%d", n)}}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r,
	}, nil
}

// lines are calls in the form of OpenAI's Batch API, with custom_id r-1 and so on.
func lines(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, `{"custom_id": "r-%d", "method": "POST", "url": "/v1/items", "body": {"n": %d}}`+"\n", i, i)
	}
	return b.String()
}

// bench is a batch in a directory of its own.
type bench struct {
	Options
	bad []string // what Options.BadLine was told, by all runs
	dir string
}

func newBench(t testing.TB, input string, up http.RoundTripper) *bench {
	dir := t.TempDir()
	b := &bench{dir: dir}
	b.Options = Options{
		Config:   config.Config{Upstreams: map[string]config.Upstream{"api": {URL: "http://upstream.test"}}},
		Upstream: "api",
		Base:     up,
		In:       filepath.Join(dir, "in.jsonl"),
		Out:      filepath.Join(dir, "out.jsonl"),
		BadLine:  func(n int64, why string) { b.bad = append(b.bad, fmt.Sprintf("%d: %s", n, why)) },
	}
	write(t, b.In, input)
	return b
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run opens and runs the batch once.
func (b *bench) run(t testing.TB, taking context.Context) (Progress, error) {
	t.Helper()
	x, err := Open(t.Context(), b.Options)
	if err != nil {
		return Progress{}, err
	}
	err = x.Run(taking, t.Context())
	p := x.Progress()
	if e := x.Close(); e != nil {
		t.Errorf("Close = %v", e)
	}
	return p, err
}

// done runs the batch, which must finish.
func (b *bench) done(t testing.TB) Progress {
	t.Helper()
	p, err := b.run(t, t.Context())
	if err != nil {
		t.Fatalf("Run = %v, want nil; %+v", err, p)
	}
	return p
}

// written is a line of output.
type written struct {
	ID       string `json:"id"`
	CustomID string `json:"custom_id"`
	Response *struct {
		Status    int             `json:"status_code"`
		RequestID string          `json:"request_id"`
		Body      json.RawMessage `json:"body"`
	} `json:"response"`
	Error *struct{ Code, Message string } `json:"error"`
}

// results reads the output.
func (b *bench) results(t testing.TB) []written {
	t.Helper()
	text, err := os.ReadFile(b.Out)
	if err != nil {
		t.Fatal(err)
	}
	var all []written
	for line := range bytes.Lines(text) {
		var w written
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&w); err != nil || line[len(line)-1] != '\n' {
			t.Fatalf("line of output %q: %v", line, err)
		}
		all = append(all, w)
	}
	return all
}

// once fails unless each ID has one result, and returns them by ID.
func (b *bench) once(t testing.TB, n int) map[string]written {
	t.Helper()
	all := b.results(t)
	byID := make(map[string]written, len(all))
	for _, w := range all {
		if _, twice := byID[w.CustomID]; twice {
			t.Errorf("custom_id %q has two results", w.CustomID)
		}
		byID[w.CustomID] = w
	}
	if len(all) != n {
		t.Errorf("%d results, want %d", len(all), n)
	}
	return byID
}

func TestBatchWritesResultsInTheFormOfOpenAI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{answer: func(_ int, r *http.Request, body string) (int, string) {
			switch r.URL.Path {
			case "/text":
				return 200, "plain\n\"text\""
			case "/missing":
				return 404, `{"error": {"message": "no such thing"}}`
			}
			return 200, "{\n  \"n\": 12345678901234567890\n}"
		}}
		b := newBench(t, `{"custom_id":"a","method":"POST","url":"/json?q=1","body":{"x": [1, 2]}}
{"custom_id":"b","method":"GET","url":"http://upstream.test/text"}

{"custom_id":"c","url":"/missing","body":null}
{"url":"/json"}`, up)
		p := b.done(t)
		got := b.once(t, 4)
		for id, want := range map[string]struct {
			status           int
			body, code, text string
		}{
			"a":      {200, `{"n":12345678901234567890}`, "", ""},
			"b":      {200, `"plain\n\"text\""`, "", ""},
			"c":      {404, `{"error":{"message":"no such thing"}}`, "fatal", "404 Not Found"},
			"line-5": {200, `{"n":12345678901234567890}`, "", ""},
		} {
			w := got[id]
			if w.Response == nil || w.Response.Status != want.status || string(w.Response.Body) != want.body ||
				!strings.HasPrefix(w.Response.RequestID, "req-") || !strings.HasPrefix(w.ID, "batch_req_") {
				t.Errorf("result of %s = %+v, want %d with %s", id, w, want.status, want.body)
			}
			if (w.Error == nil) != (want.code == "") || w.Error != nil && (w.Error.Code != want.code || !strings.HasPrefix(w.Error.Message, want.text)) {
				t.Errorf("error of %s = %+v, want %s: %s…", id, w.Error, want.code, want.text)
			}
		}
		want := []string{"GET /text ", "POST /json ", `POST /json?q=1 {"x": [1, 2]}`, "POST /missing "}
		if calls := slices.Sorted(maps.Keys(up.calls)); !slices.Equal(calls, want) {
			t.Errorf("called %q, want %q", calls, want)
		}
		if p.Total != 4 || p.Done != 4 || p.Failed != 1 || p.Bad != 0 || p.Attempts != 4 {
			t.Errorf("progress %+v, want 4 of 4 done and 1 failed", p)
		}
	})
}

func TestBadLinesHaveResultsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{}
		b := newBench(t, `{"custom_id":"a","url":"/1"}
{"custom_id":"broken","url":
{"custom_id":"b"}
{"custom_id":"a","url":"/2"}
{"custom_id":"c","url":"http://elsewhere.test/"}
{"custom_id":"d","url":"/4","method":"P OST"}
[1]
{"custom_id":5,"url":"/4"}
`+"{\"custom_id\":\"\xff\",\"url\":\"/\"}\n", up)
		want := []string{
			`2: not JSON: unexpected end of JSON input`,
			`3: has no "url"`,
			`4: custom_id "a" is that of line 1 too`,
			`5: url "http://elsewhere.test/": is not of the upstream; want a path such as /v1/chat/completions`,
			`7: want a JSON object, found an array`,
			`8: "custom_id": want a string, found a number`,
			`9: not UTF-8 text`,
			`6: method "P OST": want one such as POST`,
		}
		for run := range 2 {
			b.bad = nil
			p := b.done(t)
			if run == 1 {
				want[7] = "6: could not be made a call in an earlier run; its result says why"
			}
			slices.Sort(b.bad)
			if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(b.bad, sorted) {
				t.Errorf("told of bad lines\n%q, want\n%q", b.bad, sorted)
			}
			if p.Total != 9 || p.Done != 9 || p.Failed != 8 || p.Bad != 8 {
				t.Errorf("run %d: progress %+v, want 9 of 9 done, 8 of them bad", run, p)
			}
			got := b.once(t, 9)
			for _, id := range []string{"line-2", "b", "line-4", "c", "d", "line-7", "line-8", "line-9"} {
				if w := got[id]; w.Error == nil || w.Error.Code != "invalid_line" || w.Response != nil {
					t.Errorf("result of %s = %+v, want invalid_line", id, w)
				}
			}
		}
		if up.n != 1 {
			t.Errorf("%d calls, want 1", up.n)
		}
	})
}

func TestSecondRunCallsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{}
		b := newBench(t, lines(50), up)
		b.done(t)
		before, _ := os.ReadFile(b.Out)
		p := b.done(t)
		after, _ := os.ReadFile(b.Out)
		if up.n != 50 || !bytes.Equal(before, after) || p.Done != 50 || p.Earlier != 50 {
			t.Errorf("%d calls after two runs, %+v, want 50 and the output as it was", up.n, p)
		}
	})
}

func TestStoppedBatchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{takes: 30 * time.Millisecond}
		b := newBench(t, lines(500), up)
		b.Config.Upstreams["api"] = config.Upstream{URL: "http://upstream.test", Limits: []config.Limit{{Limit: "100/1s"}}}
		stopped := errors.New("stopped")
		for range 3 {
			taking, stop := context.WithCancelCause(t.Context())
			time.AfterFunc(1900*time.Millisecond, func() { stop(stopped) })
			began := time.Now()
			if _, err := b.run(t, taking); !errors.Is(err, stopped) {
				t.Errorf("stopped run = %v, want the cause", err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("a run that was stopped after 1.9 s took %v", took)
			}
			b.once(t, up.n)
		}
		if p := b.done(t); p.Done != 500 || up.n != 500 || p.Failed != 0 {
			t.Errorf("%d calls, %+v, want each once", up.n, p)
		}
		b.once(t, 500)
	})
}

func TestCallsThatMayYetSucceedAreMadeAgain(t *testing.T) {
	for _, status := range []int{0, 429, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				up := &upstream{}
				up.answer = func(_ int, r *http.Request, body string) (int, string) {
					if body == `{"n": 7}` && time.Since(began) < 8*time.Second {
						return status, "not now"
					}
					return 200, "{}"
				}
				b := newBench(t, lines(30), up)
				if p := b.done(t); p.Done != 30 || p.Failed != 0 {
					t.Errorf("progress %+v, want 30 done and none failed", p)
				}
			})
		})
	}
}

func TestOverloadedCallsFailInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{answer: func(_ int, r *http.Request, body string) (int, string) {
			if body == `{"n": 7}` {
				return 500, `{"why": "seven"}`
			}
			return 200, "{}"
		}}
		b := newBench(t, lines(30), up)
		p := b.done(t)
		w := b.once(t, 30)["r-7"]
		if p.Failed != 1 || w.Error == nil || w.Error.Code != "overloaded" || w.Response == nil || w.Response.Status != 500 {
			t.Errorf("result %+v, progress %+v, want 500 and overloaded", w, p)
		}
		b.RetryFailed = true
		up.answer = nil
		if p := b.done(t); p.Failed != 0 || p.Done != 30 || p.Earlier != 29 {
			t.Errorf("with RetryFailed: %+v, want all done", p)
		}
		b.once(t, 30)
	})
}

func TestPausesAreWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		up := tripper(func(r *http.Request) (*http.Response, error) {
			status, h := 200, http.Header{}
			if left := time.Hour - time.Since(began); left > 0 {
				status = 429
				h.Set("Retry-After", fmt.Sprint(int(left/time.Second)+1))
			}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		})
		b := newBench(t, lines(100), up)
		p := b.done(t)
		if took := time.Since(began); took < time.Hour || took > 2*time.Hour {
			t.Errorf("took %v, want the hour that the upstream asked for, and little more", took)
		}
		if p.Done != 100 || p.Failed != 0 {
			t.Errorf("progress %+v, want 100 done and none failed", p)
		}
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
