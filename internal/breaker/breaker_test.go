package breaker

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// outcomes are written as letters: S success, T throttled, F failed.
var outcomes = map[rune]Outcome{'S': Success, 'T': Throttled, 'F': Failed}

func TestBreakerOpensAtTheThreshold(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name     string
		config   Config
		every    time.Duration // between two outcomes
		outcomes string
		opensAt  int // the outcome that opens it, from 1; 0: none does
		cause    Cause
	}{
		{"no rules", Config{}, 0, "FFFFFFFFTTTTTTTT", 0, NoCause},

		{"throttled: one short", Config{Throttled: 3, In: s}, 0, "TT", 0, NoCause},
		{"throttled: just enough", Config{Throttled: 3, In: s}, 0, "TTT", 3, ByThrottling},
		{"throttled: only those count", Config{Throttled: 3, In: s}, 0, "TSFTSFT", 7, ByThrottling},
		{"throttled: just within the span", Config{Throttled: 3, In: s + 1}, s / 2, "TTT", 3, ByThrottling},
		{"throttled: span just over", Config{Throttled: 3, In: s}, s / 2, "TTTTTT", 0, NoCause},
		{"throttled: span slides", Config{Throttled: 2, In: s + 1}, s, "TSTT", 4, ByThrottling},
		{"throttled: once is enough", Config{Throttled: 1, In: 1}, s, "SFT", 3, ByThrottling},
		{"throttled: no span is off", Config{Throttled: 1}, 0, "TTTT", 0, NoCause},
		{"throttled: no number is off", Config{Throttled: -1, In: s}, 0, "TTTT", 0, NoCause},

		{"failures: too few known", Config{Share: 0.5, Of: 4}, 0, "FFF", 0, NoCause},
		{"failures: all of them", Config{Share: 0.5, Of: 4}, 0, "FFFF", 4, ByFailures},
		{"failures: just the share", Config{Share: 0.5, Of: 4}, 0, "FFSS", 4, ByFailures},
		{"failures: one short", Config{Share: 0.5, Of: 4}, 0, "SFSSSFSSSF", 0, NoCause},
		{"failures: window slides", Config{Share: 0.5, Of: 4}, 0, "FSSSSFF", 7, ByFailures},
		{"failures: throttled ones do not make up the number", Config{Share: 0.5, Of: 4}, 0, "FTTTFTF", 0, NoCause},
		{"failures: throttled ones do not push others out", Config{Share: 0.5, Of: 4}, 0, "FTSTFTTTTTS", 11, ByFailures},
		{"failures: throttled ones do not dilute the share", Config{Share: 1, Of: 3}, 0, "TFTTFTF", 7, ByFailures},
		{"failures: age does not matter", Config{Share: 1, Of: 2}, 1000 * time.Hour, "FF", 2, ByFailures},
		{"failures: all asked, one short", Config{Share: 1, Of: 3}, 0, "FFSFFSFF", 0, NoCause},
		{"failures: 7% of 100, in binary", Config{Share: 0.07, Of: 100}, 0, strings.Repeat("S", 93) + strings.Repeat("F", 7), 100, ByFailures},
		{"failures: 6 of 100 are not 7%", Config{Share: 0.07, Of: 100}, 0, strings.Repeat("S", 94) + strings.Repeat("F", 6), 0, NoCause},
		{"failures: tiny share wants one", Config{Share: 1e-12, Of: 2}, 0, "SSSF", 4, ByFailures},
		{"failures: no share is off", Config{Of: 2}, 0, "FFFF", 0, NoCause},
		{"failures: no count is off", Config{Share: 0.5}, 0, "FFFF", 0, NoCause},
		{"failures: more than all is off", Config{Share: 1.01, Of: 2}, 0, "FFFF", 0, NoCause},

		{"both: throttling first", Config{Throttled: 2, In: s, Share: 1, Of: 3}, 0, "TT", 2, ByThrottling},
		{"both: failures first", Config{Throttled: 2, In: s, Share: 1, Of: 2}, 0, "TFF", 3, ByFailures},
		{"both nearly: the last is a throttled one", Config{Throttled: 2, In: s, Share: 0.5, Of: 4}, 0, "FTFST", 5, ByThrottling},
		{"both nearly: the last is a success", Config{Throttled: 2, In: s, Share: 0.5, Of: 4}, 0, "FTFSS", 5, ByFailures},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.OpenFor = time.Hour
			b := New(tt.config)
			for i, letter := range tt.outcomes {
				now := t0.Add(time.Duration(i) * tt.every)
				ticket, ok := b.Admit(now)
				if !ok {
					t.Fatalf("%s: outcome %d not admitted, want it admitted", tt.outcomes, i+1)
				}
				opens := i+1 == tt.opensAt
				changed := b.Report(now, ticket, outcomes[letter])
				if state := b.State(now); changed != opens || (state == Open) != opens {
					t.Fatalf("%s: outcome %d: changed %v, state %v; want opening %v", tt.outcomes, i+1, changed, state, opens)
				}
			}
			if got := b.Cause(); got != tt.cause {
				t.Errorf("%s: cause = %d, want %d", tt.outcomes, got, tt.cause)
			}
		})
	}
}

