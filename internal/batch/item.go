package batch

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/pump"
)

// A call whose attempts were used up is made again later. One that was throttled,
// or refused by the gate for now, always is: nothing was done. One that was
// answered "not now", or broke off, is so many times.
const (
	mostRounds  = 3
	firstPause  = 2 * time.Second // doubled each time
	longestWait = time.Minute
)

// item is a call on its way, as the pump sees it.
type item struct {
	feed   *feed
	call   call
	size   int64 // bytes of its line
	rounds int   // that it was made in vain
	failed int   // of these, those that count
	due    time.Time
}

// Request implements pump.Item.
func (i *item) Request() (*http.Request, error) {
	b := i.feed.batch
	if t := b.options.Template; t != nil {
		return t.request(i.call.line, i.call.id, b.upstream)
	}
	return i.call.request()
}

// Started implements pump.Item.
func (i *item) Started() error { return nil }

// Ended implements pump.Item.
func (i *item) Ended(r pump.Result) {
	i.due = time.Time{}
	defer i.feed.ended(i)
	if r.Err != nil && i.feed.taking.Err() != nil {
		return // cut off: another run makes it
	}
	if wait, again := i.again(r); again {
		i.due = time.Now().Add(wait)
		return
	}
	if r.Outcome == headgate.OutcomeUnreachable && i.feed.unreachable(r.Err) {
		return
	}
	if r.Outcome == "" {
		i.feed.refuse(i.call, false, r.Err)
		return
	}
	i.spent(r)
	i.feed.settleWith(i.result(r), suspicionOf(r))
}

// again says whether a call is made again, and after what wait.
func (i *item) again(r pump.Result) (wait time.Duration, again bool) {
	if r.Outcome == "" || errors.Is(r.Err, pump.ErrBodyTooLong) {
		return 0, false
	}
	wait = min(firstPause<<min(i.rounds, 10), longestWait)
	switch r.Outcome {
	case headgate.OutcomeThrottled:
	case headgate.OutcomeRefused:
		if errors.Is(r.Err, headgate.ErrTooHeavy) {
			return 0, false
		}
		if refused, ok := errors.AsType[*headgate.RefusedError](r.Err); ok && !refused.RetryAt.IsZero() {
			wait = max(time.Until(refused.RetryAt), 0) + 10*time.Millisecond
		}
	case headgate.OutcomeOverloaded, headgate.OutcomeUnreachable, headgate.OutcomeCancelled:
		if i.failed++; i.failed > mostRounds {
			return 0, false
		}
	default:
		return 0, false
	}
	i.rounds++
	return wait, true
}

// result is what is written of a call that has ended.
func (i *item) result(r pump.Result) *result {
	out := &result{id: i.call.id, response: r.Response}
	switch {
	case errors.Is(r.Err, pump.ErrBodyTooLong):
		out.code, out.message = codeTooLong, r.Err.Error()
	case r.Err != nil:
		out.code, out.message = r.Outcome, r.Err.Error()
	case r.Outcome != headgate.OutcomeOK:
		out.code, out.message = r.Outcome, said(r)
	}
	return out
}

// said is what the upstream answered last, in words.
func said(r pump.Result) string {
	s := fmt.Sprintf("%d %s", r.Response.Status, http.StatusText(r.Response.Status))
	if n := len(r.Attempts); n > 0 && r.Attempts[n-1].Reason != "" {
		s += ": " + r.Attempts[n-1].Reason
	}
	if n := len(r.Attempts); n > 1 {
		s += fmt.Sprintf(", after %d attempts", n)
	}
	return s
}

// spent counts the tokens that an answer tells of.
func (i *item) spent(r pump.Result) {
	if r.Response == nil {
		return
	}
	reader := i.feed.batch.usage.Reader(r.Response.Header)
	reader.Feed(r.Response.Body)
	i.feed.batch.tally.tokens.Add(reader.End(true).Total)
}
