package batch

import (
	"sync/atomic"
	"time"

	"github.com/headgate/headgate"
)

// Progress is how far a batch has come.
type Progress struct {
	Total   int64 // lines; -1: not counted yet, or not to be counted before the end
	Done    int64 // of these, with a result in the output, good or bad
	Failed  int64 // of these, with an error
	Earlier int64 // of Done, those of earlier runs
	Bad     int64 // lines met so far that cannot be made calls; they have failed

	InFlight int   // calls that are out: in line or on their way
	Later    int   // that failed in a way that may pass, and are made again
	Attempts int64 // of this run
	Refused  int64 // of these, those that were throttled
	Tokens   int64 // that the answers of this run told of

	Quota       float64   // share in use of the limit that is used most, 0 to 1
	Limit       string    // which that is; "" if there is none
	PausedUntil time.Time // by the upstream's word, or until the quota is free of what an earlier run took; zero if it is not

	LastFailure string // of this run; "" if there was none
}

// tally counts. Its fields may be read and changed at any time.
type tally struct {
	total, met, done, failed, earlier, bad atomic.Int64 // met: lines read so far
	attempts, refused, tokens              atomic.Int64
	out, later                             atomic.Int64
	lastFailure                            atomic.Pointer[string]
}

func (t *tally) ended(failed bool) {
	t.done.Add(1)
	if failed {
		t.failed.Add(1)
	}
}

// Progress may be called at any time between Open and Close.
func (b *Batch) Progress() Progress {
	t := &b.tally
	p := Progress{
		Total: t.total.Load(), Done: t.done.Load(), Failed: t.failed.Load(),
		Earlier: t.earlier.Load(), Bad: t.bad.Load(),
		InFlight: int(t.out.Load()), Later: int(t.later.Load()),
		Attempts: t.attempts.Load(), Refused: t.refused.Load(), Tokens: t.tokens.Load(),
		PausedUntil: b.rest,
	}
	if s := t.lastFailure.Load(); s != nil {
		p.LastFailure = *s
	}
	for _, u := range b.gate.Status().Upstreams {
		if u.Name == b.options.Upstream {
			p.standing(u)
		}
	}
	return p
}

// standing takes in how the upstream stands.
func (p *Progress) standing(u headgate.UpstreamStatus) {
	for _, c := range u.Credentials {
		if c.PausedUntil != nil && c.PausedUntil.After(p.PausedUntil) {
			p.PausedUntil = *c.PausedUntil
		}
		for _, l := range c.Limits {
			if l.InForce <= 0 || l.Limit == "learned" {
				continue // what is found by trying is nobody's quota
			}
			if used := min(float64(l.Used)/float64(l.InForce), 1); p.Limit == "" || used > p.Quota {
				p.Quota, p.Limit = used, l.Limit
			}
		}
	}
}

// attemptEnded is told by the gate.
func (b *Batch) attemptEnded(x headgate.AttemptEnded) {
	b.tally.attempts.Add(1)
	if x.Err == nil && x.Reading.Class.String() == headgate.OutcomeThrottled {
		b.tally.refused.Add(1)
	}
	if b.reach != nil {
		b.reach(x)
	}
}
