// Package breaker decides whether a credential may be used at all. A breaker
// is closed, open or half-open:
//
//	          throttled or failed too often
//	closed ──────────────────────────────────▶ open ◀──────────┐
//	  ▲                                          │ OpenFor      │ a probe was
//	  │             a probe succeeded            ▼              │ throttled or failed
//	  └────────────────────────────────────── half-open ────────┘
//
// Closed lets every attempt through, open none, half-open a few probes. An
// attempt that is let through gets a Ticket, and its outcome is reported with
// it. Nothing is held while the attempt runs. Each change of state starts a
// generation, and an outcome counts only in the generation of its ticket, so
// that late failures of old attempts neither open a breaker that has closed
// since nor decide the fate of a probe.
//
// The owner of a ticket ends it exactly once, by Report or by Cancel, on every
// path: answer, error, cancellation, panic. A breaker cannot know that a probe
// was lost; while half-open it waits for its probes without end, and only
// Force frees it. What a ticket that is ended twice does is said at Report and
// Cancel.
//
// A breaker has no clock: every method that needs the moment takes it. Values
// are safe for use by one goroutine at a time.
package breaker

import (
	"slices"
	"time"
)

// Config says when a breaker opens and how it closes again. Both rules may be
// on; the zero value has neither and stays closed.
type Config struct {
	// Throttled answers within In open the breaker. An answer counts until In
	// has passed since it was reported, and no longer at that moment. 0 or
	// less in either: off. The moments of the last Throttled answers are kept,
	// 24 bytes each.
	Throttled int
	In        time.Duration

	// Share of the last Of outcomes, or more, being Failed opens the breaker,
	// once so many are known since it closed. Throttled ones are left out: a
	// refusal is no failure, and no good news either. 0 or less in either, or
	// a Share above 1: off.
	Share float64
	Of    int

	OpenFor time.Duration // from opening to half-open; 0 or less: at once
	Probes  int           // out at the same time when half-open; 0 or less: 1
}

// State is what a breaker lets through.
type State uint8

// The states.
const (
	Closed   State = iota // all attempts
	Open                  // none
	HalfOpen              // Config.Probes at a time
)

// String returns "closed", "open" or "half-open".
func (s State) String() string {
	switch s {
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	default:
		return "closed"
	}
}

// Outcome is how an attempt ended. A cancelled attempt has none.
type Outcome uint8

// The outcomes.
const (
	Success   Outcome = iota // answered, be it with a fatal status: the upstream lives
	Throttled                // told "too many"
	Failed                   // overloaded or unreachable
)

// Cause is why a breaker opened.
type Cause uint8

// The causes.
const (
	NoCause      Cause = iota // it has not opened yet
	ByThrottling              // too many throttled answers, or a throttled probe
	ByFailures                // too many failures, or a failed probe
	ByForce                   // an operator opened it
)

// String returns the cause in words, "" for NoCause.
func (c Cause) String() string {
	switch c {
	case ByThrottling:
		return "throttled too often"
	case ByFailures:
		return "failed too often"
	case ByForce:
		return "by hand"
	}
	return ""
}

// Ticket is the leave to send one attempt. The zero Ticket is nobody's: ending
// it does nothing.
type Ticket struct {
	generation uint64
	probe      uint64 // its number, never used again; 0: not a probe
}

// Breaker is the breaker of one credential. New makes one.
type Breaker struct {
	config     Config
	state      State // Open also when half-open is due and no probe was asked for yet
	generation uint64
	opened     time.Time // when it opened last
	cause      Cause

	throttled ring[time.Time] // the latest throttled answers since it closed
	failures  ring[bool]      // of the latest other outcomes since it closed: did it fail?
	failed    int             // how many in failures did

	probes uint64   // probes ever sent
	out    []uint64 // those on their way in this generation
}

// New returns a closed breaker.
func New(c Config) *Breaker {
	b := &Breaker{generation: 1} // so that the zero Ticket is of none
	b.Configure(c)
	return b
}

// Configure puts c in force. State, generation, probes and the latest outcomes
// stay; the next report is measured by c. A breaker that is open turns
// half-open c.OpenFor after it opened.
func (b *Breaker) Configure(c Config) {
	if c.In <= 0 {
		c.Throttled = 0
	}
	if !(c.Share > 0 && c.Share <= 1) {
		c.Of = 0
	}
	c.Probes = max(c.Probes, 1)
	b.config = c

	b.throttled.resize(max(c.Throttled, 0))
	b.failures.resize(max(c.Of, 0))
	b.failed = 0
	for i := range b.failures.n {
		if b.failures.at(i) {
			b.failed++
		}
	}
	b.out = slices.Grow(b.out, max(0, c.Probes-len(b.out)))
}

// Admit says whether an attempt may be sent. If so, its owner ends the ticket
// exactly once. If not, Until says when to ask again; it is zero if probes are
// on their way, and then the next change is theirs.
func (b *Breaker) Admit(now time.Time) (Ticket, bool) {
	if b.state == Open && b.State(now) == HalfOpen {
		b.enter(HalfOpen)
	}
	switch {
	case b.state == Closed:
		return Ticket{generation: b.generation}, true
	case b.state == HalfOpen && len(b.out) < b.config.Probes:
		b.probes++
		b.out = append(b.out, b.probes)
		return Ticket{generation: b.generation, probe: b.probes}, true
	default:
		return Ticket{}, false
	}
}