func TestBreakerMovesThroughItsStates(t *testing.T) {
	const s = time.Second
	one := Config{Throttled: 1, In: s, Share: 1, Of: 1, OpenFor: 10 * s}
	two := one
	two.Probes = 2
	type step struct {
		at      time.Duration
		do      string // admit, refuse, success, throttled, failed, cancel or force
		arg     string // the name of a ticket, or of a state for force
		changed bool   // what Report says
		state   State
		until   time.Duration // from t0; 0 if Until is zero
	}
	for _, tt := range []struct {
		name   string
		config Config
		steps  []step
		cause  Cause
	}{
		{"opens, waits, probes, closes", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{2 * s, "failed", "a", true, Open, 12 * s},
			{2 * s, "refuse", "", false, Open, 12 * s},
			{12*s - 1, "refuse", "", false, Open, 12 * s},
			{12 * s, "admit", "p", false, HalfOpen, 0},
			{12 * s, "refuse", "", false, HalfOpen, 0},
			{900 * s, "refuse", "", false, HalfOpen, 0}, // the owner of p ends it, however late
			{900 * s, "success", "p", true, Closed, 0},
			{900 * s, "admit", "b", false, Closed, 0},
			{900 * s, "admit", "c", false, Closed, 0},
		}, ByFailures},
		{"failed probe opens again, for as long", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "throttled", "a", true, Open, 10 * s},
			{11 * s, "admit", "p", false, HalfOpen, 0},
			{15 * s, "failed", "p", true, Open, 25 * s},
			{25*s - 1, "refuse", "", false, Open, 25 * s},
			{25 * s, "admit", "q", false, HalfOpen, 0},
		}, ByFailures},
		{"throttled probe opens again", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "failed", "a", true, Open, 10 * s},
			{10 * s, "admit", "p", false, HalfOpen, 0},
			{10 * s, "throttled", "p", true, Open, 20 * s},
		}, ByThrottling},
		{"throttled probe opens again with its rule off", Config{OpenFor: 10 * s}, []step{
			{0, "force", "half-open", false, HalfOpen, 0},
			{0, "admit", "p", false, HalfOpen, 0},
			{0, "throttled", "p", true, Open, 10 * s},
		}, ByThrottling},
		{"cancelled probe gives its place back", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "failed", "a", true, Open, 10 * s},
			{10 * s, "admit", "p", false, HalfOpen, 0},
			{11 * s, "cancel", "p", false, HalfOpen, 0},
			{11 * s, "admit", "q", false, HalfOpen, 0},
			{11 * s, "cancel", "p", false, HalfOpen, 0}, // again: q stays out
			{11 * s, "refuse", "", false, HalfOpen, 0},
			{11 * s, "failed", "p", false, HalfOpen, 0}, // and no outcome after all
			{11 * s, "success", "q", true, Closed, 0},
			{11 * s, "cancel", "q", false, Closed, 0},
		}, ByFailures},
		{"cancelled attempt is no outcome", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "cancel", "a", false, Closed, 0},
			{0, "admit", "b", false, Closed, 0},
		}, NoCause},
		{"late outcomes do not touch an open breaker", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "admit", "b", false, Closed, 0},
			{0, "admit", "c", false, Closed, 0},
			{0, "failed", "a", true, Open, 10 * s},
			{5 * s, "failed", "b", false, Open, 10 * s},
			{5 * s, "success", "c", false, Open, 10 * s},
		}, ByFailures},
		{"late outcomes decide nothing for a probe", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "admit", "b", false, Closed, 0},
			{0, "admit", "c", false, Closed, 0},
			{0, "failed", "a", true, Open, 10 * s},
			{10 * s, "failed", "b", false, HalfOpen, 0}, // due, though no probe was asked for
			{10 * s, "admit", "p", false, HalfOpen, 0},
			{10 * s, "failed", "b", false, HalfOpen, 0},
			{10 * s, "success", "c", false, HalfOpen, 0},
			{10 * s, "refuse", "", false, HalfOpen, 0},
			{10 * s, "success", "p", true, Closed, 0},
		}, ByFailures},
		{"late failures do not reopen", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "admit", "b", false, Closed, 0},
			{0, "throttled", "a", true, Open, 10 * s},
			{10 * s, "admit", "p", false, HalfOpen, 0},
			{10 * s, "success", "p", true, Closed, 0},
			{11 * s, "failed", "b", false, Closed, 0},
			{11 * s, "throttled", "a", false, Closed, 0},
			{11 * s, "failed", "p", false, Closed, 0},
		}, ByThrottling},
		{"two probes: the first to end decides", two, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "failed", "a", true, Open, 10 * s},
			{10 * s, "admit", "p", false, HalfOpen, 0},
			{10 * s, "admit", "q", false, HalfOpen, 0},
			{10 * s, "refuse", "", false, HalfOpen, 0},
			{10 * s, "cancel", "p", false, HalfOpen, 0},
			{10 * s, "admit", "r", false, HalfOpen, 0},
			{10 * s, "refuse", "", false, HalfOpen, 0},
			{11 * s, "failed", "q", true, Open, 21 * s},
			{12 * s, "success", "r", false, Open, 21 * s},
			{21 * s, "admit", "v", false, HalfOpen, 0},
			{21 * s, "success", "r", false, HalfOpen, 0}, // of the probes before
			{21 * s, "cancel", "r", false, HalfOpen, 0},
			{21 * s, "admit", "w", false, HalfOpen, 0},
			{21 * s, "refuse", "", false, HalfOpen, 0},
		}, ByFailures},
		{"no OpenFor: half-open at once", Config{Share: 1, Of: 1}, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "failed", "a", true, HalfOpen, 0},
			{0, "admit", "p", false, HalfOpen, 0},
		}, ByFailures},
		{"forced open, then by itself", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{s, "force", "open", false, Open, 11 * s},
			{s, "success", "a", false, Open, 11 * s},
			{5 * s, "force", "open", false, Open, 15 * s},
			{15 * s, "admit", "p", false, HalfOpen, 0},
		}, ByForce},
		{"forced closed: what was out does not count", one, []step{
			{0, "admit", "a", false, Closed, 0},
			{0, "admit", "b", false, Closed, 0},
			{0, "failed", "a", true, Open, 10 * s},
			{s, "force", "closed", false, Closed, 0},
			{s, "failed", "b", false, Closed, 0},
			{s, "admit", "c", false, Closed, 0},
			{s, "force", "closed", false, Closed, 0},
			{s, "failed", "c", false, Closed, 0},
		}, ByFailures},
		{"forced half-open frees a lost probe", one, []step{
			{0, "force", "half-open", false, HalfOpen, 0},
			{0, "admit", "p", false, HalfOpen, 0},
			{99 * s, "refuse", "", false, HalfOpen, 0},
			{99 * s, "force", "half-open", false, HalfOpen, 0},
			{99 * s, "admit", "q", false, HalfOpen, 0},
			{99 * s, "failed", "p", false, HalfOpen, 0},
			{99 * s, "success", "q", true, Closed, 0},
		}, NoCause},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := New(tt.config)
			tickets := map[string]Ticket{}
			for i, step := range tt.steps {
				at := fmt.Sprintf("step %d, %s %s at %v", i+1, step.do, step.arg, step.at)
				now := t0.Add(step.at)
				changed := false
				switch step.do {
				case "admit", "refuse":
					ticket, ok := b.Admit(now)
					if want := step.do == "admit"; ok != want {
						t.Fatalf("%s: admitted %v, want %v", at, ok, want)
					}
					tickets[step.arg] = ticket
				case "success":
					changed = b.Report(now, tickets[step.arg], Success)
				case "throttled":
					changed = b.Report(now, tickets[step.arg], Throttled)
				case "failed":
					changed = b.Report(now, tickets[step.arg], Failed)
				case "cancel":
					b.Cancel(now, tickets[step.arg])
				case "force":
					b.Force(now, map[string]State{"closed": Closed, "open": Open, "half-open": HalfOpen}[step.arg])
				}
				if changed != step.changed {
					t.Errorf("%s: changed = %v, want %v", at, changed, step.changed)
				}
				if got := b.State(now); got != step.state {
					t.Fatalf("%s: state = %v, want %v", at, got, step.state)
				}
				var until time.Time
				if step.until != 0 {
					until = t0.Add(step.until)
				}
				if got := b.Until(now); !got.Equal(until) {
					t.Errorf("%s: until = %v, want %v", at, got, until)
				}
			}
			if got := b.Cause(); got != tt.cause {
				t.Errorf("cause = %d, want %d", got, tt.cause)
			}
		})
	}
}

