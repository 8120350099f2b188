package lease

import (
	"slices"
	"time"
)

// Loss is what an instance does when its lease has ended and the store does
// not answer.
type Loss uint8

// The ways, as in on_store_loss.
const (
	Share Loss = iota // go on with the limit / instances last alive
	Wait              // let nothing through
	Fail              // the same, and its owner refuses calls at once
)

// SyncTimeout is how long the store may take to answer a report.
const SyncTimeout = 500 * time.Millisecond

// Limit is a limit as a holder has to know it; the fields are those of Claim.
type Limit struct {
	Limit  string
	N      int64
	Window time.Duration
	Linger time.Duration
	Refill time.Duration
}

// Demand is how an instance stands with a limit.
type Demand struct {
	Used int64 // counts at the upstream, or may still come to
	Want [Classes]int64
	Need int64
}

// Holder is an instance's side: what it may count on, and what it says. It is
// used by one goroutine at a time.
type Holder struct {
	id, host string
	loss     Loss
	parts    []part
	seq      int64
	seen     int64
	asked    time.Time // when the report was sent that is out; zero: none is
	sent     time.Time // when the last one was sent that was answered; zero: none was
	joined   time.Time // since when all that were sent were answered before the lease ended
	failed   time.Time // when a report last went unanswered
	alive    int
	members  int
	peers    []Peer
	repair   bool
	asks     bool
}

// part is what is held of one limit.
type part struct {
	Limit
	hold, target, most int64
	lesson             Lesson
	wanted             int64 // all that was claimed last
	short              bool  // less was given, though it should have been
}

// inForce returns what of the limit is there for all instances.
func (p *part) inForce() int64 {
	if p.lesson.Learned > 0 {
		return min(p.N, p.lesson.Learned)
	}
	return p.N
}

// NewHolder returns a holder that holds nothing.
func NewHolder(id, host string, loss Loss) *Holder {
	return &Holder{id: id, host: host, loss: loss}
}

// Configure puts limits in force. What is held of those that stay is kept.
func (h *Holder) Configure(limits []Limit, loss Loss) {
	old := h.parts
	h.loss = loss
	h.parts = make([]part, len(limits))
	for i, l := range limits {
		if k := slices.IndexFunc(old, func(p part) bool { return p.Limit.Limit == l.Limit }); k >= 0 {
			h.parts[i] = old[k]
		}
		h.parts[i].Limit = l
	}
	h.asked = time.Time{} // an answer would be to other claims
}

// Learn takes in what of limit i all instances may hold together, and what was
// learned of it.
func (h *Holder) Learn(i int, n int64, l Lesson) { h.parts[i].N, h.parts[i].lesson = n, l }

// Standing is how a holder stands with its store.
type Standing uint8

// The standings.
const (
	Lapsed Standing = iota // it has no lease, and has yet to hear whether the store is there
	Leased
	Lost // it has no lease, and the store does not answer
)

// Standing returns how the holder stands. A failure that is long past says
// nothing: the process may have been stopped since.
func (h *Holder) Standing(now time.Time) Standing {
	switch {
	case !h.sent.IsZero() && now.Sub(h.sent) < Held:
		return Leased
	case !h.failed.IsZero() && now.Sub(h.failed) < Held:
		return Lost
	}
	return Lapsed
}

// Part is how much an instance has of a limit.
type Part struct {
	Hold   int64 // so much of its own may count at the upstream
	Target int64 // of it, so much may be taken
	Most   int64 // what it could come to hold, at least when its calls have waited long enough
}

// Part returns what of limit i may be used at a moment.
func (h *Holder) Part(now time.Time, i int) Part {
	p := &h.parts[i]
	switch standing := h.Standing(now); {
	case standing == Leased:
		return Part{p.hold, min(p.hold, p.target), max(p.most, p.hold, p.inForce()/int64(max(h.alive, 1)))}
	case standing == Lapsed || h.loss != Share || h.alive == 0:
		return Part{p.hold, 0, p.N} // nobody knows how much there will be
	}
	share := p.inForce() / int64(h.alive)
	if now.Before(h.comeDown(p)) || !h.asked.IsZero() { // it keeps to what it has said
		share = min(p.hold, max(share, 1))
		return Part{max(p.hold, share), share, share}
	}
	if h.sent.Sub(h.joined) < Grace {
		return Part{p.hold, 0, 0} // others may not count it among those alive
	}
	share = max(share, min(p.hold, 1)) // less than one each: who had one keeps it
	return Part{max(p.hold, share), share, share}
}

// comeDown returns when all who lost the store together have come down to
// their share of a limit, and what they held above it counts no more.
func (h *Holder) comeDown(p *part) time.Time { return h.sent.Add(Kept + p.Linger + Beat) }

