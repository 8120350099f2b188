package dialect

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"
)

// t0 is the moment from which tests count.
var t0 = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// A sample is an answer and how it must be read. testdata/cases.json has what
// APIs were seen to send; testdata/edges.json has what the rules say of values and
// precedence between those, and leaves limits open.
type sample struct {
	Name    string
	Dialect string
	Method  string
	Status  int
	Headers map[string][]string
	Body    string
	Now     time.Time
	Expect  struct {
		Class     string
		Retryable bool
		WaitMS    *int64     `json:"wait_ms"`
		Limits    []struct { // nil: any
			Dimension        string
			Limit, Remaining *int64
			ResetMS          *int64 `json:"reset_ms"`
		}
	}
	Source string
	Note   string
}

func (s sample) answer() Answer {
	a := Answer{Method: s.Method, Status: s.Status, Header: http.Header{}, Body: []byte(s.Body)}
	for name, lines := range s.Headers {
		for _, v := range lines {
			a.Header.Add(name, v)
		}
	}
	return a
}

// want returns what is expected as a text that show also gives for a reading.
func (s sample) want() string {
	r := Reading{Retryable: s.Expect.Retryable}
	for c := OK; c <= Fatal; c++ {
		if c.String() == s.Expect.Class {
			r.Class = c
		}
	}
	if ms := s.Expect.WaitMS; ms != nil {
		r.HasWait, r.Wait = true, time.Duration(*ms)*time.Millisecond
	}
	known := func(n *int64) int64 {
		if n == nil {
			return -1
		}
		return *n
	}
	for _, l := range s.Expect.Limits {
		reset := time.Duration(-1)
		if l.ResetMS != nil {
			reset = time.Duration(*l.ResetMS) * time.Millisecond
		}
		r.Limits = append(r.Limits, Limit{Dimension: l.Dimension, Limit: known(l.Limit), Remaining: known(l.Remaining), Reset: reset})
	}
	return show(r)
}

func show(r Reading) string {
	wait := "-"
	if r.HasWait {
		wait = r.Wait.String()
	}
	var limits []string
	for _, l := range r.Limits {
		limits = append(limits, fmt.Sprintf("%s %d/%d reset %d ms", l.Dimension, l.Remaining, l.Limit, l.Reset.Milliseconds()))
		if l.Reset < 0 {
			limits[len(limits)-1] = fmt.Sprintf("%s %d/%d reset -", l.Dimension, l.Remaining, l.Limit)
		}
	}
	slices.Sort(limits)
	return fmt.Sprintf("%s, retryable %t, wait %s, limits %q", r.Class, r.Retryable, wait, limits)
}

func samples(t testing.TB) []sample {
	t.Helper()
	var all []sample
	for _, name := range [...]string{"testdata/cases.json", "testdata/edges.json"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var some []sample
		if err := json.Unmarshal(text, &some); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, some...)
	}
	return all
}

func TestReadMatchesSamples(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.Name, func(t *testing.T) {
			d, ok := Lookup(s.Dialect)
			if !ok {
				t.Fatalf("no dialect %q", s.Dialect)
			}
			r := d.Read(s.answer(), s.Now)
			if s.Expect.Limits == nil {
				r.Limits = nil
			}
			if got, want := show(r), s.want(); got != want {
				t.Errorf("%d %v %s\n got %s\nwant %s\n(%s; source: %s)", s.Status, s.Headers, s.Body, got, want, r.Why(), s.Source)
			}
			if r.Dialect != s.Dialect {
				t.Errorf("dialect %q, want %q", r.Dialect, s.Dialect)
			}
		})
	}
}
