package headgate

import (
	"sync"
	"time"

	"github.com/headgate/headgate/internal/retry"
)

// budget is a retry budget that many calls draw on.
type budget struct {
	mu sync.Mutex
	b  *retry.Budget
}

func newBudget(share float64) *budget { return &budget{b: retry.NewBudget(share)} }

// attempt says that an attempt is sent. Moments may come in any order: one
// before the last adds nothing for the time between.
func (b *budget) attempt(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Attempt(now)
}

// among says how many instances share the upstream.
func (b *budget) among(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Among(time.Now(), n)
}

// draw takes one retry and returns the earliest moment at which it may be made.
// It is false if that is after the deadline; then nothing was taken.
func (b *budget) draw(deadline time.Time) (at time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	at = b.b.When(now)
	if !deadline.IsZero() && at.After(deadline) {
		return at, false
	}
	b.b.Draw(now)
	return at, true
}
