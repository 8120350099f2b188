package gateway

import (
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/limit"
)

// clientLimits is what one client may ask. A call takes from every limit or
// from none, when it arrives: unlike an upstream's, these limits are ours, and
// there is no spread between asking and being counted.
type clientLimits struct {
	policy string // RateLimit-Policy field

	mu     sync.Mutex // guards the meters
	limits []clientLimit
}

type clientLimit struct {
	limit.Limit
	name  string // as configured
	meter limit.Meter
}

// newClientLimits returns nil if there are no limits.
func newClientLimits(limits []config.Limit, now time.Time) (*clientLimits, error) {
	if len(limits) == 0 {
		return nil, nil
	}
	c := &clientLimits{}
	var policy []byte
	for _, l := range limits {
		parsed, err := limit.Parse(l.Limit)
		if err != nil {
			return nil, err
		}
		cl := clientLimit{Limit: parsed, name: parsed.String(), meter: limit.NewMeter(parsed, now, 0)}
		c.limits = append(c.limits, cl)
		policy = cl.appendPolicy(policy)
	}
	c.policy = string(policy)
	return c, nil
}

// take counts a call that declares a cost and has a body of so many bytes, -1
// if unknown, and returns the RateLimit field of its response. The error is a
// *headgate.RefusedError; a call that is refused counts for nothing.
func (c *clientLimits) take(now time.Time, cost headgate.Cost, body int64) (field string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var refused *headgate.RefusedError
	for i := range c.limits {
		l := &c.limits[i]
		w := l.weight(cost, body)
		if w == 0 {
			continue
		}
		if w > l.most() {
			return c.fieldLocked(now), &headgate.RefusedError{Limit: l.name, Err: headgate.ErrTooHeavy}
		}
		at, known := l.meter.Ready(now, w, 0)
		switch {
		case known && !at.After(now):
		case refused == nil || at.After(refused.RetryAt):
			refused = &headgate.RefusedError{Limit: l.name, RetryAt: at, Err: errClientLimit}
		}
	}
	if refused != nil {
		return c.fieldLocked(now), refused
	}
	for i := range c.limits {
		l := &c.limits[i]
		if w := l.weight(cost, body); l.Kind == limit.Concurrent {
			l.meter.Take(now, w)
		} else {
			l.meter.Count(now, limit.Span{From: now, To: now}, w)
		}
	}
	return c.fieldLocked(now), nil
}

// end gives back what a call that was let in holds of concurrent limits.
func (c *clientLimits) end(cost headgate.Cost) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.limits {
		if l := &c.limits[i]; l.Kind == limit.Concurrent {
			l.meter.Take(time.Time{}, -l.weight(cost, 0)) // no clock: what is in flight has none
		}
	}
}

// field returns the RateLimit field as it stands.
func (c *clientLimits) field(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fieldLocked(now)
}

func (c *clientLimits) fieldLocked(now time.Time) string {
	b := make([]byte, 0, 64)
	for i := range c.limits {
		b = c.limits[i].appendState(b, now)
	}
	return string(b)
}

// weight is what a call takes of the limit: what the caller declared, else 1,
// and for tokens the same guess from the body's size that the door makes.
func (l *clientLimit) weight(cost headgate.Cost, body int64) int64 {
	if w, ok := cost[l.Dimension]; ok {
		return w
	}
	if l.Dimension == limit.Tokens {
		return min(max(body/bytesPerToken, 1), l.most())
	}
	return 1
}

// bytesPerToken is what a token of a request's body is taken to be: the rule
// of thumb for English text.
const bytesPerToken = 4

// most is what fits when nothing is taken.
func (l *clientLimit) most() int64 {
	if l.Kind == limit.Bucket {
		return l.Burst
	}
	return l.N
}

// appendPolicy appends a member of RateLimit-Policy as in
// draft-ietf-httpapi-ratelimit-headers-10, section 3: "100/1s";q=100;w=1.
func (l *clientLimit) appendPolicy(b []byte) []byte {
	b = l.appendName(b)
	b = strconv.AppendInt(append(b, ";q="...), l.N, 10)
	if l.Kind == limit.Concurrent {
		return append(b, `;qu="concurrent-requests"`...)
	}
	if l.Dimension != limit.Requests {
		b = append(append(append(b, `;qu="`...), l.Dimension...), '"')
	}
	return strconv.AppendInt(append(b, ";w="...), wholeSeconds(l.Window), 10)
}

// appendState appends a member of RateLimit as in the draft's section 4:
// "100/1s";r=0;t=1, where t is when more than r is left if nobody asks again.
func (l *clientLimit) appendState(b []byte, now time.Time) []byte {
	left := max(l.most()-l.meter.Used(now), 0)
	b = l.appendName(b)
	b = strconv.AppendInt(append(b, ";r="...), left, 10)
	if l.Kind == limit.Concurrent || left == l.most() {
		return b
	}
	if at, known := l.meter.Ready(now, left+1, 0); known {
		t := min(at.Sub(now), l.Window) // a meter may be a little late
		b = strconv.AppendInt(append(b, ";t="...), wholeSeconds(t), 10)
	}
	return b
}

// appendName appends the limit's name as a string of RFC 9651. What limits are
// written with needs no escaping.
func (l *clientLimit) appendName(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return append(append(append(b, '"'), l.name...), '"')
}

// wholeSeconds rounds up, and to 1 at least: a client that comes back a moment
// too early has come for nothing.
func wholeSeconds(d time.Duration) int64 {
	return max(int64(math.Ceil(d.Seconds())), 1)
}

var errClientLimit = errors.New("the client's own limit is used up")
