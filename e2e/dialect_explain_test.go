package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// reading is what headgate explain --json prints.
type reading struct {
	Dialect, Class string
	Retryable      bool
	WaitMS         *float64 `json:"wait_ms"`
	Scope          *string
	Limits         []toldLimit
	Why            string
}

type toldLimit struct {
	Dimension        string
	Limit, Remaining *int64
	ResetMS          *float64 `json:"reset_ms"`
}

// explain has a response read.
func explain(t *testing.T, response string, args ...string) reading {
	t.Helper()
	cmd := headgate(append([]string{"explain", "--json"}, args...))
	cmd.Stdin = strings.NewReader(response)
	r := run(t, cmd)
	var got reading
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.status != 0 {
		t.Fatalf("explain %q of %q = %d %s%s: %v", args, response, r.status, r.stdout, r.stderr, err)
	}
	if got.Why == "" {
		t.Errorf("explain %q of %q does not say why: %s", args, response, r.stdout)
	}
	return got
}

func TestExplainReadsEachDialect(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(repository, "internal", "dialect", "testdata", "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Dialect, Method, Body, Now string
		Status                           int
		Headers                          map[string][]string
		Expect                           reading
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for _, c := range cases {
		if seen[c.Dialect]++; seen[c.Dialect] > 2 { // the rest is the business of the room
			continue
		}
		response := fmt.Sprintf("HTTP/1.1 %d X\r\n", c.Status)
		for name, lines := range c.Headers {
			for _, v := range lines {
				response += name + ": " + v + "\r\n"
			}
		}
		got := explain(t, response+"\r\n"+c.Body, "--dialect", c.Dialect, "--method", c.Method, "--now", c.Now)
		if want := c.Expect; got.Dialect != c.Dialect || got.Class != want.Class || got.Retryable != want.Retryable ||
			!near(got.WaitMS, want.WaitMS) || !sameLimits(got.Limits, want.Limits) {
			t.Errorf("%s: explain of %q\n%s\n got %s\nwant %s", c.Name, response, c.Body, inJSON(t, got), inJSON(t, want))
		}
	}
	if len(seen) < 40 {
		t.Errorf("%d dialects have cases, want 40 or more", len(seen))
	}
}

func TestExplainRecognisesDialects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		response, url        string
		dialect, class, wait string
	}{
		{"HTTP/2 403 \r\nretry-after: 60\r\n\r\n" + `{"message":"You have exceeded a secondary rate limit."}`,
			"https://api.github.com/repos/a/b", "github", "throttled", "60000"},
		{"HTTP/2 429 \r\ncontent-type: application/json\r\n\r\n" + `{"error":{"message":"…","type":"insufficient_quota","code":"insufficient_quota"}}`,
			"https://api.openai.com/v1/chat/completions", "openai", "fatal", "-"},
		{"HTTP/2 429 \r\ncontent-type: application/json\r\n\r\n" + `{"error":{"message":"…","type":"insufficient_quota","code":"insufficient_quota"}}`,
			"", "generic", "fatal", "-"},
		{"HTTP/2 529 \r\nrequest-id: req_1\r\nanthropic-ratelimit-requests-limit: 50\r\n\r\n" + `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`,
			"", "anthropic", "overloaded", "-"},
		{"HTTP/1.1 429 Too Many Requests\r\nX-Powered-By: Express\r\nRateLimit-Policy: 80;w=2\r\nRateLimit-Limit: 80\r\nRateLimit-Remaining: 0\r\nRateLimit-Reset: 2\r\nRetry-After: 2\r\n\r\nToo many requests",
			"", "express-rate-limit", "throttled", "2000"},
		{"HTTP/1.1 303 See Other\r\nLocation: /?__modal_function_call_id=fc-1\r\n\r\n",
			"https://a--b.modal.run/", "modal", "ok", "-"},
	} {
		args := []string{"--method", "POST", "--now", "2026-03-10T12:00:00Z"}
		if c.url != "" {
			args = append(args, "--url", c.url)
		}
		got := explain(t, c.response, args...)
		wait := "-"
		if got.WaitMS != nil {
			wait = fmt.Sprint(*got.WaitMS)
		}
		if got.Dialect != c.dialect || got.Class != c.class || wait != c.wait {
			t.Errorf("explain of %q from %q = %s, want %s, %s, wait %s", c.response, c.url, inJSON(t, got), c.dialect, c.class, c.wait)
		}
	}
}

// near says whether two waits are the same to 2 %, or both unknown.
func near(got, want *float64) bool {
	if got == nil || want == nil {
		return got == want
	}
	return math.Abs(*got-*want) <= 0.02**want
}

func sameLimits(got, want []toldLimit) bool {
	order := func(a, b toldLimit) int { return strings.Compare(a.Dimension, b.Dimension) }
	slices.SortStableFunc(got, order)
	slices.SortStableFunc(want, order)
	return slices.EqualFunc(got, want, func(a, b toldLimit) bool {
		return a.Dimension == b.Dimension && equal(a.Limit, b.Limit) && equal(a.Remaining, b.Remaining) && near(a.ResetMS, b.ResetMS)
	})
}

func equal(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func inJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
