package headgate

import (
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/ledger"
)

// Events are called as a call passes, on its own goroutine and with no lock
// held; a slow one slows the call. Nil fields are skipped.
type Events struct {
	CallEnded      func(CallEnded)
	AttemptEnded   func(AttemptEnded)
	Waited         func(Waited)
	Retried        func(Retried)
	Paused         func(Paused)
	BreakerChanged func(BreakerChanged)
	LimitLearned   func(LimitLearned)
	StoreChanged   func(StoreChanged)
	Synced         func(Synced)
}

// Outcomes of a call, as CallEnded tells them.
const (
	OutcomeOK          = "ok"          // the upstream answered, and not with an error
	OutcomeThrottled   = "throttled"   // attempts were used up, the last one throttled
	OutcomeOverloaded  = "overloaded"  // attempts were used up, the last one overloaded; or the answer broke off
	OutcomeFatal       = "fatal"       // the upstream said that repeating cannot help
	OutcomeRefused     = "refused"     // never sent: line full, deadline, breaker, too heavy
	OutcomeUnreachable = "unreachable" // every attempt failed below HTTP
	OutcomeCancelled   = "cancelled"   // the caller went away, or its request body broke off
)

// CallEnded says how a call ended: for an answer at its last byte.
type CallEnded struct {
	Upstream, Client string
	Outcome          string
	Attempts         int
	Status           int           // of the answer passed on; 0 if there was none
	Waited           time.Duration // in line, all attempts together
	Took             time.Duration // from entering to the end
	Err              error         // what the caller got instead of an answer, or of its end
}

// AttemptEnded says what the upstream answered to one attempt.
type AttemptEnded struct {
	Upstream, Client string
	Attempt          int // from 1
	Status           int // 0 if there was no answer
	Reading          dialect.Reading
	Took             time.Duration // from permit to answer
	Err              error
}

// Waited says how long an attempt stood in line before its permit. It is told
// for attempts that did not wait too, with Took 0.
type Waited struct {
	Upstream, Client string
	Took             time.Duration
}

// Retried says that a call gets another attempt, and why.
type Retried struct {
	Upstream, Client string
	Attempt, Of      int           // the attempt that failed, and how many there may be
	Delay            time.Duration // until the next one may start; the line may add to it
	Reason           string        // the reading's own words, or the error's
	Status           int           // 0 if there was no answer
	RetryAfter       string        // the field as the upstream sent it; "" if it did not
	RequestID        string        // as the upstream named the attempt; "" if it did not
}

// Paused says that nothing more is sent to a credential until a moment, or
// nothing for one model or to one route. It is told when a pause begins, and when
// it is extended.
type Paused struct {
	Upstream   string
	Credential string // a short hash, never the credential itself; "" if calls carry none, or all are meant
	Scope      string // "model:…" or "route:…"; "" if it holds all calls
	Until      time.Time
	Reason     string
}

// BreakerChanged says that a circuit breaker changed its state.
type BreakerChanged struct {
	Upstream   string
	Credential string // as in Paused
	State      breaker.State
	Until      time.Time // of an open one: when it lets a probe through
	Reason     string
}

// LimitLearned says that a limit that was not configured was taken over from
// answers, or has been found by what the upstream refuses. It is told once a
// minute at most for each limit.
type LimitLearned struct {
	Upstream   string
	Credential string // as in Paused
	Limit      string // as answers told it; "learned" if none did
	Source     string // told or learned
	InForce    int64  // what may be used of it
	Window     time.Duration
}

// StoreChanged says that the store that quotas are shared through was reached,
// or is lost.
type StoreChanged struct {
	Standing StoreStanding
	First    bool   // it had not been reached before
	Policy   string // on_store_loss
	Err      error  // of a lost one
}

// Synced says how long the store took to answer, or to fail.
type Synced struct {
	Took time.Duration
	Err  error
}

// news tells what a desk learned from an attempt's end.
func (e *Events) news(upstream string, s *seat, n news, why func() string) {
	if !n.paused.IsZero() && e.Paused != nil {
		e.Paused(Paused{Upstream: upstream, Credential: s.credential, Scope: extentText(n.extent), Until: n.paused, Reason: why()})
	}
	if n.changed && e.BreakerChanged != nil {
		e.BreakerChanged(BreakerChanged{
			Upstream: upstream, Credential: s.credential, State: n.state, Until: n.until, Reason: why(),
		})
	}
	if e.LimitLearned == nil {
		return
	}
	for _, l := range n.learned {
		e.LimitLearned(LimitLearned{
			Upstream: upstream, Credential: s.credential, Limit: l.Text, Source: l.Rule.Source.String(),
			InForce: l.InForce, Window: l.Rule.Limit.Window,
		})
	}
}

// extentText is what a pause is about as readings write it, "" for all.
func extentText(e ledger.Extent) string {
	switch {
	case e.Model != "":
		return dialect.ModelScope + e.Model
	case e.Route != "":
		return dialect.RouteScope + e.Route
	}
	return ""
}

func (e *Events) callEnded(x CallEnded) {
	if e != nil && e.CallEnded != nil {
		e.CallEnded(x)
	}
}

func (e *Events) attemptEnded(x AttemptEnded) {
	if e != nil && e.AttemptEnded != nil {
		e.AttemptEnded(x)
	}
}

func (e *Events) waited(x Waited) {
	if e != nil && e.Waited != nil {
		e.Waited(x)
	}
}

func (e *Events) retried(x Retried) {
	if e != nil && e.Retried != nil {
		e.Retried(x)
	}
}
