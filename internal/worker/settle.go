package worker

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/pump"
	"github.com/headgate/headgate/internal/retry"
	"github.com/headgate/headgate/internal/webhook"
)

// giveUpAfter is how old a job may become that is only ever throttled, or told
// that its answer is not ready.
const giveUpAfter = 24 * time.Hour

const (
	refusedWait  = time.Second // of a job that was refused, if nothing says for how long
	refusedLeast = 50 * time.Millisecond
	unknownWait  = 5 * time.Second // of one whose upstream there is not: a reload may bring it back
	restMost     = time.Minute     // a queue is looked at again: limits may have been changed
)

// backoff is the wait of a job that was throttled or found its upstream
// overloaded. The door has tried for some time by then.
var backoff = retry.Policy{Base: time.Second, Cap: 5 * time.Minute, Jitter: retry.Full}

// Waits of a job whose answer is to be asked for elsewhere: doubled from the
// first to the longest.
const (
	pollFirst = 500 * time.Millisecond
	pollMost  = 5 * time.Second
)

// fate is what becomes of a job, and how long its queue is to be left alone: what
// holds up one job of it holds up the others.
type fate struct {
	job.End
	rest time.Duration
}

// settle says what becomes of a job that was sent with result r.
func (w *Worker) settle(j *job.Job, r pump.Result, now time.Time) fate {
	s := settling{worker: w, job: j, result: r, now: now}
	s.Attempts, s.Tried, s.Keep = r.Attempts, r.Tried, w.options.Retention
	switch {
	case s.unsent():
	case j.Kind == job.Callback:
		s.callback()
	default:
		s.call()
	}
	if n := len(s.Attempts); n > 0 && s.State == job.Waiting {
		s.Attempts[n-1].DelayMS = s.Delay.Milliseconds()
	}
	if s.State.Ended() {
		s.callBack()
	}
	return s.fate
}

// settling is one job's fate being found.
type settling struct {
	fate
	worker *Worker
	job    *job.Job
	result pump.Result
	now    time.Time
}

func (s *settling) done() { s.State, s.Response = job.Done, s.result.Response }

func (s *settling) failed(reason string) {
	s.State, s.Reason, s.Response = job.Failed, reason, s.result.Response
}

func (s *settling) again(delay time.Duration, reason string) {
	s.State, s.Delay, s.Reason = job.Waiting, delay, reason
}

// unsent settles a job that was not sent, or cut off by ourselves. It is false
// if it was sent as it should be.
func (s *settling) unsent() bool {
	r := &s.result
	refused := (*headgate.RefusedError)(nil)
	switch {
	case r.Outcome == headgate.OutcomeCancelled:
		s.again(0, s.job.Reason)
		s.Tried = answered(r.Attempts) // that we broke one off is not the upstream's fault
	case errors.Is(r.Err, headgate.ErrClosed):
		s.again(0, s.job.Reason)
		s.rest = refusedWait
	case errors.Is(r.Err, headgate.ErrUnknownUpstream):
		s.again(unknownWait, r.Err.Error())
		s.rest = unknownWait
	case errors.Is(r.Err, headgate.ErrTooHeavy):
		s.failed(r.Err.Error())
	case errors.As(r.Err, &refused):
		delay := refusedWait
		if !refused.RetryAt.IsZero() {
			delay = max(refused.RetryAt.Sub(s.now), refusedLeast)
		}
		s.again(delay, r.Err.Error())
		s.rest = min(delay, restMost)
	case r.Err != nil && r.Outcome == "": // it cannot be sent
		s.failed(r.Err.Error())
	default:
		return false
	}
	return true
}

// answered returns how many attempts were answered, and not throttled.
func answered(attempts []job.Attempt) (n int) {
	for _, a := range attempts {
		if a.Status != 0 && a.Reading != headgate.OutcomeThrottled {
			n++
		}
	}
	return n
}