func TestClosingForgetsWhatWasCounted(t *testing.T) {
	b := New(Config{Throttled: 3, In: time.Hour, Share: 0.5, Of: 4, OpenFor: time.Second})
	run(t, b, t0, "TTSSFF") // half of the last four that were not throttled failed
	if got := b.State(t0); got != Open {
		t.Fatalf("state after TTSSFF = %v, want open", got)
	}
	now := t0.Add(time.Second)
	run(t, b, now, "S") // the probe
	run(t, b, now, "TTFFF")
	if got := b.State(now); got != Closed {
		t.Errorf("state after closing and TTFFF = %v, want closed: two throttled and three others are below both rules", got)
	}
	run(t, b, now, "T")
	if got := b.State(now); got != Open {
		t.Errorf("state after one T more = %v, want open", got)
	}
}

func TestConfigureKeepsTheLatestOutcomes(t *testing.T) {
	shares := func(of int) Config { return Config{Share: 0.5, Of: of, OpenFor: time.Hour} }
	throttles := func(n int) Config { return Config{Throttled: n, In: time.Hour, OpenFor: time.Hour} }
	for _, tt := range []struct {
		name          string
		before, after Config
		first, then   string
		opens         bool
	}{
		{"same", shares(4), shares(4), "FFS", "S", true},
		{"fewer, the latest failed", shares(6), shares(2), "SSSFF", "S", true},
		{"fewer, the latest succeeded", shares(6), shares(2), "FFFSS", "S", false},
		{"more, not yet known", shares(4), shares(6), "FFF", "FF", false},
		{"more, all known", shares(4), shares(6), "FFF", "SSS", true},
		{"after the ring has turned", shares(3), shares(4), "SSSSF", "F", true},
		{"throttled: fewer", throttles(5), throttles(3), "TT", "T", true},
		{"throttled: more", throttles(3), throttles(5), "TT", "TT", false},
		{"throttled: more, and reached", throttles(3), throttles(5), "TT", "TTT", true},
		{"rule off", throttles(2), Config{}, "T", "TTT", false},
		{"rule on: starts empty", Config{}, throttles(2), "TTT", "T", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := New(tt.before)
			run(t, b, t0, tt.first)
			b.Configure(tt.after)
			if got := b.State(t0); got != Closed {
				t.Fatalf("state after Configure = %v, want closed as before", got)
			}
			run(t, b, t0, tt.then)
			if got := b.State(t0) == Open; got != tt.opens {
				t.Errorf("%s, Configure, %s: opened = %v, want %v", tt.first, tt.then, got, tt.opens)
			}
		})
	}
}

