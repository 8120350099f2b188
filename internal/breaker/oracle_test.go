package breaker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// oracle is a breaker that keeps every outcome and counts them all anew each
// time.
type oracle struct {
	rules    rules
	state    State
	opened   time.Time
	cause    Cause
	era      int // counts changes of state
	outcomes []told
	out      map[*oracleTicket]bool // probes on their way
}

// rules is a Config whose share is in per cent.
type rules struct {
	throttled, percent, of, probes int
	in, openFor                    time.Duration
}

type told struct {
	at      time.Time
	outcome Outcome
}

type oracleTicket struct{ era int }

func (r rules) config() Config {
	return Config{
		Throttled: r.throttled, In: r.in,
		Share: float64(r.percent) / 100, Of: r.of,
		OpenFor: r.openFor, Probes: r.probes,
	}
}

func (o *oracle) stateAt(now time.Time) State {
	if o.state == Open && now.Sub(o.opened) >= o.rules.openFor {
		return HalfOpen
	}
	return o.state
}

func (o *oracle) enter(s State) {
	o.state, o.outcomes, o.out = s, nil, map[*oracleTicket]bool{}
	o.era++
}

func (o *oracle) open(now time.Time, c Cause) {
	o.enter(Open)
	o.opened, o.cause = now, c
}

func (o *oracle) admit(now time.Time) *oracleTicket {
	if o.state == Open && o.stateAt(now) == HalfOpen {
		o.enter(HalfOpen)
	}
	if o.state == Open || o.state == HalfOpen && len(o.out) >= o.rules.probes {
		return nil
	}
	ticket := &oracleTicket{o.era}
	if o.state == HalfOpen {
		o.out[ticket] = true
	}
	return ticket
}

func (o *oracle) report(now time.Time, t *oracleTicket, outcome Outcome) bool {
	era := o.era
	switch {
	case t.era != o.era:
	case o.state == HalfOpen && !o.out[t]:
	case o.state == HalfOpen && outcome == Success:
		o.enter(Closed)
	case o.state == HalfOpen && outcome == Throttled:
		o.open(now, ByThrottling)
	case o.state == HalfOpen:
		o.open(now, ByFailures)
	default:
		o.outcomes = append(o.outcomes, told{now, outcome})
		throttled, failed := 0, 0
		var others []Outcome
		for _, past := range o.outcomes {
			if past.outcome != Throttled {
				others = append(others, past.outcome)
			} else if now.Sub(past.at) < o.rules.in {
				throttled++
			}
		}
		for _, other := range others[max(0, len(others)-o.rules.of):] {
			if other == Failed {
				failed++
			}
		}
		known := o.rules.of > 0 && len(others) >= o.rules.of
		if outcome == Throttled && o.rules.throttled > 0 && throttled >= o.rules.throttled {
			o.open(now, ByThrottling)
		} else if known && o.rules.percent > 0 && failed*100 >= o.rules.percent*o.rules.of {
			o.open(now, ByFailures)
		}
	}
	return o.era != era
}

// hear spreads the failures evenly: n of m outcomes are known to have failed when
// n/m of all have. Of more outcomes than the rule looks at, as many stand for
// all.
func (o *oracle) hear(now time.Time, throttled, failed, succeeded int) bool {
	if o.state != Closed {
		return false
	}
	for range min(throttled, o.rules.throttled) {
		if o.report(now, &oracleTicket{o.era}, Throttled) {
			return true
		}
	}
	all := failed + succeeded
	if all > o.rules.of && all > 0 {
		all, failed = o.rules.of, failed*o.rules.of/all
	}
	told := 0
	for i := 1; i <= all; i++ {
		outcome := Success
		if told < failed*i/all {
			outcome = Failed
			told++
		}
		if o.report(now, &oracleTicket{o.era}, outcome) {
			return true
		}
	}
	return false
}

func FuzzBreakerAgreesWithBruteForce(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		rules := rules{
			throttled: rnd.IntN(6), in: time.Duration(rnd.IntN(8)) * time.Second,
			percent: []int{0, 7, 30, 50, 100}[rnd.IntN(5)], of: rnd.IntN(12),
			openFor: time.Duration(rnd.IntN(6)) * time.Second, probes: 1 + rnd.IntN(3),
		}
		b := New(rules.config())
		o := &oracle{rules: rules}
		type pair struct {
			real   Ticket
			oracle *oracleTicket
		}
		var tickets []pair
		var history strings.Builder
		now := t0
		for range 400 {
			now = now.Add(time.Duration(max(0, rnd.IntN(8)-4)) * 500 * time.Millisecond)
			fmt.Fprintf(&history, "\n%v ", now.Sub(t0))
			switch op := rnd.IntN(100); {
			case op < 48 || len(tickets) == 0:
				ticket, ok := b.Admit(now)
				want := o.admit(now)
				fmt.Fprintf(&history, "admit: %v", ok)
				if ok != (want != nil) {
					t.Fatalf("%+v:%s, want %v", rules, &history, want != nil)
				}
				if ok {
					tickets = append(tickets, pair{ticket, want})
				}
			case op < 52:
				throttled, failed, succeeded := rnd.IntN(4), rnd.IntN(8), rnd.IntN(8)*rnd.IntN(3)
				got, want := b.Hear(now, int64(throttled), int64(failed), int64(succeeded)), o.hear(now, throttled, failed, succeeded)
				fmt.Fprintf(&history, "hear %d %d %d: changed %v", throttled, failed, succeeded, got)
				if got != want {
					t.Fatalf("%+v:%s, want %v", rules, &history, want)
				}
			case op < 90: // mostly a recent ticket, sometimes one that has ended
				i := len(tickets) - 1 - min(rnd.IntN(len(tickets)), rnd.IntN(10))
				outcome := Outcome(rnd.IntN(3))
				got, want := b.Report(now, tickets[i].real, outcome), o.report(now, tickets[i].oracle, outcome)
				fmt.Fprintf(&history, "report %d %d: changed %v", i, outcome, got)
				if got != want {
					t.Fatalf("%+v:%s, want %v", rules, &history, want)
				}
			case op < 98:
				i := len(tickets) - 1 - min(rnd.IntN(len(tickets)), rnd.IntN(4))
				fmt.Fprintf(&history, "cancel %d", i)
				b.Cancel(now, tickets[i].real)
				delete(o.out, tickets[i].oracle)
			case op < 99:
				open, left := rnd.IntN(2) == 0, time.Duration(rnd.IntN(8))*time.Second
				fmt.Fprintf(&history, "adopt %v, for %v", open, left)
				b.Adopt(open, now.Add(left), ByForce)
				if open {
					o.open(now.Add(left-rules.openFor), ByForce)
				} else {
					o.enter(Closed)
				}
			default:
				s := State(rnd.IntN(3))
				fmt.Fprintf(&history, "force %v", s)
				b.Force(now, s)
				if s == Open {
					o.open(now, ByForce)
				} else {
					o.enter(s)
				}
			}
			if got, want := b.State(now), o.stateAt(now); got != want || b.Cause() != o.cause || b.Probing() != (len(o.out) > 0) {
				t.Fatalf("%+v:%s\nstate %v cause %d probing %v, want %v cause %d probes %d", rules, &history, got, b.Cause(), b.Probing(), want, o.cause, len(o.out))
			}
		}
	})
}
