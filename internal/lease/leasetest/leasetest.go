// Package leasetest makes up what instances say to a store, so that a
// translation of lease.Account can be held to the original, reply by reply.
// What the original does right or wrong is not judged here.
package leasetest

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/headgate/headgate/internal/lease"
)

// T0 is what the store's clock of a history shows at first.
var T0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Reports yields as many reports as steps says, each with what the store's
// clock shows when it comes in: whole microseconds. One account is meant to get
// them all. Among them are late and repeated ones, instances that are born,
// die, leave, reload their limits or were answered by a store that has
// forgotten it, pauses, breakers, token buckets, and leaps of the clock.
func Reports(rng *rand.Rand, steps int) iter.Seq2[time.Time, lease.Report] {
	return func(yield func(time.Time, lease.Report) bool) {
		h := history{Rand: rng, account: lease.NewAccount(), generation: make([]int64, upstreams)}
		for range 1 + rng.IntN(6) {
			h.bear()
		}
		for range steps {
			clock, r := h.next()
			if !yield(clock, r) {
				return
			}
		}
	}
}

// upstreams is how many upstreams are in front of the credential.
const upstreams = 2

// limits are those of a history.
var limits = []lease.Claim{
	{Limit: "requests/1m", N: 50, Window: time.Minute, Linger: 61250 * time.Millisecond},
	{Limit: "requests/1s", N: 5, Window: time.Second, Linger: 1025 * time.Millisecond},
	{Limit: "tokens/1m", N: 2_000_000, Window: time.Minute, Linger: 61250 * time.Millisecond},
	{Limit: "concurrent", N: 3},
	{Limit: "requests/1s burst", N: 40, Window: time.Second, Linger: 25 * time.Millisecond, Refill: 2 * time.Second},
	{Limit: "cost/1m burst", N: 1_000_003, Window: time.Minute, Linger: 250 * time.Millisecond, Refill: 7 * time.Second / 3},
	{Limit: "images/24h", N: 1, Window: 24 * time.Hour, Linger: 24*time.Hour + time.Second},
}

// history is a store, its clock, and the instances that report to it.
type history struct {
	*rand.Rand
	account    *lease.Account
	now        time.Duration // without what the clock has leapt
	leapt      time.Duration
	instances  []*instance
	born       int
	generation []int64        // the highest so far, by upstream
	refusals   int64          // the most that may have been learned from
	past       []lease.Report // the latest
}

// instance is one that reports. Its claims hold what it keeps at most.
type instance struct {
	id      string
	seq     int64
	seen    int64
	sent    time.Duration // when the one that was seen was
	members int
	claims  []lease.Claim
	probes  []bool // whether it has leave to, by upstream
}

func (h *history) bear() {
	h.born++
	in := &instance{id: fmt.Sprintf("%02x-%d", h.IntN(256), h.born), probes: make([]bool, upstreams)}
	h.configure(in)
	h.instances = append(h.instances, in)
}

// configure gives an instance some of the limits, in some order, now and then
// with another number.
func (h *history) configure(in *instance) {
	old := in.claims
	in.claims = nil
	for _, i := range h.Perm(len(limits))[:h.IntN(len(limits)+1)] {
		c := limits[i]
		if h.IntN(10) == 0 {
			c.N = 1 + h.Int64N(2*c.N)
		}
		for _, o := range old {
			if o.Limit == c.Limit {
				c.Keep = o.Keep
			}
		}
		in.claims = append(in.claims, c)
	}
}

