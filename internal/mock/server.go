package mock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// The dialects of Config.Dialect.
const (
	Generic   = "generic"
	OpenAI    = "openai"
	Anthropic = "anthropic"
)

// The forms of Config.RetryAfter.
const (
	HintNone      = "none"      // nothing
	HintSeconds   = "seconds"   // Retry-After: whole seconds, rounded up (RFC 9110, section 10.2.3)
	HintDate      = "date"      // Retry-After: an HTTP-date, rounded up to the second
	HintMillis    = "ms"        // retry-after-ms: milliseconds, rounded up (OpenAI, Azure)
	HintRateLimit = "ratelimit" // RateLimit and RateLimit-Policy, IETF draft 8 and later
	HintDraft6    = "draft6"    // RateLimit-Limit, -Remaining, -Reset in seconds, IETF drafts 4 to 6
	HintX         = "x"         // X-RateLimit-Limit, -Remaining, -Reset as Unix seconds
)

// WeightHeader lets a request say what it weighs under limits that count
// something else than requests: a whole number from 1. Without it a chat call
// weighs the tokens its answer reports, and any other request 1.
const WeightHeader = "Mock-Weight"

// bodyMax is how much of a request's body is kept to be understood, in bytes.
// The rest is read and dropped.
const bodyMax = 8 << 20

// serviceSpread is the sigma of the lognormal service time: the slowest of a
// hundred takes twice the median.
const serviceSpread = 0.3

// Config says what upstream a Server plays. The zero value is one without
// limits, latency or faults.
type Config struct {
	Limits       []limit.Limit
	OwnPhase     bool // see Rules
	CountRefused bool // see Rules

	// Latency is the median of the lognormal time that an accepted request
	// takes; 0 answers at once. Refused ones are always answered at once.
	Latency time.Duration

	// Every request is held for MinArrival plus a uniform share of [0, Jitter]
	// before it is counted. Jitter is what makes requests arrive in another
	// order than they were sent in: the arrival spread. A caller that leaves
	// while held has not arrived.
	MinArrival, Jitter time.Duration

	Errors      float64 // share of accepted requests answered with ErrorStatus, 0 to 1; they use quota
	ErrorStatus int     // 500 to 599; 0 means 503

	// RetryAfter is how a 429 says when to come back: one of the Hint forms;
	// "" means HintSeconds. The last three forms send their fields with every
	// counted answer, as the upstreams do that know them.
	RetryAfter string

	// Dialect is the shape of error bodies: Generic, OpenAI or Anthropic; ""
	// means Generic. The chat endpoints keep the shape of their vendor.
	Dialect string

	// Seed fixes all random choices. They are made in the order in which
	// requests come in.
	Seed uint64
}

// Validate reports everything that is wrong with c, or nil.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, l := range c.Limits {
		if read, err := limit.Parse(l.String()); err != nil {
			fault("limit %q: %w", l, err)
		} else if read.String() != l.String() {
			fault("limit %q means %q", l, read)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"latency", c.Latency}, {"min arrival", c.MinArrival}, {"jitter", c.Jitter}} {
		if d.value < 0 {
			fault("%s %v is negative", d.name, d.value)
		}
	}
	if !(c.Errors >= 0 && c.Errors <= 1) {
		fault("share of errors %v is not between 0 and 1", c.Errors)
	}
	if c.ErrorStatus != 0 && (c.ErrorStatus < 500 || c.ErrorStatus > 599) {
		fault("error status %d is not between 500 and 599", c.ErrorStatus)
	}
	hints := []string{HintNone, HintSeconds, HintDate, HintMillis, HintRateLimit, HintDraft6, HintX}
	if c.RetryAfter != "" && !slices.Contains(hints, c.RetryAfter) {
		fault("unknown form of retry-after %q; want one of %s", c.RetryAfter, strings.Join(hints, ", "))
	}
	dialects := []string{Generic, OpenAI, Anthropic}
	if c.Dialect != "" && !slices.Contains(dialects, c.Dialect) {
		fault("unknown dialect %q; want one of %s", c.Dialect, strings.Join(dialects, ", "))
	}
	return errors.Join(errs...)
}

// Server is the upstream: an http.Handler, safe for concurrent use.
type Server struct {
	config Config

	mu struct {
		sync.Mutex
		rand  *rand.Rand
		judge *Judge
		tally *tally
	}
}

