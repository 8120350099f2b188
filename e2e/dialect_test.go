package e2e

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestSpentBalanceIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	const spent = `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	var attempts atomic.Int32
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		attempts.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "20") // it would not help
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, spent)
	})
	g, _ := serveFile(t, fmt.Sprintf(`upstreams: {auto: {url: %[1]q}, openai: {url: %[1]q, dialect: openai}}`, up.URL))
	c := newClient(t)
	for _, mount := range []string{"/auto", "/openai"} {
		for range 2 { // nobody pauses for the first
			attempts.Store(0)
			start := time.Now()
			a := do(t, c, newRequest(t, "POST", g.url+mount+"/v1/chat/completions", `{"model":"m","messages":[]}`, "Content-Type", "application/json"))
			took := time.Since(start)
			if a.status != 429 || a.body != spent || attempts.Load() != 1 || a.header.Get("Headgate-Attempts") != "1" {
				t.Errorf("%s: answer %v with %v after %d attempts, want the upstream's own after 1", mount, a, a.header, attempts.Load())
			}
			if took > 2*time.Second {
				t.Errorf("%s: answered after %v, want at once", mount, took)
			}
		}
	}
}

// vendors are the two whose SDKs are called.
var vendors = []struct {
	sdk        string
	overloaded int
	fields     []string // by which they are recognised
}{
	{"openai", http.StatusServiceUnavailable, []string{"X-Ratelimit-Limit-Requests", "5000", "X-Ratelimit-Remaining-Requests", "4999", "X-Ratelimit-Reset-Requests", "12ms"}},
	{"anthropic", 529, []string{"Anthropic-Ratelimit-Requests-Limit", "4000", "Anthropic-Ratelimit-Requests-Remaining", "3999"}},
}

func TestGateHealsOverloadForSDKsWithoutRetries(t *testing.T) {
	t.Parallel()
	model := mock(t)
	var calls []sdkCall
	var dialects []string
	var attempts []*atomic.Int32
	for _, v := range vendors {
		for _, dialect := range []string{"auto", v.sdk} {
			for _, stream := range []bool{false, true} {
				n := new(atomic.Int32)
				up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
					for i := 0; i < len(v.fields); i += 2 {
						w.Header().Set(v.fields[i], v.fields[i+1])
					}
					switch n.Add(1) {
					case 1, 2:
						w.Header().Set("Retry-After-Ms", "50")
						w.WriteHeader(http.StatusTooManyRequests)
					case 3:
						w.WriteHeader(v.overloaded)
					default:
						forwardTo(t, model, w, r)
					}
				})
				g, _ := serveFile(t, fmt.Sprintf(`upstreams: {api: {url: %q, dialect: %s, retry: {base: 20ms}}}`, up.URL, dialect))
				calls = append(calls, sdkCall{SDK: v.sdk, BaseURL: g.url + "/api", Stream: stream, Options: options{"maxRetries": 0}})
				dialects, attempts = append(dialects, dialect), append(attempts, n)
			}
		}
	}
	for i, o := range callSDKs(t, calls...) {
		if n := attempts[i].Load(); o.Error != nil || o.Text != said || n != 4 {
			t.Errorf("%s, dialect %s, stream %v: %q, %+v after %d attempts, want what the model says after 4",
				calls[i].SDK, dialects[i], calls[i].Stream, o.Text, o.Error, n)
		}
	}
}

func TestFailuresForEverTakeTheGatesAttemptsOnly(t *testing.T) {
	t.Parallel()
	var calls []sdkCall
	var attempts []*atomic.Int32
	for _, v := range vendors {
		n := new(atomic.Int32)
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
		})
		g, _ := serveFile(t, fmt.Sprintf(`upstreams: {api: {url: %q, dialect: %s, retry: {base: 20ms}}}`, up.URL, v.sdk))
		calls = append(calls, sdkCall{SDK: v.sdk, BaseURL: g.url + "/api"}) // with the retries it makes by default
		attempts = append(attempts, n)
	}
	for i, o := range callSDKs(t, calls...) {
		if n := attempts[i].Load(); o.Error == nil || o.Error.Status != 500 || n != 5 {
			t.Errorf("%s: %+v after %d attempts, want the upstream's own 500 after the gate's 5", calls[i].SDK, o.Error, n)
		}
	}
}
