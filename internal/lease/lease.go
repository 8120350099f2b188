// Package lease shares the limits of one credential among instances.
//
// Of each limit an instance holds a part, and promises that no more of its own
// than that can count at the upstream at any moment. The parts of all instances
// never sum up to more than the limit, so that neither can the attempts of all
// of them, and each decides on its own about every call. Parts move by syncs:
//
//	instance                         store
//	Report: what it keeps, what it   Account: who keeps what, what everybody
//	wants, by priority          ──▶  should hold, max-min fair
//	Holder: counts on it for a  ◀──  Reply: what it holds now, what it should
//	lease, then no more              hold, the pause in force
//
// A report states facts, and an instance lowers what it holds before it says
// so; so a report that is lost, late or repeated does no harm. Who holds more
// than its fair part gives back what it does not use at once, and the rest as
// its attempts leave the window: quota that is given back can be used the same
// moment by another.
//
// This is arithmetic alone: the moment is an argument, nothing waits. Account
// is what package redisstore has translated for the store, and the oracle that
// the translation is held to. Package headgate carries reports to and fro.
package lease

import "time"

const (
	// Beat is how often an instance that holds something syncs at least.
	Beat = 500 * time.Millisecond

	// Held is for how long after it sent its last report an instance counts
	// on what it holds. The store counts on it for Kept, from when it got the
	// report: longer by what clocks and networks may be off.
	Held = 2 * time.Second
	Kept = 3 * time.Second

	// Grace is how long a store that knows nothing, or has heard nobody for
	// a while, lets nobody hold more: who lives reports within two beats.
	Grace = 2 * Beat

	// Patience is for how long who wants more than an equal part waits, so
	// that others whose calls came at the same moment get to say so.
	Patience = 4 * time.Millisecond

	// Leap is by how much the store's time may run ahead of an instance's own,
	// and for how long nobody may be heard. Beyond that the store's clock has
	// leapt, or it was away.
	Leap = time.Second
)

// Classes is how many classes of priority there are.
const Classes = 8

// Claim is what an instance says of one limit.
type Claim struct {
	Limit  string        // what is limited; its number left out
	N      int64         // what all instances may hold together
	Window time.Duration // 0 for a limit of those in flight
	Linger time.Duration // for how long what was used last may count at the upstream
	Refill time.Duration // of a token bucket: how long it takes to fill; else 0

	Keep int64          // what it holds itself to until it is answered
	Want [Classes]int64 // what it could use, by class; what it uses is a part of it
	Need int64          // what its first call needs to start; 0: none waits

	Lesson // what it has learned of the limit
}

// Lesson is what was learned of a limit, because nobody told us its number or
// because others use it too. Of two, that of more refusals is the truer one; of
// as many, that which has found more.
type Lesson struct {
	Learned  int64 // so much there is for all instances; 0: nothing was learned
	Refusals int64 // that it was learned from
}

func (l Lesson) truer(than Lesson) bool {
	return l.Refusals > than.Refusals || l.Refusals == than.Refusals && l.Learned > than.Learned
}

// Report is what an instance says in a sync.
type Report struct {
	Instance string        // a random name
	Host     string        // what people call it
	Seq      int64         // grows with each report
	Seen     int64         // Seq of the last report that was answered; 0: none was
	Since    time.Duration // since that one was sent
	Members  int           // as last heard
	Leaves   bool          // what it keeps is only what still counts; it takes no more

	Claims   []Claim
	Pause    time.Duration // for how long it was told to pause, still; 0: it was not
	Breakers []Breaker     // of the upstreams in front of the credential
}

// Breaker is what an instance knows of the breaker of an upstream, or what all
// of them know together. Facts count within a generation; a higher one wins.
type Breaker struct {
	Upstream   string
	Generation int64
	Open       bool          // else closed
	Cause      int           // of package breaker
	Left       time.Duration // until it may be probed, if open
	Throttled  int64         // outcomes in this generation
	Failed     int64
	Succeeded  int64
	Probing    bool // in a report: it has leave to probe, and uses it; in a reply: it has leave
}

// Grant is what the store says of one limit.
type Grant struct {
	Hold   int64 // what the instance holds now: never less than it keeps
	Target int64 // what it should hold: what is above goes back as it falls free
	Most   int64 // what it could come to hold, if it wanted all it can get
	Tokens int64 // of a token bucket: thousandths of tokens that came with what it was given
	Lesson       // the truest that there is
}

// Reply answers a report.
type Reply struct {
	Seq      int64
	Grants   []Grant // in the order of the claims
	Pause    time.Duration
	Breakers []Breaker // in the order of the report
	Alive    int
	Members  int      // of those, and of others, parts may be in use
	Peers    []Peer   // those alive, by name
	Repair   bool     // the store has lost its memory, and waits for everybody's report
	Wake     []string // instances that should sync now; the store tells them
}

// Peer is an instance as the others see it.
type Peer struct {
	Instance string
	Host     string
	Hold     []int64 // of the limits of the reply
}

// Wake is what a store tells everybody at once, besides its replies.
type Wake struct {
	Account   string
	From      string        // the instance whose report was the reason
	Instances []string      // those who should sync now
	Pause     time.Duration // for how long the credential is paused, still; 0: it is not
}