// New returns an upstream that has seen nothing yet. It panics if c is not
// valid: what users configure goes through Validate first.
func New(c Config) *Server {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	if c.ErrorStatus == 0 {
		c.ErrorStatus = http.StatusServiceUnavailable
	}
	if c.RetryAfter == "" {
		c.RetryAfter = HintSeconds
	}
	if c.Dialect == "" {
		c.Dialect = Generic
	}
	s := &Server{config: c}
	s.mu.rand = rand.New(rand.NewPCG(c.Seed, 0))
	s.mu.judge = NewJudge(Rules{c.Limits, c.OwnPhase, c.CountRefused})
	s.mu.tally = newTally(c.Limits)
	return s
}

// Stats returns what has been counted so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.tally.snapshot()
}

// ServeHTTP reads the request, holds it, counts it, and answers. Everything
// but GET /_mock/stats and what breaks off while it is read is counted. The caller leaving ends any wait, and the
// request is in flight no longer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/_mock/stats" {
		writeJSON(w, http.StatusOK, s.Stats())
		return
	}
	luck := s.draw()

	// Reading to the end before anything else is also what lets net/http
	// notice that the caller has left.
	body, err := readBody(r.Body)
	if err != nil {
		writeFault(w, s.config.Dialect, http.StatusBadRequest, fault{openAIType: "invalid_request_error", message: err.Error()}, 0)
		return
	}
	a := plan(r, body, s.config.Dialect)
	if text := r.Header.Get(WeightHeader); text != "" {
		weight, err := strconv.ParseInt(text, 10, 64)
		if err != nil || weight < 1 {
			a = badRequest(a.dialect, fmt.Sprintf("%s %q is not a whole number from 1", WeightHeader, text))
		}
		a.weight = weight
	}

	if wait(r.Context(), luck.hold) != nil {
		return
	}
	n, v := s.arrive(a.weight, luck.fails)
	requestID(w.Header(), a.dialect, n)
	if tellsLimits(s.config.RetryAfter) {
		limitFields(w.Header(), s.config.RetryAfter, time.Now(), v)
	}
	if !v.ok {
		waitField(w.Header(), s.config.RetryAfter, time.Now(), v.wait)
		writeFault(w, a.dialect, http.StatusTooManyRequests, refusal(a.dialect, v, a.weight), n)
		return
	}
	defer s.leave()
	if wait(r.Context(), luck.service) != nil {
		return
	}
	if luck.fails {
		writeFault(w, a.dialect, s.config.ErrorStatus, failure(s.config.ErrorStatus), n)
		return
	}
	a.write(s, w, r, n)
}

// luck is what chance has in store for a request.
type luck struct {
	hold    time.Duration // before it is counted
	service time.Duration // before it is answered
	fails   bool
}

// draw always draws three times, so that changing one setting leaves the
// luck of the others as it was.
func (s *Server) draw() luck {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold, service, fails := s.mu.rand.Float64(), s.mu.rand.NormFloat64(), s.mu.rand.Float64()
	return luck{
		hold:    s.config.MinArrival + time.Duration(hold*float64(s.config.Jitter)),
		service: time.Duration(float64(s.config.Latency) * math.Exp(serviceSpread*service)),
		fails:   fails < s.config.Errors,
	}
}

// arrive counts a request, and returns its number: the first is 1. The moment
// is taken under the lock, so that moments and numbers have one order.
func (s *Server) arrive(weight int64, fails bool) (n int64, v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	v = s.mu.judge.arrive(now, weight)
	s.mu.tally.arrived(now, weight, v)
	if v.ok && fails {
		s.mu.tally.stats.Errors++
	}
	return s.mu.tally.stats.Arrivals, v
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.judge.Leave()
	s.mu.tally.left(time.Now())
}

// readBody reads all of body and returns its first bodyMax bytes.
func readBody(body io.Reader) ([]byte, error) {
	head, err := io.ReadAll(io.LimitReader(body, bodyMax))
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, body)
	return head, err
}

// wait returns after d, or with an error as soon as ctx has ended.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// writeJSON answers with v as JSON.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body := encode(v) + "\n"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// encode writes v as JSON. Only types of this package get here.
func encode(v any) string {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("mock: encode %T: %v", v, err))
	}
	return string(body)
}
