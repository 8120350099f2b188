package batch

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

// What a killed process and a power cut leave behind.
func TestTornOutputIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{}
		b := newBench(t, lines(40), up)
		b.done(t)
		whole, err := os.ReadFile(b.Out)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			text := whole[:rand.IntN(len(whole)+1)]
			zeros := rand.IntN(2) == 0 && len(text) > 0
			if zeros { // a page that never came to the disk
				text = bytes.Clone(text)
				from := rand.IntN(len(text))
				clear(text[from:min(from+rand.IntN(600), len(text))])
			}
			write(t, b.Out, string(text))
			before := up.n
			kept := bytes.Count(text, []byte("\n"))
			b.done(t)
			b.once(t, 40)
			if again := up.n - before; !zeros && again != 40-kept {
				t.Fatalf("%d calls after %d of 40 lines were kept, want the others:\n%s", again, kept, text)
			}
		}
	})
}

func TestOutputOfSomethingElseIsLeftAlone(t *testing.T) {
	for _, text := range []string{"Dear diary,\n", "no end", `{"custom_id": "a"}` + "\n", "\n"} {
		b := newBench(t, lines(3), &upstream{})
		write(t, b.Out, text)
		if _, err := b.run(t, t.Context()); err == nil || !strings.Contains(err.Error(), b.Out) {
			t.Errorf("output %q: run = %v, want an error that names it", text, err)
		}
		if now, err := os.ReadFile(b.Out); err != nil || string(now) != text {
			t.Errorf("output %q is now %q, %v", text, now, err)
		}
	}
}

func TestOtherInputIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lines(3), &upstream{})
		b.done(t)
		template, err := ParseTemplate("t", "path: /")
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(){
			"longer":      func() { write(t, b.In, lines(4)) },
			"other":       func() { write(t, b.In, strings.Replace(lines(3), "r-1", "x-1", 1)) },
			"by template": func() { write(t, b.In, lines(3)); b.Template = template },
		} {
			b.Template = nil
			change()
			if _, err := b.run(t, t.Context()); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "--force") {
				t.Errorf("input that is %s: run = %v, want ErrChanged and the mend", name, err)
			}
		}
		b.Template, b.Force = nil, true
		write(t, b.In, lines(4))
		if p := b.done(t); p.Done != 4 || p.Earlier != 3 {
			t.Errorf("by force: %+v, want one more call", p)
		}
		b.once(t, 4)
		b.Force = false
		b.done(t) // it is its input now
	})
}

func TestOutputIsWrittenByOneBatch(t *testing.T) {
	b := newBench(t, lines(3), &upstream{})
	x, err := Open(t.Context(), b.Options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), b.Options); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open = %v, want ErrInUse", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	b.done(t)
}

func TestOrderedIsInTheOrderOfTheInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := tripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
			return nowhere{}.RoundTrip(r)
		})
		input := strings.Replace(lines(300), `"r-7"`, `7`, 1)
		b := newBench(t, input, up)
		b.Ordered = true
		b.done(t)
		for i, w := range b.results(t) {
			want := fmt.Sprintf("r-%d", i+1)
			if i+1 == 7 {
				want = "line-7"
			}
			if w.CustomID != want {
				t.Fatalf("result %d is of %s, want %s", i+1, w.CustomID, want)
			}
		}
		before, _ := os.Stat(b.Out)
		b.done(t)
		if after, _ := os.Stat(b.Out); !os.SameFile(before, after) {
			t.Error("an output that is in order was written anew")
		}
	})
}

func TestRunAfterAnotherLeavesItsQuotaAlone(t *testing.T) {
	now := time.Unix(1000, 0)
	u := func(limits ...string) (u config.Upstream) {
		for _, l := range limits {
			u.Limits = append(u.Limits, config.Limit{Limit: l})
		}
		return u
	}
	for _, s := range []struct {
		u     config.Upstream
		state string
		wrote time.Duration
		want  time.Duration // from now
	}{
		{u("50/1s", "500/1m", "concurrent:3", "1000/1h"), "", -20 * time.Second, 40 * time.Second},
		{u("50/1s"), "", -20 * time.Second, -19 * time.Second},
		{u("50/1s"), "", time.Hour, time.Second},
		{u(), "", -time.Second, -time.Second},
	} {
		c := config.Config{State: s.state}
		if got := restUntil(c, s.u, now.Add(s.wrote), now).Sub(now); got != s.want {
			t.Errorf("rest of %v after %v = %v, want %v", s.u.Limits, s.wrote, got, s.want)
		}
	}
	if got := restUntil(config.Config{State: "redis://localhost"}, u("50/1m"), now, now); !got.IsZero() {
		t.Errorf("rest where quotas are shared = %v, want none", got)
	}
}