func TestConfigureKeepsStateAndProbes(t *testing.T) {
	c := Config{OpenFor: 10 * time.Second}
	b := New(c)
	b.Force(t0, Open)
	c.OpenFor = 5 * time.Second
	b.Configure(c)
	now := t0.Add(5 * time.Second)
	if got := b.Until(t0); !got.Equal(now) {
		t.Errorf("Until after OpenFor became 5s = %v, want %v", got, now)
	}
	p, ok := b.Admit(now)
	if !ok {
		t.Fatal("probe not admitted after the new OpenFor")
	}
	c.Probes = 2
	b.Configure(c)
	if _, ok := b.Admit(now); !ok {
		t.Error("second probe not admitted after Probes became 2")
	}
	c.Probes = 1
	b.Configure(c)
	b.Cancel(now, p)
	if _, ok := b.Admit(now); ok {
		t.Error("probe admitted after Probes became 1 with one still out")
	}
}

func TestOutcomesOfOthersOpenTheBreaker(t *testing.T) {
	const s = time.Second
	both := Config{Throttled: 3, In: s, Share: 0.5, Of: 4, OpenFor: time.Hour}
	for _, tt := range []struct {
		name                         string
		config                       Config
		own                          string // reported before
		throttled, failed, succeeded int64
		opens                        bool
		cause                        Cause
	}{
		{"nothing", both, "", 0, 0, 0, false, NoCause},
		{"throttled: one short", both, "T", 1, 0, 0, false, NoCause},
		{"throttled: just enough", both, "T", 2, 0, 0, true, ByThrottling},
		{"throttled: all of others, and many", both, "", 1 << 40, 0, 0, true, ByThrottling},
		{"throttled: no rule", Config{Share: 0.5, Of: 4}, "", 9, 0, 0, false, NoCause},
		{"failures: too few known", both, "F", 0, 2, 0, false, NoCause},
		{"failures: just the share", both, "F", 0, 1, 2, true, ByFailures},
		{"failures: one short", both, "S", 0, 1, 2, false, NoCause},
		{"failures: of many, the share", both, "", 0, 1 << 40, 1 << 40, true, ByFailures},
		{"failures: of many, below it", both, "", 0, 1<<40 - 1, 1<<40 + 1, false, NoCause},
		{"failures: of many, own ones no longer count", both, "FFF", 0, 0, 4, true, ByFailures}, // before they are pushed out
		{"failures: spread among the successes", Config{Share: 0.6, Of: 5, OpenFor: s}, "SSSSS", 0, 5, 5, false, NoCause},
		{"failures: no rule", Config{Throttled: 3, In: s}, "", 0, 9, 0, false, NoCause},
		{"both nearly", both, "", 2, 1, 3, false, NoCause},
		{"no rules", Config{}, "", 9, 9, 9, false, NoCause},
	} {
		b := New(tt.config)
		run(t, b, t0, tt.own)
		generation := b.generation
		changed := b.Hear(t0, tt.throttled, tt.failed, tt.succeeded)
		if opened := b.State(t0) == Open; changed != tt.opens || opened != tt.opens || b.Cause() != tt.cause {
			t.Errorf("%s: changed %v, opened %v, cause %d, want %v, cause %d", tt.name, changed, opened, b.Cause(), tt.opens, tt.cause)
		}
		if began := b.generation != generation; began != tt.opens {
			t.Errorf("%s: a generation began: %v, want %v", tt.name, began, tt.opens)
		}
	}
}

