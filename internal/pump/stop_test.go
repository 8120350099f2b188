package pump

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// some is a feed of so many items; it then waits.
type some struct {
	items []*ending
}

func (s *some) Next(ctx context.Context) (Item, error) {
	if len(s.items) == 0 {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	next := s.items[0]
	s.items = s.items[1:]
	return next, nil
}

// ending is an item that keeps its result.
type ending struct{ result Result }

func (e *ending) Request() (*http.Request, error) {
	return http.NewRequest("GET", "http://upstream.test/", nil)
}
func (e *ending) Started() error { return nil }
func (e *ending) Ended(r Result) { e.result = r }

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answered(status int, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("{}")), ProtoMajor: 1, ProtoMinor: 1}
}

func TestEndOfTakingCutsOffWhoWaitsAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := headgate.Transport(headgate.Limit("concurrent:1"), headgate.Base(tripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(5 * time.Second)
			return answered(200), nil
		})))
		items := []*ending{{}, {}, {}}
		taking, stop := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		time.AfterFunc(time.Second, func() { stop(stopped) })
		began := time.Now()
		err := New(door, Options{}).Run(taking, t.Context(), &some{append([]*ending(nil), items...)})
		if !errors.Is(err, stopped) {
			t.Errorf("Run = %v, want the cause of taking", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("Run took %v, want the 5 s of the call that was on its way", took)
		}
		whole, cut := 0, 0
		for _, item := range items {
			switch {
			case item.result.Err == nil && item.result.Response.Status == 200:
				whole++
			case errors.Is(item.result.Err, stopped):
				cut++
			}
		}
		if whole != 1 || cut != 2 {
			t.Errorf("%d answered and %d cut off, want 1 and 2: %+v", whole, cut, items)
		}
	})
}

func TestEndOfTakingCutsOffWhoWaitsForAnotherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := headgate.Transport(headgate.Line(config.Line{MaxWait: config.Duration(2 * time.Hour)}),
			headgate.Base(tripper(func(r *http.Request) (*http.Response, error) {
				return answered(429, "Retry-After", "3600"), nil
			})))
		item := &ending{}
		taking, stop := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		time.AfterFunc(time.Minute, func() { stop(stopped) })
		began := time.Now()
		New(door, Options{}).Run(taking, t.Context(), &some{[]*ending{item}})
		if took := time.Since(began); took != time.Minute {
			t.Errorf("Run took %v, want to end with taking", took)
		}
		if r := item.result; !errors.Is(r.Err, stopped) || len(r.Attempts) != 1 || r.Tried != 0 {
			t.Errorf("result %+v, want the cause of taking and one throttled attempt", r)
		}
	})
}
