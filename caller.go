package headgate

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/limit"
)

// DefaultPriority is the priority of calls that say none, as in RFC 9218.
const DefaultPriority = 3

// Cost is what a call weighs, by dimension: Cost{"tokens": 1200}. A dimension
// that is not named weighs 1, but for tokens of an HTTP call: a quarter of the
// request body's bytes. Weights are not negative, and those of requests and
// concurrent at least 1.
type Cost = ledger.Cost

// ParseCost reads a cost as the Headgate-Cost field writes it:
// "tokens=1200, images=2".
func ParseCost(s string) (Cost, error) {
	cost := make(Cost)
	for part := range strings.SplitSeq(s, ",") {
		dim, n, ok := strings.Cut(part, "=")
		dim = strings.TrimSpace(dim)
		weight, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		if !ok || dim == "" || err != nil || weight < 0 {
			return nil, fmt.Errorf("cost %q: want DIMENSION=N, as in tokens=1200", strings.TrimSpace(part))
		}
		cost[dim] = weight
	}
	if err := checkCost(cost); err != nil {
		return nil, err
	}
	return cost, nil
}

// checkCost refuses what would let calls pass limits by.
func checkCost(c Cost) error {
	for dim, weight := range c {
		least := int64(0)
		if dim == limit.Requests || dim == limit.InFlight {
			least = 1
		}
		if weight < least {
			return fmt.Errorf("cost %s=%d: want at least %d", dim, weight, least)
		}
	}
	return nil
}

// Caller says on whose behalf a call is made.
type Caller struct {
	Name     string
	Weight   int // share of the line against others of the same priority; below 1 means 1
	Priority int // 0 most urgent to 7 least

	// Events are told of this caller's calls: CallEnded, AttemptEnded, Waited
	// and Retried, after those of the gate. nil: nobody asks.
	Events *Events
}

type callerKey struct{}

// WithCaller returns a context whose calls are made on behalf of c. A request's
// Priority field goes before c.Priority.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerFrom(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{Weight: 1, Priority: DefaultPriority}
}
