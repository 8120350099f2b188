package headgate

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/retry"
)

// decision is whether a call gets another attempt.
type decision struct {
	again  bool
	at     time.Time // the attempt is not before
	hold   time.Time // until then the call stays out of the line; zero: it goes back at once
	reason string
}

// decide says whether a call that was answered, or failed, gets another
// attempt. Everything is asked before anything is waited for: a call that
// cannot be repeated in time hears its answer now.
func (c *call) decide(a *attempt, err error, r dialect.Reading) decision {
	kind, ok := c.failure(a, err, r)
	if !ok || !c.mayRepeat(kind, r) {
		return decision{}
	}
	c.nameModel()
	now := time.Now()
	by := c.permitBy(now)
	late := func(t time.Time) bool { return !by.IsZero() && t.After(by) }
	d := decision{at: c.upstream.desk.earliest(&c.waiter)}
	if kind != retry.Throttled { // a pause holds the whole line, and the call stands in it
		c.backoff = c.upstream.policy.Wait(c.tried, c.backoff, r.Wait, r.HasWait, c.gate.random)
		d.hold = now.Add(c.backoff)
	}
	if late(later(d.at, d.hold)) {
		return decision{}
	}
	if kind != retry.Throttled {
		at, ok := c.upstream.budget.draw(by)
		if !ok {
			return decision{}
		}
		d.hold = later(d.hold, at)
	}
	d.at = later(d.at, d.hold)
	d.again, d.reason = true, reason(err, r)
	return d
}

// failure says what kind of failure an attempt was, and false if it was none
// that a repetition could mend.
func (c *call) failure(a *attempt, err error, r dialect.Reading) (retry.Kind, bool) {
	switch {
	case c.cause() != nil:
		return 0, false
	case err == nil && r.Class == dialect.Throttled:
		return retry.Throttled, true
	case err == nil:
		return retry.Overloaded, r.Class == dialect.Overloaded
	case isCertificate(err), isCallers(err), a.faulty():
		return 0, false
	case !a.sent():
		return retry.Unsent, true
	default:
		return retry.Overloaded, true
	}
}

func reason(err error, r dialect.Reading) string {
	if err != nil {
		return err.Error()
	}
	return r.Why()
}

// mayRepeat says whether the call may be sent again at all.
func (c *call) mayRepeat(kind retry.Kind, r dialect.Reading) bool {
	p := &c.upstream.policy
	if c.tried >= p.Attempts || !c.repeatable() || p.Methods == retry.Never {
		return false
	}
	if r.Told {
		return r.Retryable
	}
	return r.Retryable || p.Methods.Allows(kind, c.req.Method, firstOf(c.req.Header, fieldKey) != "")
}

// isCertificate says whether a connection failed because the other side is
// not who it should be: repeating cannot help.
func isCertificate(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}