// call settles a call.
func (s *settling) call() {
	r := &s.result
	attempts := s.worker.options.Attempts(s.job.Upstream)
	old := s.now.Sub(s.job.CreatedAt) >= giveUpAfter
	switch {
	case errors.Is(r.Err, pump.ErrBodyTooLong):
		s.failed(r.Err.Error())
	case r.Err == nil && r.Outcome == headgate.OutcomeOK:
		location, ok := s.location()
		switch {
		case !ok:
			s.done()
		case old:
			s.failed("its answer was not ready after " + giveUpAfter.String())
		default:
			s.Tried, s.Location = 0, location
			s.again(min(pollFirst<<min(s.trailing(polled)-1, 10), pollMost), "waits for its answer at "+job.HideSecrets(location))
		}
	case r.Err == nil && r.Outcome == headgate.OutcomeFatal:
		s.failed(s.why())
	case r.Outcome == headgate.OutcomeThrottled && old:
		s.failed("throttled for " + giveUpAfter.String() + ": " + s.why())
	case r.Outcome == headgate.OutcomeThrottled:
		// Nothing was done, so it is as if the call had not been made: each
		// round of attempts counts once.
		rounds := (s.trailing(throttled) + attempts - 1) / max(attempts, 1)
		s.again(s.backoff(rounds), s.why())
	case s.job.Tried+r.Tried >= attempts:
		s.failed(s.why())
	default: // overloaded, broken off or unreachable
		s.again(s.backoff(s.job.Tried+r.Tried), s.why())
	}
}

func (s *settling) backoff(n int) time.Duration {
	return backoff.Wait(n, 0, s.result.Wait, s.result.Wait > 0, s.worker.options.Random)
}

// why returns what the last attempt says.
func (s *settling) why() string {
	if n := len(s.result.Attempts); n > 0 && s.result.Attempts[n-1].Reason != "" && s.result.Response != nil {
		return s.result.Attempts[n-1].Reason
	}
	if s.result.Err != nil {
		return s.result.Err.Error()
	}
	return s.result.Outcome
}

func throttled(a job.Attempt) bool { return a.Reading == headgate.OutcomeThrottled }
func polled(a job.Attempt) bool    { return a.Status == http.StatusSeeOther }

// trailing returns how many of the job's last attempts are of a sort.
func (s *settling) trailing(is func(job.Attempt) bool) (n int) {
	for _, attempts := range [...][]job.Attempt{s.result.Attempts, s.job.Attempts} {
		for i := len(attempts) - 1; i >= 0; i-- {
			if !is(attempts[i]) {
				return n
			}
			n++
		}
	}
	return n
}

// callbackWaits are the waits between the attempts of a callback, somewhat as
// the Standard Webhooks specification has them.
var callbackWaits = [...]time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 12 * time.Hour,
}

// callback settles a callback. Its receiver says by any status of success that
// it has heard, and by 410 that it wants no more.
func (s *settling) callback() {
	r := &s.result
	status := 0
	if r.Response != nil {
		status = r.Response.Status
	}
	s.Tried = len(r.Attempts)
	tried := s.job.Tried + s.Tried
	switch {
	case status >= 200 && status < 300:
		s.done()
	case status == http.StatusGone:
		s.failed("the receiver wants no more callbacks: 410 Gone")
	case errors.Is(r.Err, webhook.ErrAddress):
		s.failed(webhook.ErrAddress.Error())
	case tried > len(callbackWaits):
		s.failed(s.whyNot(status))
	default:
		wait := callbackWaits[max(tried, 1)-1]
		asked := min(r.Wait, callbackWaits[len(callbackWaits)-1])
		s.again(max(wait, asked)+time.Duration(s.worker.options.Random()*float64(wait)/10), s.whyNot(status))
	}
}

func (s *settling) whyNot(status int) string {
	if status != 0 {
		return cmp.Or(http.StatusText(status), "an unknown status") + " is not what a receiver says that has heard"
	}
	return s.why()
}

// callBack has the job's client told, if it wants to be.
func (s *settling) callBack() {
	ended := *s.job
	if err := ended.End(s.End, s.now); err != nil {
		return // it had ended before: its end will be refused
	}
	s.Then = webhook.For(ended, s.Response, s.now)
}
