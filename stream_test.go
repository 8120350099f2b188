package headgate

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// pieces makes a channel that holds all pieces of a stream, and ends it.
func pieces(all ...any) <-chan any {
	ch := make(chan any, len(all))
	for _, p := range all {
		ch <- p
	}
	close(ch)
	return ch
}

func TestStreamsThatBeginWithAnErrorAreRetried(t *testing.T) {
	const (
		throttled  = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}\n\n"
		overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"
		bad        = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"}}\n\n"
		good       = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"
	)
	tests := []struct {
		name     string
		stream   []any
		attempts int
	}{
		{"rate limit", []any{throttled}, 2},
		{"overloaded", []any{overloaded}, 2},
		{"in pieces", []any{overloaded[:9], overloaded[9:30], overloaded[30:]}, 2},
		{"after a comment", []any{": hello\n\n", overloaded}, 2},
		{"with CRLF", []any{strings.ReplaceAll(overloaded, "\n", "\r\n")}, 2},
		{"without a closing line", []any{strings.TrimSuffix(overloaded, "\n")}, 2},
		{"an error of another kind", []any{bad}, 1},
		{"after the first event", []any{good, overloaded}, 1},
		{"empty", nil, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(n int, _ *http.Request) (*http.Response, error) {
					if n == 1 {
						return stream(pieces(test.stream...)), nil
					}
					return stream(pieces(good, "data: [DONE]\n\n")), nil
				}}
				g := openGate(t, f, config.Upstream{Limits: limits("concurrent:1"), Retry: config.Retry{Methods: "any"}})
				resp, err := g.Client("api").Post("/x", "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := good + "data: [DONE]\n\n"
				if test.attempts == 1 {
					want = fmt.Sprint(test.stream...) // strings are joined without blanks
				}
				if string(got) != want || err != nil || f.attempts() != test.attempts {
					t.Errorf("got %q and %v after %d attempts, want %q after %d", got, err, f.attempts(), want, test.attempts)
				}
				time.Sleep(time.Minute)
				free(t, g)
			})
		})
	}
}

func TestStreamsPassPieceByPiece(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		first  string // what is read as soon as it came
	}{
		{"events", []string{"Content-Type", "text/event-stream"}, "data: 1\n\n"},
		{"events, compressed", []string{"Content-Type", "text/event-stream", "Content-Encoding", "gzip"}, "\x1f\x8b"},
		{"anything else", []string{"Content-Type", "application/x-ndjson"}, "{"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ch := make(chan any)
				f := &fake{answer: func(int, *http.Request) (*http.Response, error) {
					resp := reply(200, test.fields...)
					resp.ContentLength, resp.Body = -1, &answerBody{pieces: ch}
					return resp, nil
				}}
				g := openGate(t, f, config.Upstream{})
				sent := []string{test.first, "data: 2\n\n", ": ping\n\n", "data: {\"error\":{\"type\":\"overloaded_error\"}}\n\n", "\x00\xff"}
				go func() {
					for _, p := range sent {
						ch <- p
						time.Sleep(20 * time.Second)
					}
					close(ch)
				}()
				start := time.Now()
				resp, err := g.Client("api").Get("/x")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				buf := make([]byte, 1024)
				for i, want := range sent {
					n, err := resp.Body.Read(buf)
					if got := string(buf[:n]); got != want || err != nil {
						t.Fatalf("piece %d: read %q and %v, want %q", i, got, err, want)
					}
					if at := time.Since(start); at != time.Millisecond+time.Duration(i)*20*time.Second {
						t.Errorf("piece %d came after %v, want as it was sent", i, at)
					}
				}
				if _, err := resp.Body.Read(buf); err != io.EOF {
					t.Errorf("read %v at the end, want EOF", err)
				}
				if f.attempts() != 1 {
					t.Errorf("%d attempts, want one: bytes have gone to the caller", f.attempts())
				}
			})
		})
	}
}

func TestSilentStreamsAreGivenUp(t *testing.T) {
	tests := []struct {
		name  string
		sent  []string
		kind  string
		after time.Duration
	}{
		{"before the first event", nil, "text/event-stream", 10 * time.Second},
		{"in the first event", []string{"data: "}, "text/event-stream", 10 * time.Second},
		{"after the first event", []string{"data: 1\n\n"}, "text/event-stream", 10 * time.Second},
		{"no stream of events", []string{"abc"}, "text/plain", 10 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ch := make(chan any, len(test.sent))
				for _, p := range test.sent {
					ch <- p
				}
				f := &fake{answer: func(int, *http.Request) (*http.Response, error) {
					resp := reply(200, "Content-Type", test.kind)
					resp.ContentLength, resp.Body = -1, &answerBody{pieces: ch}
					return resp, nil
				}}
				g := openGate(t, f, config.Upstream{
					Limits: limits("concurrent:1"), Timeout: config.Timeout{IdleStream: config.Duration(10 * time.Second)},
				})
				start := time.Now()
				resp, err := g.Client("api").Get("/x")
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != strings.Join(test.sent, "") || !errors.Is(err, ErrIdleStream) {
					t.Errorf("read %q and %v, want %q and %v", got, err, test.sent, ErrIdleStream)
				}
				if took := time.Since(start); took != test.after+time.Millisecond {
					t.Errorf("given up after %v, want %v", took, test.after)
				}
				free(t, g)
			})
		})
	}
}

// A caller that takes its time is not the upstream's fault.
func TestSlowReadersAreNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{answer: func(int, *http.Request) (*http.Response, error) {
			return stream(pieces("data: 1\n\n", "data: 2\n\n")), nil
		}}, config.Upstream{})
		resp, err := g.Client("api").Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		time.Sleep(time.Hour)
		io.ReadFull(resp.Body, make([]byte, 9))
		time.Sleep(time.Hour)
		if rest, err := io.ReadAll(resp.Body); string(rest) != "data: 2\n\n" || err != nil {
			t.Errorf("read %q and %v, want the second event", rest, err)
		}
	})
}

func TestErrorsLaterInAStreamArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(int, *http.Request) (*http.Response, error) {
			return stream(pieces("data: 1\n\n", errBroken)), nil
		}}
		g := openGate(t, f, config.Upstream{})
		resp, err := g.Client("api").Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if string(got) != "data: 1\n\n" || !errors.Is(err, errBroken) || f.attempts() != 1 {
			t.Errorf("read %q and %v after %d attempts, want the event and %v after one", got, err, f.attempts(), errBroken)
		}
	})
}