func TestOutcomesOfOthersCountWhileClosedOnly(t *testing.T) {
	c := Config{Throttled: 1, In: time.Second, Share: 1, Of: 1, OpenFor: 10 * time.Second}
	b := New(c)
	b.Force(t0, Open)
	if b.Hear(t0.Add(5*time.Second), 9, 9, 0) || !b.Until(t0).Equal(t0.Add(10*time.Second)) {
		t.Errorf("open until %v after failures of others, want 10s as before", b.Until(t0).Sub(t0))
	}
	now := t0.Add(10 * time.Second)
	p, ok := b.Admit(now)
	if !ok || !b.Probing() {
		t.Fatalf("probe admitted %v, on its way %v, want both", ok, b.Probing())
	}
	if b.Hear(now, 9, 9, 0) || b.State(now) != HalfOpen || !b.Probing() {
		t.Errorf("%v after failures of others, want half-open, and the probe on its way", b.State(now))
	}
	if !b.Report(now, p, Success) || b.Probing() {
		t.Error("the probe did not close the breaker")
	}
	if b.Hear(now, 0, 0, 5) || b.State(now) != Closed {
		t.Errorf("%v after successes of others, want closed", b.State(now))
	}
}

func TestAdoptedStateBeginsAGeneration(t *testing.T) {
	c := Config{Share: 1, Of: 2, OpenFor: 10 * time.Second}
	b := New(c)
	old, _ := b.Admit(t0)
	until := t0.Add(3 * time.Second)
	b.Adopt(true, until, ByThrottling)
	if b.State(t0) != Open || !b.Until(t0).Equal(until) || b.Cause() != ByThrottling {
		t.Errorf("%v until %v, cause %d, want open for 3s, throttled", b.State(t0), b.Until(t0).Sub(t0), b.Cause())
	}
	if _, ok := b.Admit(until.Add(-1)); ok {
		t.Error("admitted before the moment that was adopted")
	}
	p, ok := b.Admit(until)
	if !ok || !b.Probing() {
		t.Fatalf("probe admitted %v, on its way %v, want both", ok, b.Probing())
	}
	b.Adopt(false, time.Time{}, NoCause) // another one's probe was quicker
	if b.State(until) != Closed || b.Probing() {
		t.Errorf("%v, probing %v, want closed and no probe", b.State(until), b.Probing())
	}
	if b.Report(until, p, Failed) || b.Report(until, old, Failed) || b.State(until) != Closed {
		t.Errorf("%v after failures of earlier generations, want closed", b.State(until))
	}
	if run(t, b, until, "F"); b.State(until) != Closed {
		t.Errorf("%v after one failure, want closed: nothing was counted before", b.State(until))
	}
	if got := b.Cause(); got != ByThrottling {
		t.Errorf("cause %d after closing, want the one that opened it", got)
	}
	now := until.Add(time.Second)
	b.Adopt(true, now, ByFailures) // it may be probed at once
	if b.State(now) != HalfOpen {
		t.Errorf("%v when its time has passed, want half-open", b.State(now))
	}
}