// Report ends t with the outcome of its attempt and says whether the state
// changed. Outcomes of an older generation are dropped. A probe that is
// reported or cancelled before is dropped as well; any other ticket is not
// remembered, and reported twice it counts twice.
func (b *Breaker) Report(now time.Time, t Ticket, o Outcome) (changed bool) {
	if t.generation != b.generation {
		return false
	}
	if b.state == HalfOpen {
		return b.probed(now, t, o)
	}
	switch {
	case o == Throttled && b.countThrottled(now):
		b.open(now, ByThrottling)
	case o != Throttled && b.countFailed(o == Failed):
		b.open(now, ByFailures)
	default:
		return false
	}
	return true
}

// Succeeded is Report of n tickets like t, all with Success. It costs no more
// than the window of outcomes is long.
func (b *Breaker) Succeeded(now time.Time, t Ticket, n int) (changed bool) {
	for range min(n, max(b.config.Of, 1)) {
		changed = b.Report(now, t, Success) || changed
	}
	return changed
}

// Cancel ends t without an outcome: the attempt was not sent, or the caller
// went away. A probe's place is free again. Cancelling a ticket that has ended
// does nothing.
func (b *Breaker) Cancel(now time.Time, t Ticket) {
	if i := slices.Index(b.out, t.probe); i >= 0 {
		b.out = slices.Delete(b.out, i, i+1)
	}
}

// State returns the state at now.
func (b *Breaker) State(now time.Time) State {
	if b.state == Open && !now.Before(b.opened.Add(b.config.OpenFor)) {
		return HalfOpen
	}
	return b.state
}

// Until returns when an open breaker turns half-open, and zero in any other
// state.
func (b *Breaker) Until(now time.Time) time.Time {
	if b.State(now) != Open {
		return time.Time{}
	}
	return b.opened.Add(b.config.OpenFor)
}

// Probing reports whether a probe is on its way.
func (b *Breaker) Probing() bool { return len(b.out) > 0 }

// Cause returns why the breaker opened last, also when it has closed since.
func (b *Breaker) Cause() Cause { return b.cause }

// Force puts the breaker into s, from where it goes on by itself: open turns
// half-open after OpenFor, half-open decides by its next probe. A generation
// starts even if it was in s before, so tickets that are out no longer count,
// and a half-open breaker that lost its probes sends probes again.
func (b *Breaker) Force(now time.Time, s State) {
	if s == Open {
		b.open(now, ByForce)
		return
	}
	b.enter(s)
}

// Adopt puts the breaker where another one of the same credential stands: open
// until a moment, or closed. Tickets that are out no longer count.
func (b *Breaker) Adopt(open bool, until time.Time, c Cause) {
	if !open {
		b.enter(Closed)
		return
	}
	b.open(until.Add(-b.config.OpenFor), c)
}

// Hear counts outcomes of others while the breaker is closed, and says whether
// it opened. In which order they came is not known: failures are taken to have
// come in between.
func (b *Breaker) Hear(now time.Time, throttled, failed, succeeded int64) (changed bool) {
	if b.state != Closed {
		return false
	}
	for range min(throttled, int64(b.config.Throttled)) {
		if b.countThrottled(now) {
			b.open(now, ByThrottling)
			return true
		}
	}
	most := int64(b.config.Of)
	if all := failed + succeeded; all > most && all > 0 {
		failed, succeeded = failed*most/all, most-failed*most/all
	}
	for i, all := int64(0), failed+succeeded; i < all; i++ {
		if b.countFailed((i+1)*failed/all > i*failed/all) {
			b.open(now, ByFailures)
			return true
		}
	}
	return false
}

// probed ends a probe of this generation: it decides the state alone.
func (b *Breaker) probed(now time.Time, t Ticket, o Outcome) (changed bool) {
	if !slices.Contains(b.out, t.probe) {
		return false
	}
	switch o {
	case Throttled:
		b.open(now, ByThrottling)
	case Failed:
		b.open(now, ByFailures)
	default:
		b.enter(Closed)
	}
	return true
}

// countThrottled notes a throttled answer and says whether that is one too
// many.
func (b *Breaker) countThrottled(now time.Time) bool {
	if b.config.Throttled <= 0 {
		return false
	}
	b.throttled.push(now)
	return b.throttled.full() && now.Sub(b.throttled.at(0)) < b.config.In
}

// countFailed notes an outcome other than Throttled and says whether too many
// of the last ones failed.
func (b *Breaker) countFailed(failed bool) bool {
	if b.config.Of <= 0 {
		return false
	}
	if b.failures.full() && b.failures.at(0) {
		b.failed--
	}
	b.failures.push(failed)
	if failed {
		b.failed++
	}
	// A billionth less, so that 7 of 100 are 7 % in binary fractions too.
	least := b.config.Share*float64(b.config.Of) - 1e-9
	return b.failures.full() && b.failed > 0 && float64(b.failed) >= least
}

func (b *Breaker) open(now time.Time, c Cause) {
	b.opened, b.cause = now, c
	b.enter(Open)
}

// enter starts a generation in s: no probes out, nothing counted.
func (b *Breaker) enter(s State) {
	b.state = s
	b.generation++
	b.out = b.out[:0]
	b.throttled.clear()
	b.failures.clear()
	b.failed = 0
}
