package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
	upstream "github.com/headgate/headgate/internal/mock"
)

// silent is an upstream that says no more of its limit than that there was no
// room. Like strict it counts a request some time after it came to the machine,
// and a busy machine changes nothing about that.
type silent struct {
	*httptest.Server
	limit limit.Limit

	mu struct {
		sync.Mutex
		judge    *upstream.Judge
		arrivals history // in the order of the moments
	}
}

// newSilent starts an upstream with a limit, which answers what it has room for
// as serve does.
func newSilent(t *testing.T, text string, serve func(s *silent, w http.ResponseWriter, r *http.Request)) *silent {
	t.Helper()
	l, err := limit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s := &silent{limit: l}
	s.mu.judge = upstream.NewJudge(upstream.Rules{Limits: []limit.Limit{l}})
	s.Server = newStamping(t, func(w http.ResponseWriter, r *http.Request) { serve(s, w, r) })
	return s
}

// serve answers a request.
func (s *silent) serve(w http.ResponseWriter, r *http.Request) {
	if !s.admit(r, 1) {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	time.Sleep(serviceTime())
}

// admit waits until a request is counted, and says whether there was room.
func (s *silent) admit(r *http.Request, weight int64) bool {
	a := arriving(r)
	a.weight, a.status = weight, http.StatusOK
	time.Sleep(time.Until(a.at))
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok, _ := s.mu.judge.Arrive(a.at, weight); !ok {
		a.status = http.StatusTooManyRequests
	}
	s.mu.arrivals = append(s.mu.arrivals, *a)
	return a.status == http.StatusOK
}

// history is what was counted, in the order of the moments.
func (s *silent) history() history {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := slices.Clone(s.mu.arrivals)
	slices.SortFunc(h, func(a, b arrival) int { return a.at.Compare(b.at) })
	return h
}

// usage returns which share of the quota was used from one moment to another.
func (s *silent) usage(from, to time.Time) float64 {
	var used int64
	for _, a := range s.history().between(from, to) {
		if a.status == http.StatusOK {
			used += a.weight
		}
	}
	return float64(used) / (float64(s.limit.N) * float64(to.Sub(from)) / float64(s.limit.Window))
}

// refused returns how many of the requests were refused.
func (h history) refused() int {
	return len(h.only(func(a arrival) bool { return a.status == http.StatusTooManyRequests }))
}

// refusedShare returns which share of the requests was refused.
func (h history) refusedShare() float64 { return float64(h.refused()) / float64(max(len(h), 1)) }

// serveModel answers a request as OpenAI does: what a call takes in tokens is
// counted as it comes, told at the end of its answer, and foreseen by nobody.
func (s *silent) serveModel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var asked struct{ Stream bool }
	if err != nil || json.Unmarshal(body, &asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	input, output := int64(len(body))/5, int64(100*math.Exp(0.5*rand.NormFloat64()))
	if !s.admit(r, input+output) {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}`)
		return
	}
	time.Sleep(3 * serviceTime())
	usage := fmt.Sprintf(`"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, input, output, input+output)
	if !asked.Stream {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"choices":[{"message":{"content":"ok"}}],%s}`, usage)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for range 3 {
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{\"content\":\"o\"}}]}\n\n")
		if http.NewResponseController(w).Flush() != nil {
			return // the caller has gone
		}
		time.Sleep(serviceTime())
	}
	fmt.Fprintf(w, "data: {\"choices\":[],%s}\n\ndata: [DONE]\n\n", usage)
}
