package jobhttp

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadPrefer(t *testing.T) {
	for _, s := range []struct {
		values []string
		want   Prefer
	}{
		{nil, Prefer{}},
		{[]string{""}, Prefer{}},
		{[]string{"respond-async"}, Prefer{Async: true}},
		{[]string{"Respond-Async; foo=\"a,b\""}, Prefer{Async: true}},
		{[]string{"respond-async, wait=10"}, Prefer{Async: true, Wait: 10 * time.Second}},
		{[]string{"wait = \"10\" ;x", "respond-async=\"\""}, Prefer{Async: true, Wait: 10 * time.Second}},
		{[]string{"wait=10, wait=20"}, Prefer{Wait: 10 * time.Second}},
		{[]string{"wait=, wait=20"}, Prefer{}},
		{[]string{"wait=-1"}, Prefer{}},
		{[]string{"wait=1.5"}, Prefer{}},
		{[]string{"wait=0"}, Prefer{}},
		{[]string{"wait=600"}, Prefer{Wait: MaxWait}},
		{[]string{"wait=601"}, Prefer{Wait: MaxWait}},
		{[]string{"wait=99999999999999999999999"}, Prefer{Wait: MaxWait}},
		{[]string{", ,return=minimal ,respond-async,handling=lenient; a"}, Prefer{Async: true, Rest: []string{"return=minimal", "handling=lenient; a"}}},
		{[]string{`x="a, respond-async"`}, Prefer{Rest: []string{`x="a, respond-async"`}}},
		{[]string{`x="a\", respond-async"`}, Prefer{Rest: []string{`x="a\", respond-async"`}}},
		{[]string{`x="a, respond-async`}, Prefer{Rest: []string{`x="a, respond-async`}}},
		{[]string{`"respond-async"`}, Prefer{Rest: []string{`"respond-async"`}}},
		{[]string{`respond-asynchronously`}, Prefer{Rest: []string{`respond-asynchronously`}}},
	} {
		if got := ReadPrefer(s.values); !reflect.DeepEqual(got, s.want) {
			t.Errorf("ReadPrefer(%q) = %+v, want %+v", s.values, got, s.want)
		}
	}
}

func TestAppliedNamesWhatIsOurs(t *testing.T) {
	for in, want := range map[string]string{
		"return=minimal":                 "",
		"respond-async":                  "respond-async",
		"respond-async, return=minimal":  "respond-async",
		"wait=7":                         "wait=7",
		"wait=6000, respond-async, x=\"": "respond-async, wait=600",
	} {
		if got := ReadPrefer([]string{in}).Applied(); got != want {
			t.Errorf("Applied of %q = %q, want %q", in, got, want)
		}
	}
}

// Whatever comes, waits are bounded, and what is for others reads the same when
// it is passed on.
func FuzzReadPrefer(f *testing.F) {
	for _, s := range []string{"respond-async, wait=10", `a="b,c";d="\"", wait=1`, `"`, `\`, "a=\"\\", ";;,=,", "wait=\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := ReadPrefer([]string{s})
		if p.Wait < 0 || p.Wait > MaxWait {
			t.Errorf("ReadPrefer(%q).Wait = %v, want 0 to %v", s, p.Wait, MaxWait)
		}
		again := ReadPrefer([]string{strings.Join(p.Rest, ", ")})
		if again.Async || again.Wait != 0 || strings.Join(again.Rest, ", ") != strings.Join(p.Rest, ", ") {
			t.Errorf("ReadPrefer(%q) leaves %q, which reads as %+v", s, p.Rest, again)
		}
	})
}
