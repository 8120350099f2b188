package limit

import "time"

// Span is when an upstream may have counted an attempt: neither before From
// nor after To.
type Span struct{ From, To time.Time }

// A Meter counts what attempts take from one limit. Weights pass through it as
//
//	Take(w)                       granted: in flight, counts in full
//	Take(-w)                      given back: it was never written
//	Take(-w), Count(span, w)      written: counted by the upstream within span
//	Move(span, earlier, w)        the answer came sooner than span.To
//	Count(span, d)                the real weight turned out to be w+d
//
// A concurrent meter knows only Take. Moments never go back: an earlier one
// counts as the latest one seen.
type Meter interface {
	// Ready returns the earliest moment, now or later, at which w fits with
	// keep left over, if nothing else happens until then. It is false if no
	// moment is known, because attempts in flight stand in the way.
	Ready(now time.Time, w, keep int64) (at time.Time, known bool)

	// Forecast returns a moment before which w more cannot have been taken,
	// unless some of what is taken now is given back or settled for less. It
	// may be now.
	Forecast(now time.Time, w int64) time.Time

	// Take adds w to what is in flight. The caller has asked Ready; what a
	// debt leaves negative stays negative until time pays it.
	Take(now time.Time, w int64)

	// Count adds w, which may be negative, to what the upstream counted
	// within s.
	Count(now time.Time, s Span, w int64)

	// Move corrects the span of a weight that was counted.
	Move(now time.Time, from, to Span, w int64)

	// SetSpread sets the arrival spread: how much later than the fastest one
	// an attempt may be counted.
	SetSpread(d time.Duration)

	// Resize puts l in force, a limit of the same kind and window, and of its
	// capacity a part of 1 or more, or 0 of a bucket, which is all that this
	// meter gives out. What has been taken stays taken.
	Resize(l Limit, part int64)

	// Refill adds tokens that came with a larger part. Only buckets know any.
	Refill(now time.Time, tokens float64)

	// Used returns what is taken at this moment, in flight included.
	Used(now time.Time) int64
}

// NewMeter returns an unused meter for l, which must be valid. The spread will
// never be set above maxSpread.
func NewMeter(l Limit, now time.Time, maxSpread time.Duration) Meter {
	switch l.Kind {
	case Fixed:
		return newFixed(l, now, maxSpread)
	case Bucket:
		return newBucket(l, now, maxSpread)
	case Concurrent:
		return &concurrent{n: l.N}
	default:
		return newSliding(l, now, maxSpread)
	}
}

// addTimes returns t plus n times d, or a year later if that is sooner: debts
// and lines may be longer than a Duration holds.
func addTimes(t time.Time, n int64, d time.Duration) time.Time {
	if n > int64(maxWindow/d) {
		return t.Add(maxWindow)
	}
	return t.Add(time.Duration(n) * d)
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