// next returns the next report that comes in.
func (h *history) next() (time.Time, lease.Report) {
	switch h.IntN(20) {
	case 0: // at the same moment
	case 1:
		h.now += h.upTo(10 * time.Second)
	default:
		h.now += h.upTo(200 * time.Millisecond)
	}
	switch h.IntN(150) {
	case 0:
		h.leapt += h.upTo(2*time.Hour) - time.Hour
	case 1:
		h.leapt += h.upTo(4*time.Second) - 2*time.Second
	case 2:
		h.now += h.upTo(2 * time.Minute)
	}
	at := h.IntN(len(h.instances))
	in := h.instances[at]
	var r lease.Report
	switch h.IntN(40) {
	case 0: // dies; another takes its place
		h.instances = append(h.instances[:at], h.instances[at+1:]...)
		h.bear()
		in = h.instances[len(h.instances)-1]
		r = h.report(in)
	case 1:
		r = h.report(in)
		r.Leaves = true
		for i := range r.Claims {
			r.Claims[i].Keep = h.some(r.Claims[i].Keep)
			r.Claims[i].Want, r.Claims[i].Need = [lease.Classes]int64{}, 0
		}
		h.instances = append(h.instances[:at], h.instances[at+1:]...)
		h.bear()
	case 2, 3:
		if len(h.past) == 0 {
			r = h.report(in)
			break
		}
		r = h.past[h.IntN(len(h.past))] // repeated
	default:
		r = h.report(in)
	}
	clock := T0.Add(h.now + h.leapt).Truncate(time.Microsecond)
	h.answer(in, r, h.account.Sync(clock, r))
	if h.past = append(h.past, r); len(h.past) > 12 {
		h.past = h.past[1:]
	}
	return clock, r
}

// report returns what an instance says now.
func (h *history) report(in *instance) lease.Report {
	in.seq++
	if h.IntN(100) == 0 { // answered by a store that knows nothing of it now
		in.seq++
		in.seen, in.sent = in.seq-1, h.now
	}
	if h.IntN(60) == 0 {
		h.configure(in)
	}
	r := lease.Report{Instance: in.id, Host: "host-" + in.id[:1], Seq: in.seq, Members: in.members}
	if h.IntN(50) > 0 && in.seen > 0 {
		r.Seen, r.Since = in.seen, (h.now - in.sent + h.upTo(20*time.Millisecond)).Truncate(time.Microsecond)
	}
	for i := range in.claims {
		c := &in.claims[i]
		c.Keep = h.some(c.Keep)
		claim := *c
		for class := range claim.Want {
			if h.IntN(3) == 0 {
				claim.Want[class] = h.some(2 * claim.N)
			}
		}
		if h.IntN(3) == 0 {
			claim.Need = 1 + h.Int64N(claim.N)
		}
		if h.IntN(8) == 0 { // it has learned something, or has yet to hear of what others did
			claim.Learned, claim.Refusals = h.Int64N(claim.N+1), h.Int64N(h.refusals+1)
			h.refusals += h.Int64N(2)
		}
		r.Claims = append(r.Claims, claim)
	}
	if h.IntN(20) == 0 {
		r.Pause = h.upTo(5 * time.Second)
	}
	for i := range h.IntN(upstreams + 1) {
		r.Breakers = append(r.Breakers, h.breaker(in, i))
	}
	return r
}

// breaker returns what an instance knows of an upstream's breaker: what all
// know, or what it has seen since, or something old.
func (h *history) breaker(in *instance, i int) lease.Breaker {
	b := lease.Breaker{
		Upstream:   fmt.Sprintf("upstream-%d", i),
		Generation: h.generation[i],
		Throttled:  h.Int64N(5),
		Failed:     h.Int64N(5),
		Succeeded:  h.Int64N(50),
		Probing:    h.IntN(2) == 0 || in.probes[i] && h.IntN(4) > 0,
	}
	switch h.IntN(8) {
	case 0:
		h.generation[i]++
		b.Generation++
		b.Open = h.IntN(3) > 0
		b.Cause = h.IntN(4)
		b.Left = h.upTo(5 * time.Second)
	case 1:
		b.Generation = h.Int64N(b.Generation + 1)
	}
	return b
}

// answer tells an instance what the store says to its report, if it is the
// latest; sometimes that gets lost.
func (h *history) answer(in *instance, r lease.Report, reply lease.Reply) {
	if r.Instance != in.id || r.Seq != in.seq || r.Leaves || h.IntN(10) == 0 {
		return
	}
	in.seen, in.sent, in.members = in.seq, h.now, reply.Members
	for i, g := range reply.Grants {
		in.claims[i].Keep = g.Hold
	}
	for i, b := range reply.Breakers {
		in.probes[i] = b.Probing
	}
}

// some returns 0 to n, and often one of both.
func (h *history) some(n int64) int64 {
	switch h.IntN(5) {
	case 0:
		return 0
	case 1, 2:
		return n
	}
	return h.Int64N(n + 1)
}

// upTo returns a moment's length, in whole microseconds.
func (h *history) upTo(d time.Duration) time.Duration {
	return time.Duration(h.Int64N(d.Microseconds()+1)) * time.Microsecond
}
