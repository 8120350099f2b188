package mock

import (
	"bufio"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestStreamsAreGoldenAndPaced(t *testing.T) {
	for _, test := range []struct {
		file, method, target, body string
		every                      time.Duration
	}{
		{"openai.sse", "POST", "/v1/chat/completions", `{"model":"gpt-x","stream":true}`, 30 * ms},
		{"openai-usage.sse", "POST", "/v1/chat/completions", `{"model":"gpt-\"x","stream":true,"max_tokens":2,"stream_options":{"include_usage":true}}`, 30 * ms},
		{"openai.json", "POST", "/v1/chat/completions", `{"model":"gpt-x","max_completion_tokens":3}`, 0},
		{"anthropic.sse", "POST", "/v1/messages", `{"model":"claude-x","stream":true,"max_tokens":1000}`, 30 * ms},
		{"anthropic.json", "POST", "/v1/messages", `{"model":"claude-x","max_tokens":3}`, 0},
		{"events.sse", "GET", "/_mock/sse?n=3&every=250ms", "", 250 * ms},
	} {
		t.Run(test.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Config{})
				req, _ := http.NewRequest(test.method, "http://mock.test"+test.target, strings.NewReader(test.body))
				res, err := s.RoundTripper().RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				start := time.Now()
				var got strings.Builder
				lines := bufio.NewScanner(res.Body)
				for events := 0; lines.Scan(); {
					got.WriteString(lines.Text() + "\n")
					if lines.Text() == "" {
						events++
						if at, want := time.Since(start), time.Duration(events-1)*test.every; at != want {
							t.Errorf("event %d came after %v, want %v", events, at, want)
						}
					}
				}
				golden := filepath.Join("testdata", test.file)
				if *update {
					if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got.String() != string(want) {
					t.Errorf("%s %s %s = \n%s\nwant\n%s", test.method, test.target, test.body, got.String(), want)
				}
			})
		})
	}
}

func TestChatCallsWeighTheTokensTheyReport(t *testing.T) {
	s := New(Config{Limits: parseLimits(t, "tokens:100/1m")})
	_, body := send(t, s, "POST", "/v1/chat/completions", `{"model":"gpt-x","max_tokens":3,"messages":[{"role":"user","content":"hi"}]}`)
	var completion struct{ Usage struct{ Total_tokens int64 } }
	if err := json.Unmarshal([]byte(body), &completion); err != nil {
		t.Fatal(err)
	}
	if used := s.Stats().Limits[0].Max; used != completion.Usage.Total_tokens || used < 4 {
		t.Errorf("reported %d tokens, counted %d", completion.Usage.Total_tokens, used)
	}
}
