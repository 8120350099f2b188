package batch

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHopelessBatchIsGivenUp(t *testing.T) {
	const quota = `{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}}`
	for _, s := range []struct {
		name   string
		status int
		text   string
		after  int // good answers before
		want   string
	}{
		{"refused credential", 401, `{"error": "bad key"}`, 0, "401 Unauthorized"},
		{"forbidden", 403, "", 0, "403 Forbidden"},
		{"unpaid", 429, quota, 0, "429 Too Many Requests"},
		{"revoked on the way", 401, "", 300, "401 Unauthorized"},
		{"unreachable", 0, "connection refused", 0, "the upstream cannot be reached: "},
	} {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := &upstream{takes: time.Millisecond, answer: func(n int, _ *http.Request, _ string) (int, string) {
					if n <= s.after {
						return 200, "{}"
					}
					return s.status, s.text
				}}
				b := newBench(t, lines(1000), up)
				b.InFlight = 50
				_, err := b.run(t, t.Context())
				if hopeless := (*HopelessError)(nil); !errors.As(err, &hopeless) || !strings.Contains(err.Error(), s.want) {
					t.Fatalf("Run = %v, want to give up with %q", err, s.want)
				}
				if most := s.after + hopelessAfter + b.InFlight; up.n > most {
					t.Errorf("%d calls, want at most %d", up.n, most)
				}
				b.once(t, s.after)
				up.answer = nil
				if p := b.done(t); p.Done != 1000 || p.Failed != 0 || p.Earlier != int64(s.after) {
					t.Errorf("run after that: %+v, want all done", p)
				}
			})
		})
	}
}

func TestKeepGoingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lines(100), &upstream{answer: func(int, *http.Request, string) (int, string) { return 403, "" }})
		b.KeepGoing = true
		if p := b.done(t); p.Done != 100 || p.Failed != 100 {
			t.Errorf("progress %+v, want 100 failed", p)
		}
	})
}

func TestFewRefusedCallsAreResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lines(200), &upstream{answer: func(_ int, _ *http.Request, body string) (int, string) {
			if strings.HasSuffix(body, "7}") {
				return 403, ""
			}
			return 200, "{}"
		}})
		if p := b.done(t); p.Done != 200 || p.Failed != 20 {
			t.Errorf("progress %+v, want 20 of 200 failed", p)
		}
		b.once(t, 200)
	})
}

func TestFirstCallsAreFew(t *testing.T) {
	for _, s := range []struct {
		since time.Duration
		most  int
		next  time.Duration
	}{
		{0, 20, time.Second}, {1500 * time.Millisecond, 40, 500 * time.Millisecond}, {5 * time.Second, 640, time.Second}, {6 * time.Second, 1000, 0}, {time.Hour, 1000, 0},
	} {
		var fresh suspects
		if most, next := fresh.most(s.since, 1000); most != s.most || next != s.next {
			t.Errorf("after %v = %d, %v, want %d, %v", s.since, most, next, s.most, s.next)
		}
		if most, next := (&suspects{proven: true}).most(s.since, 1000); most != 1000 || next != 0 {
			t.Errorf("after %v and an answer = %d, %v, want 1000", s.since, most, next)
		}
	}
}

func TestInputThatBreaksOffKeepsWhatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "", &upstream{})
		b.In = "-"
		broken := errors.New("broken pipe")
		b.Stdin = &breaking{strings.NewReader(lines(30)), broken}
		if _, err := b.run(t, t.Context()); !errors.Is(err, broken) || !strings.Contains(fmt.Sprint(err), "read -") {
			t.Errorf("Run = %v, want %v", err, broken)
		}
		b.once(t, 30)
		b.Stdin = strings.NewReader(lines(40))
		if p := b.done(t); p.Done != 40 || p.Earlier != 30 || p.Total != 40 {
			t.Errorf("%+v, want 10 more", p)
		}
	})
}

// breaking fails where another reader ends.
type breaking struct {
	r   *strings.Reader
	err error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.r.Len() == 0 {
		return 0, b.err
	}
	return b.r.Read(p)
}
