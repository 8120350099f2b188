package mock

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// waitField says in one of the first forms when to come back. All are rounded
// up: who obeys is never early. A wait of 0 is not known, and not said.
func waitField(h http.Header, form string, now time.Time, wait time.Duration) {
	if wait <= 0 {
		return
	}
	switch form {
	case HintSeconds:
		h.Set("Retry-After", strconv.FormatInt(ceil(wait, time.Second), 10))
	case HintDate:
		at := time.Unix(unixCeil(now.Add(wait)), 0)
		h.Set("Retry-After", at.UTC().Format(http.TimeFormat))
	case HintMillis:
		h.Set("Retry-After-Ms", strconv.FormatInt(ceil(wait, time.Millisecond), 10))
	}
}

// tellsLimits says whether form speaks of limits, and so has a place in every
// answer.
func tellsLimits(form string) bool {
	return form == HintRateLimit || form == HintDraft6 || form == HintX
}

// limitFields tells in one of the last three forms what the limits have left.
// Only HintRateLimit has room for all of them; the others tell the tightest.
// The reset of a limit that refused is when the request would fit.
func limitFields(h http.Header, form string, now time.Time, v verdict) {
	if len(v.rooms) == 0 {
		return
	}
	r := tightest(v)
	switch form {
	case HintRateLimit:
		var state, policy []string
		for _, r := range v.rooms {
			state = append(state, rateLimitItem(r))
			policy = append(policy, policyItem(r.limit))
		}
		h.Set("RateLimit", strings.Join(state, ", "))
		h.Set("RateLimit-Policy", strings.Join(policy, ", "))
	case HintDraft6:
		h.Set("RateLimit-Limit", strconv.FormatInt(capacity(r.limit), 10))
		h.Set("RateLimit-Remaining", strconv.FormatInt(r.left, 10))
		if r.limit.Kind != limit.Concurrent {
			h.Set("RateLimit-Reset", strconv.FormatInt(ceil(r.reset, time.Second), 10))
			h.Set("RateLimit-Policy", fmt.Sprintf("%d;w=%d", r.limit.N, ceil(r.limit.Window, time.Second)))
		}
	case HintX:
		h.Set("X-RateLimit-Limit", strconv.FormatInt(capacity(r.limit), 10))
		h.Set("X-RateLimit-Remaining", strconv.FormatInt(r.left, 10))
		if r.limit.Kind != limit.Concurrent {
			h.Set("X-RateLimit-Reset", strconv.FormatInt(unixCeil(now.Add(r.reset)), 10))
		}
	}
}

// tightest is the limit that refused, or else the one with the smallest share
// left.
func tightest(v verdict) room {
	if v.by >= 0 {
		return v.rooms[v.by]
	}
	least := v.rooms[0]
	for _, r := range v.rooms[1:] {
		if share(r) < share(least) {
			least = r
		}
	}
	return least
}

func share(r room) float64 { return float64(r.left) / float64(capacity(r.limit)) }

// rateLimitItem writes a member of RateLimit: "50/1m";r=49;t=60. The name is
// the limit as people write it. Concurrency has no t: time does not tell.
func rateLimitItem(r room) string {
	item := fmt.Sprintf("%q;r=%d", r.limit, r.left)
	if r.limit.Kind != limit.Concurrent {
		item += fmt.Sprintf(";t=%d", ceil(r.reset, time.Second))
	}
	return item
}

// policyItem writes a member of RateLimit-Policy: "50/1m";q=50;w=60. The unit
// is named where it is not requests. A bucket's quota is its refill, so that its
// RateLimit may have more left than that.
func policyItem(l limit.Limit) string {
	item := fmt.Sprintf("%q;q=%d", l, l.N)
	switch {
	case l.Kind == limit.Concurrent:
		return item + `;qu="concurrent-requests"`
	case l.Dimension != limit.Requests:
		item += fmt.Sprintf(";qu=%q", l.Dimension)
	}
	return item + fmt.Sprintf(";w=%d", ceil(l.Window, time.Second))
}

// ceil is d in whole units, rounded up.
func ceil(d, unit time.Duration) int64 {
	n := int64(d / unit)
	if d%unit > 0 {
		n++
	}
	return n
}

// unixCeil is t in Unix seconds, rounded up.
func unixCeil(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}