// Until returns until when Part returns the same, if nothing is heard.
func (h *Holder) Until(now time.Time) time.Time {
	switch h.Standing(now) {
	case Leased:
		return h.sent.Add(Held)
	case Lapsed:
		return now.Add(time.Hour)
	}
	until := h.failed.Add(Held)
	for i := range h.parts {
		if t := h.comeDown(&h.parts[i]); now.Before(t) && t.Before(until) {
			until = t
		}
	}
	return until
}

// Report returns what to say now. From here on the instance holds itself to
// what it says that it keeps. It must be answered, or fail, before the next.
func (h *Holder) Report(now time.Time, demands []Demand) Report {
	h.seq++
	r := Report{Instance: h.id, Host: h.host, Seq: h.seq, Members: h.members, Claims: make([]Claim, len(h.parts))}
	if !h.forgotten(now, demands) {
		r.Seen, r.Since = h.seen, now.Sub(h.sent).Truncate(time.Microsecond)
	}
	for i := range h.parts {
		p, d := &h.parts[i], &demands[i]
		p.hold = max(d.Used, h.Part(now, i).Target)
		p.wanted = 0
		for _, want := range d.Want {
			p.wanted += want
		}
		r.Claims[i] = Claim{
			Limit: p.Limit.Limit, N: p.N, Window: p.Window, Linger: p.Linger, Refill: p.Refill,
			Keep: p.hold, Want: d.Want, Need: d.Need, Lesson: p.lesson,
		}
	}
	h.asked = now
	return r
}

// forgotten reports whether the store may rightly know nothing of the instance
// any more.
func (h *Holder) forgotten(now time.Time, demands []Demand) bool {
	if h.seen == 0 {
		return true
	}
	if now.Sub(h.sent) < Kept {
		return false
	}
	for i := range h.parts {
		if demands[i].Used > 0 || h.Part(now, i).Target > 0 || now.Sub(h.sent) < Kept+h.parts[i].Linger {
			return false
		}
	}
	return true
}

// Answer takes in the reply to the report that is out. It is false for any
// other.
func (h *Holder) Answer(r Reply) bool {
	if h.asked.IsZero() || r.Seq != h.seq || len(r.Grants) != len(h.parts) {
		return false
	}
	if h.sent.IsZero() || h.asked.Sub(h.sent) > Held {
		h.joined = h.asked
	}
	h.seen, h.sent, h.asked, h.failed = h.seq, h.asked, time.Time{}, time.Time{}
	h.alive, h.members, h.peers, h.repair = r.Alive, r.Members, r.Peers, r.Repair
	h.asks = false
	for i, g := range r.Grants {
		p := &h.parts[i]
		short := g.Hold < min(g.Target, p.wanted)
		h.asks = h.asks || short && (!p.short || g.Hold > p.hold)
		p.hold, p.target, p.most, p.short, p.lesson = g.Hold, g.Target, g.Most, short, g.Lesson
	}
	return true
}

// Failed says that the report that is out was not answered.
func (h *Holder) Failed(now time.Time) {
	if h.asked.IsZero() {
		return
	}
	// If it took much longer than it may, it was the process that stood still.
	if now.Sub(h.asked) < 2*SyncTimeout {
		h.failed = now
	}
	h.asked = time.Time{}
}

// Leave gives everything back but what of each limit still counts at the
// upstream; nothing does if used is left out. It returns the last report.
func (h *Holder) Leave(now time.Time, used ...int64) Report {
	r := h.Report(now, make([]Demand, len(h.parts)))
	for i := range r.Claims {
		r.Claims[i].Keep = 0
		if i < len(used) {
			r.Claims[i].Keep = used[i]
		}
		h.parts[i] = part{Limit: h.parts[i].Limit}
	}
	r.Leaves = true
	h.seen, h.alive, h.members = 0, 0, 0
	h.asked, h.sent = time.Time{}, time.Time{} // there is nothing to answer
	return r
}

// Over reports whether the instance holds more of limit i than it should.
func (h *Holder) Over(i int) bool { return h.parts[i].hold > h.parts[i].target }

// Satisfied reports whether the store has given, or will, all that was wanted
// of limit i when it was last asked: who now wants more has to say so.
func (h *Holder) Satisfied(i int) bool { return h.parts[i].wanted <= h.parts[i].target }

// Asks reports whether the instance should ask again soon for what it was not
// given: others may not have said yet what they want.
func (h *Holder) Asks() bool { return h.asks }

// Known reports whether the store has ever answered.
func (h *Holder) Known() bool { return h.seen > 0 }

// Repairing reports whether the store knew less than it should when it answered
// last, and waited for everybody's report.
func (h *Holder) Repairing() bool { return h.repair }

// Peers returns those alive, as last heard.
func (h *Holder) Peers() []Peer { return h.peers }
