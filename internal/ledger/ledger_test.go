package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

func TestBooksShareWhatIsPerUpstreamOnly(t *testing.T) {
	l := New([]Rule{ruleOf(t, PerUpstream, "", "10/10s"), ruleOf(t, PerCredential, "", "6/10s")}, Options{}, t0)
	a, b := l.Book("a", t0), l.Book("b", t0)
	mustGrant(t, a, t0, Ask{}, 6)
	wantUnknown(t, a, t0, Ask{}, "6/10s")
	mustGrant(t, b, t0, Ask{}, 4)
	wantUnknown(t, b, t0, Ask{}, "10/10s")
	wantUsed(t, b, t0, 10, 4)
	if l.Book("a", t0) != a {
		t.Error("a second book for one credential")
	}
	n := 0
	for name, book := range l.Books {
		if n++; book != l.Book(name, t0) {
			t.Errorf("Books yields another book for %q", name)
		}
	}
	if n != 2 {
		t.Errorf("%d books, want 2", n)
	}
}

func TestPathsSelectTheRulesThatCoverThem(t *testing.T) {
	l := New([]Rule{
		ruleOf(t, PerPath, "/v1/a*", "2/1s"), ruleOf(t, PerCredential, "", "50/1s"), ruleOf(t, PerPath, "/v1/b", "1/1s"), ruleOf(t, PerPath, "*", "9/1s"),
	}, Options{}, t0)
	for path, want := range map[string]uint64{"/v1/a": 0b101, "/v1/abc": 0b101, "/v1/b": 0b110, "/v1/bc": 0b100, "": 0b100} {
		if got := l.Paths(path); got != want {
			t.Errorf("Paths(%q) = %b, want %b", path, got, want)
		}
	}
	b := l.Book("key", t0)
	mustGrant(t, b, t0, Ask{Paths: l.Paths("/v1/b")}, 1)
	wantUnknown(t, b, t0, Ask{Paths: l.Paths("/v1/b")}, "1/1s")
	mustGrant(t, b, t0, Ask{Paths: l.Paths("/v1/a")}, 2)
	wantUnknown(t, b, t0, Ask{Paths: l.Paths("/v1/a")}, "2/1s")
	wantUsed(t, b, t0, 2, 3, 1, 3)
}

func TestPathRulesBeyondTheMostCoverNothing(t *testing.T) {
	var rules []Rule
	for i := range MaxPathRules + 2 {
		rules = append(rules, ruleOf(t, PerPath, fmt.Sprintf("/%d", i), "1/1h"))
	}
	l := New(rules, Options{}, t0)
	b := l.Book("key", t0)
	mustGrant(t, b, t0, Ask{Paths: l.Paths("/elsewhere")}, 3)
	last := Ask{Paths: l.Paths(fmt.Sprintf("/%d", MaxPathRules-1))}
	mustGrant(t, b, t0, last, 1)
	wantUnknown(t, b, t0, last, "1/1h")
	mustGrant(t, b, t0, Ask{Paths: l.Paths(fmt.Sprintf("/%d", MaxPathRules+1))}, 3)
}

func TestConfigureKeepsCountsOfLimitsThatDifferInNumber(t *testing.T) {
	before := []Rule{ruleOf(t, PerCredential, "", "10/10s"), ruleOf(t, PerUpstream, "", "20/10s"), ruleOf(t, PerPath, "/a", "5/10s"), ruleOf(t, PerCredential, "", "concurrent:8")}
	l := New(before, Options{}, t0)
	b := l.Book("key", t0)
	ids := mustGrant(t, b, t0, Ask{Paths: 1}, 4)
	b.Written(t0, ids[0])
	after := []Rule{ruleOf(t, PerPath, "/b", "5/10s"), ruleOf(t, PerCredential, "", "concurrent:5"), ruleOf(t, PerPath, "/a", "6/10s"), ruleOf(t, PerUpstream, "", "5/10s"), ruleOf(t, PerCredential, "", "12/10s"), ruleOf(t, PerCredential, "", "12/1s")}
	l.Configure(after, Options{}, t0)
	wantUsed(t, b, t0, 0, 4, 4, 4, 4, 0)
	mustGrant(t, b, t0, Ask{Paths: l.Paths("/b")}, 1)
	wantUnknown(t, b, t0, Ask{Paths: l.Paths("/b")}, "concurrent:5")
	for _, id := range ids {
		b.End(t0, id)
	}
	wantUsed(t, b, t0, 1, 1, 1, 2, 2, 1)
	wantUsed(t, l.Book("other", t0), t0, 0, 0, 0, 2, 0, 0)
}

// Two limits alike but for their number must not become one at a reload: every
// attempt would count twice.
func TestConfigureKeepsLimitsApart(t *testing.T) {
	for _, scope := range []Scope{PerCredential, PerUpstream} {
		rules := []Rule{ruleOf(t, scope, "", "10/10s"), ruleOf(t, scope, "", "20/10s")}
		l := New(rules, Options{}, t0)
		b := l.Book("key", t0)
		mustGrant(t, b, t0, Ask{}, 3)
		l.Configure(rules, Options{}, t0)
		wantUsed(t, b, t0, 3, 3)
		mustGrant(t, b, t0, Ask{}, 7)
		wantUsed(t, b, t0, 10, 10)
	}
}

func TestKeepForgetsIdleBooksOnly(t *testing.T) {
	none := func(string) bool { return false }
	rules := []Rule{ruleOf(t, PerCredential, "", "10/1s"), ruleOf(t, PerCredential, "", "1/1s burst 2"), ruleOf(t, PerUpstream, "", "100/1h")}
	l := New(rules, Options{}, t0)
	keeps := func(why string, now time.Time, want bool) {
		t.Helper()
		book := l.Book("key", now)
		if l.Keep(none, now); (l.Book("key", now) == book) != want {
			t.Errorf("%s: kept is %v, want %v", why, !want, want)
		}
	}
	b := l.Book("key", t0)
	id := mustGrant(t, b, t0, Ask{}, 1)[0]
	keeps("in flight", t0.Add(time.Hour), true)
	b.Written(t0, id)
	b.Answered(t0, id)
	b.Throttled(t0, id, time.Second)
	b.End(t0, id)
	keeps("a limit used", t0.Add(500*ms), true)
	keeps("struck, and a wide spread", t0.Add(time.Minute), true)
	keeps("an hour after", t0.Add(time.Hour+time.Second), false)

	now := t0.Add(2 * time.Hour)
	keeps("unused", now, false)
	l.Book("key", now).Pause(now.Add(time.Minute))
	keeps("paused", now.Add(time.Second), true)
	keeps("after its pause", now.Add(time.Minute), false)
	b = l.Book("key", now)
	l.Keep(func(name string) bool { return name == "key" }, now)
	if l.Book("key", now) != b {
		t.Error("forgot a book that was to be kept")
	}
}

func TestLedgerWithoutRulesHoldsOnlyPauses(t *testing.T) {
	b := New(nil, Options{}, t0).Book("", t0)
	mustGrant(t, b, t0, Ask{Cost: Cost{limit.Tokens: 1 << 40}}, 1000)
	b.Pause(t0.Add(time.Second))
	wantWait(t, b, t0, Ask{}, time.Second, "")
}
