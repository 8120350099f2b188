package headgate

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// A deadline that can't be met is said at the door.
func TestHopelessDeadlinesAreRefusedAtTheDoor(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		ctx    time.Duration
		config time.Duration // line.max_wait
	}{
		{name: "Headgate-Max-Wait", fields: []string{"Headgate-Max-Wait", "9s"}},
		{name: "no wait at all", fields: []string{"Headgate-Max-Wait", "0s"}},
		{name: "SDK's timeout", fields: []string{"X-Stainless-Timeout", "9.5"}},
		{name: "context", ctx: 9 * time.Second},
		{name: "line.max_wait", config: 9 * time.Second},
		{name: "the earliest of all", ctx: time.Minute, fields: []string{"Headgate-Max-Wait", "9s", "X-Stainless-Timeout", "60"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := openGate(t, &fake{}, config.Upstream{
					Limits: limits("2/10s"), Line: config.Line{MaxWait: config.Duration(test.config)},
				})
				get(t, g)
				get(t, g)
				ctx := t.Context()
				if test.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.ctx)
					defer cancel()
				}
				start := time.Now()
				_, err := try(ctx, g, test.fields...)
				r := refused(t, err, ErrDeadline)
				if took := time.Since(start); took != 0 {
					t.Errorf("refused after %v, want at once", took)
				}
				if r.Limit != "2/10s" || r.Upstream != "api" {
					t.Errorf("refused by %q of %q, want 2/10s of api", r.Limit, r.Upstream)
				}
				if at := r.RetryAt.Sub(start); at < 9900*time.Millisecond || at > 10500*time.Millisecond {
					t.Errorf("RetryAt is in %v, want in about 10s", at)
				}
				time.Sleep(time.Until(r.RetryAt))
				start = time.Now()
				get(t, g)
				if took := time.Since(start); took > 100*time.Millisecond {
					t.Errorf("at RetryAt a call took %v, want a permit", took)
				}
			})
		})
	}
}

func TestDeadlinesThatCanBeMetAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("2/10s")})
		get(t, g)
		get(t, g)
		get(t, g, "Headgate-Max-Wait", "10.5s")
		ctx, cancel := context.WithTimeout(t.Context(), 11*time.Second)
		defer cancel()
		if _, err := try(ctx, g); err != nil {
			t.Errorf("got %v, want an answer", err)
		}
	})
}

// What can't be known at the door is said when the deadline comes.
func TestUnforeseenDeadlinesEndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("concurrent:1")})
		release := occupy(t, g)
		start := time.Now()
		_, err := try(t.Context(), g, "Headgate-Max-Wait", "2s")
		refused(t, err, ErrDeadline)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("refused after %v, want after 2s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := try(ctx, g); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		// A permit that comes with the deadline is taken.
		time.AfterFunc(2*time.Second, release)
		if _, err := try(t.Context(), g, "Headgate-Max-Wait", "2001ms"); err != nil {
			t.Errorf("got %v, want an answer", err)
		}
		free(t, g)
	})
}

// Place in line counts: the third in line waits for the third permit.
func TestDeadlinesKnowTheLineAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("1/10s")})
		get(t, g)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { get(t, g) })
			synctest.Wait()
		}
		start := time.Now()
		_, err := try(t.Context(), g, "Headgate-Max-Wait", "35s")
		r := refused(t, err, ErrDeadline)
		if at := r.RetryAt.Sub(start); at < 39*time.Second || at > 42*time.Second {
			t.Errorf("RetryAt is in %v, want in 40s", at)
		}
		// One more urgent goes before them.
		get(t, g, "Headgate-Max-Wait", "11s", "Priority", "u=0")
		wg.Wait()
	})
}
