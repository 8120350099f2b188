package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// hooks records the httptrace hooks of a request with the time of each.
type hooks struct {
	mu     sync.Mutex
	start  time.Time
	called []string
	err    error // of WroteRequest
}

func (h *hooks) context(ctx context.Context) context.Context {
	h.start = time.Now()
	call := func(name string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.called = append(h.called, fmt.Sprintf("%s %v", name, time.Since(h.start)))
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(addr string) { call("GetConn " + addr) },
		GotConn:      func(httptrace.GotConnInfo) { call("GotConn") },
		WroteHeaders: func() { call("WroteHeaders") },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			h.err = info.Err
			call("WroteRequest")
		},
		GotFirstResponseByte: func() { call("GotFirstResponseByte") },
	})
}

// slowBody gives one byte each 10 ms, as often as left says, until it is closed.
type slowBody struct {
	left   int
	closed chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	b.left--
	select {
	case <-time.After(10 * ms):
		p[0] = 'x'
		return 1, nil
	case <-b.closed:
		return 0, errors.New("closed")
	}
}

func (b *slowBody) Close() error {
	close(b.closed)
	return nil
}

func TestRoundTripperCallsHooksInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{MinArrival: 40 * ms})
		for _, test := range []struct {
			url  string
			body io.Reader
			want []string
		}{
			{"https://mock.test/", nil, []string{"GetConn mock.test:443 0s", "GotConn 0s", "WroteHeaders 0s", "WroteRequest 0s", "GotFirstResponseByte 40ms"}},
			{"http://mock.test:81/", &slowBody{3, make(chan struct{})}, []string{"GetConn mock.test:81 0s", "GotConn 0s", "WroteHeaders 0s", "WroteRequest 30ms", "GotFirstResponseByte 70ms"}},
		} {
			var h hooks
			req, _ := http.NewRequestWithContext(h.context(t.Context()), "POST", test.url, test.body)
			res, err := s.RoundTripper().RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			synctest.Wait()
			if !slices.Equal(h.called, test.want) || h.err != nil {
				t.Errorf("POST %s: hooks %q, error %v; want %q", test.url, h.called, h.err, test.want)
			}
		}
	})
}

func TestRoundTripperAnswersAsNetHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: New(Config{}).RoundTripper()}
		res, err := client.Get("http://mock.test")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != `{"ok":true,"path":"/","n":1}`+"\n" || res.ContentLength != int64(len(body)) ||
			res.Status != "200 OK" || res.Header.Get("Date") != "Sat, 01 Jan 2000 00:00:00 GMT" {
			t.Errorf("GET = %s %v %s (%d bytes, %v)", res.Status, res.Header, body, res.ContentLength, err)
		}
		res, err = client.Head("http://mock.test/")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || len(body) != 0 {
			t.Errorf("HEAD has body %q, %v; want none", body, err)
		}
	})
}

func TestRoundTripperStopsWithTheContext(t *testing.T) {
	why := errors.New("enough")
	for _, test := range []struct {
		name  string
		after time.Duration // the caller ends its context
		body  io.Reader
		path  string
	}{
		{"before it is sent", 0, nil, "/"},
		{"while the body is sent", 15 * ms, &slowBody{10, make(chan struct{})}, "/"},
		{"while it is held", 15 * ms, nil, "/"},
		{"while it is served", 30 * ms, nil, "/_mock/slow?d=1s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Config{MinArrival: 20 * ms})
				ctx, cancel := context.WithCancelCause(t.Context())
				if test.after == 0 {
					cancel(why)
				} else {
					time.AfterFunc(test.after, func() { cancel(why) })
				}
				body := test.body
				if slow, ok := body.(*slowBody); ok {
					body = &slowBody{slow.left, make(chan struct{})}
				}
				start := time.Now()
				req, _ := http.NewRequestWithContext(ctx, "POST", "http://mock.test"+test.path, body)
				res, err := s.RoundTripper().RoundTrip(req)
				if res != nil || err != why || time.Since(start) != test.after {
					t.Errorf("RoundTrip = %v, %v after %v; want nil, %v after %v", res, err, time.Since(start), why, test.after)
				}
				if slow, ok := body.(*slowBody); ok {
					<-slow.closed
				}
				synctest.Wait()
				if n := s.Stats().InFlight; n != 0 {
					t.Errorf("%d in flight after the caller has left, want 0", n)
				}
			})
		})
	}
}

func TestRoundTripperStopsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		for name, stop := range map[string]func(cancel context.CancelCauseFunc, body io.Closer){
			"context": func(cancel context.CancelCauseFunc, _ io.Closer) { cancel(why) },
			"close":   func(_ context.CancelCauseFunc, body io.Closer) { body.Close() },
		} {
			s := New(Config{})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://mock.test/_mock/sse?n=100&every=1s", nil)
			res, err := s.RoundTripper().RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(2500*ms, func() { stop(cancel, res.Body) })
			body, err := io.ReadAll(res.Body)
			if n := strings.Count(string(body), "id:"); n != 3 || err == nil || name == "context" && err != why {
				t.Errorf("%s after 2.5s: %d events, then %v; want 3 and an error", name, n, err)
			}
			res.Body.Close()
			synctest.Wait()
			if n := s.Stats().InFlight; n != 0 {
				t.Errorf("%s: %d in flight after the caller has left, want 0", name, n)
			}
		}
	})
}

func TestRoundTripperReturnsTheErrorOfTheRequestBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("disk on fire")
		s := New(Config{})
		var h hooks
		req, _ := http.NewRequestWithContext(h.context(t.Context()), "POST", "http://mock.test/", iotest.ErrReader(why))
		res, err := s.RoundTripper().RoundTrip(req)
		synctest.Wait()
		if res != nil || err != why || h.err != why || s.Stats().Arrivals != 0 {
			t.Errorf("RoundTrip = %v, %v, hook %v, %d arrivals; want nil, %v twice, 0", res, err, h.err, s.Stats().Arrivals, why)
		}
	})
}

func TestRoundTripperRefusesARequestWithoutHost(t *testing.T) {
	body := &slowBody{1, make(chan struct{})}
	req, _ := http.NewRequest("POST", "/relative", body)
	if res, err := New(Config{}).RoundTripper().RoundTrip(req); res != nil || err == nil {
		t.Errorf("RoundTrip of /relative = %v, %v; want an error", res, err)
	}
	<-body.closed
}