func TestZeroTicketIsNobodys(t *testing.T) {
	b := New(Config{Share: 1, Of: 1})
	b.Cancel(t0, Ticket{})
	if b.Report(t0, Ticket{}, Failed) || b.State(t0) != Closed {
		t.Errorf("a failure with the zero ticket: state %v, want closed", b.State(t0))
	}
}

func TestAdmitAndReportDoNotAllocate(t *testing.T) {
	b := New(Config{Throttled: 3, In: time.Second, Share: 0.5, Of: 20, Probes: 2})
	ring := []Outcome{Success, Throttled, Failed, Throttled, Success, Throttled, Failed}
	i := 0
	allocs := testing.AllocsPerRun(1000, func() { // passes through all states, as OpenFor is 0
		ticket, _ := b.Admit(t0)
		b.Report(t0, ticket, ring[i%len(ring)])
		i++
	})
	if allocs != 0 {
		t.Errorf("Admit and Report allocate %v times, want 0", allocs)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for state, want := range map[State]string{Closed: "closed", Open: "open", HalfOpen: "half-open"} {
		if got := state.String(); got != want {
			t.Errorf("State(%d) = %q, want %q", state, got, want)
		}
	}
}

// run sends an attempt for each letter, one after the other.
func run(t *testing.T, b *Breaker, now time.Time, letters string) {
	t.Helper()
	for i, letter := range letters {
		ticket, ok := b.Admit(now)
		if !ok {
			t.Fatalf("%s: attempt %d refused, state %v", letters, i+1, b.State(now))
		}
		b.Report(now, ticket, outcomes[letter])
	}
}
