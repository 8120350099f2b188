package headgate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

// fake is an upstream in virtual time. Each attempt takes latency, and is
// answered by answer, which is told its number from 1.
type fake struct {
	latency time.Duration // 0: 1 ms
	answer  func(n int, req *http.Request) (*http.Response, error)

	mu       sync.Mutex
	arrivals []time.Time
	requests []*http.Request
	bodies   []string
	answers  []*answerBody
}

func (f *fake) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		body = string(b)
	}
	f.mu.Lock()
	f.arrivals = append(f.arrivals, time.Now())
	f.requests = append(f.requests, req)
	f.bodies = append(f.bodies, body)
	n := len(f.arrivals)
	f.mu.Unlock()
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
		trace.GetConn("api.test:80")
		trace.GotConn(httptrace.GotConnInfo{})
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
	latency := f.latency
	if latency == 0 {
		latency = time.Millisecond
	}
	if err := pass(req.Context(), latency); err != nil {
		return nil, err
	}
	resp, err := reply(http.StatusOK), error(nil)
	if f.answer != nil {
		resp, err = f.answer(n, req)
	}
	if resp != nil {
		resp.Request = req
		if b, ok := resp.Body.(*answerBody); ok {
			b.ctx = req.Context()
			f.mu.Lock()
			f.answers = append(f.answers, b)
			f.mu.Unlock()
		}
	}
	return resp, err
}

// attempts returns how many have arrived.
func (f *fake) attempts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.arrivals)
}

// since returns when each attempt arrived, counted from t0.
func (f *fake) since(t0 time.Time) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var at []time.Duration
	for _, a := range f.arrivals {
		at = append(at, a.Sub(t0))
	}
	return at
}

// sequence answers with the statuses in turn, and then with the last of them.
func sequence(statuses ...int) func(int, *http.Request) (*http.Response, error) {
	return func(n int, _ *http.Request) (*http.Response, error) {
		return reply(statuses[min(n, len(statuses))-1]), nil
	}
}

// reply makes an answer with fields in pairs of name and value.
func reply(status int, fields ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	text := http.StatusText(status)
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: h,
		ContentLength: int64(len(text)), Body: &answerBody{r: strings.NewReader(text)},
	}
}

// stream makes an answer of events whose pieces come from a channel; an error
// ends it.
func stream(pieces <-chan any) *http.Response {
	resp := reply(http.StatusOK, "Content-Type", "text/event-stream; charset=utf-8")
	resp.ContentLength = -1
	resp.Body = &answerBody{pieces: pieces}
	return resp
}

// answerBody is the body of an answer. Its reads end with its request's
// context, as those of net/http do.
type answerBody struct {
	r      io.Reader
	pieces <-chan any
	ctx    context.Context

	mu     sync.Mutex
	closed time.Time
	read   int
}

func (b *answerBody) Read(p []byte) (int, error) {
	for b.r == nil {
		select {
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case piece, ok := <-b.pieces:
			switch piece := piece.(type) {
			case error:
				return 0, piece
			case string:
				n := copy(p, piece)
				if n < len(piece) {
					panic("piece is longer than the read")
				}
				return n, nil
			}
			if !ok {
				return 0, io.EOF
			}
		}
	}
	if b.ctx != nil && b.ctx.Err() != nil {
		return 0, b.ctx.Err()
	}
	n, err := b.r.Read(p)
	b.mu.Lock()
	b.read += n
	b.mu.Unlock()
	return n, err
}

func (b *answerBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.IsZero() {
		b.closed = time.Now()
	}
	return nil
}

func (b *answerBody) closedAt() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// requestText is a request body that counts how often it is closed.
type requestText struct {
	io.Reader
	mu     sync.Mutex
	closes int
}

func (b *requestText) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closes++
	return nil
}

func (b *requestText) closed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closes
}

// request makes a request with fields in pairs of name and value.
func request(ctx context.Context, method, path, body string, fields ...string) *http.Request {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, path, r)
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	return req
}

// get makes a call to "api", reads its answer and returns the status.
func get(t *testing.T, g *Gate, fields ...string) int {
	t.Helper()
	status, err := try(t.Context(), g, fields...)
	if err != nil {
		t.Errorf("call: %v", err)
	}
	return status
}

// try is get for calls that may fail.
func try(ctx context.Context, g *Gate, fields ...string) (int, error) {
	resp, err := g.RoundTripper("api").RoundTrip(request(ctx, "GET", "/x", "", fields...))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// limits writes limits as a configuration has them.
func limits(texts ...string) []config.Limit {
	var all []config.Limit
	for _, s := range texts {
		all = append(all, config.Limit{Limit: s})
	}
	return all
}

// free fails the test unless a permit of "api" can be had at once.
func free(t *testing.T, g *Gate) {
	t.Helper()
	start := time.Now()
	p, err := g.Acquire(t.Context(), "api", nil)
	if err != nil {
		t.Fatalf("the next call: %v, want a permit", err)
	}
	p.Done(Cancelled)
	if waited := time.Since(start); waited != 0 {
		t.Errorf("the next call waited %v, want a permit at once", waited)
	}
}

// occupy holds one permit of "api" until the returned function is called.
func occupy(t *testing.T, g *Gate) (release func()) {
	t.Helper()
	p, err := g.Acquire(t.Context(), "api", nil)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return func() { p.Done(OK) }
}

// inFlight returns how many permits of "api" have not ended.
func inFlight(g *Gate) int { return g.Status().Upstreams[0].InFlight }

// roundTrips is a function as a RoundTripper.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func traceOf(req *http.Request) *httptrace.ClientTrace {
	return httptrace.ContextClientTrace(req.Context())
}

var (
	wrote   httptrace.WroteRequestInfo
	gotConn httptrace.GotConnInfo
)

// collect notes events. It may be read when its calls have ended.
type collect struct {
	mu      sync.Mutex
	ended   []CallEnded
	retried []Retried
	paused  []Paused
	changed []BreakerChanged
}

func (c *collect) option() Option {
	return WithEvents(Events{
		CallEnded:      func(e CallEnded) { note(c, &c.ended, e) },
		Retried:        func(e Retried) { note(c, &c.retried, e) },
		Paused:         func(e Paused) { note(c, &c.paused, e) },
		BreakerChanged: func(e BreakerChanged) { note(c, &c.changed, e) },
	})
}

func note[T any](c *collect, to *[]T, e T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = append(*to, e)
}

// refused fails the test unless err is a refusal of the kind want.
func refused(t *testing.T, err, want error) *RefusedError {
	t.Helper()
	var r *RefusedError
	if !errors.Is(err, want) || !errors.As(err, &r) {
		t.Fatalf("got %v, want a RefusedError with %v", err, want)
	}
	return r
}

var errBroken = errors.New("connection reset")
