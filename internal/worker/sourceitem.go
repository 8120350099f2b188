package worker

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/pump"
	"github.com/headgate/headgate/internal/source"
)

// message is a message that a source holds. What is known of it is known as of a
// job, which is nowhere stored.
type message struct {
	source.Message
	job job.Job

	// Guarded by Source.mu.
	parked *time.Timer             // it is to be sent when this has run down
	cutOff context.CancelCauseFunc // of the call that is under way
	gone   error                   // why it is not the source's any more
}

func newMessage(s *Source, m source.Message, now time.Time) *message {
	return &message{Message: m, job: job.Job{
		ID: m.ID, Kind: job.Call, State: job.Waiting, Upstream: s.options.Upstream,
		Priority: sourcePriority, CreatedAt: now,
	}}
}

// sourceItem is a message on its way, once.
type sourceItem struct {
	source *Source
	*message
}

// Priority is as in pump.Steered.
func (x *sourceItem) Priority() int { return sourcePriority }

// CutOff is as in pump.Steered.
func (x *sourceItem) CutOff(cancel context.CancelCauseFunc) {
	s := x.source
	s.mu.Lock()
	x.cutOff = cancel
	gone := x.gone
	s.mu.Unlock()
	if gone != nil {
		cancel(gone)
	}
}

// Request is as in pump.Item.
func (x *sourceItem) Request() (*http.Request, error) {
	if x.Losses >= source.MostLosses {
		return nil, fmt.Errorf("lost %d times with the process that held it", x.Losses)
	}
	r, err := x.source.options.Template.Render(x.Message)
	if err != nil {
		return nil, err
	}
	x.job.Method, x.job.Path = r.Method, r.Target.RequestURI()
	if r.Header["Headgate-Max-Wait"] == nil {
		r.Header["Headgate-Max-Wait"] = []string{maxWait}
	}
	if x.job.Location == "" {
		return request(r.Method, x.job.Path, r.Header, r.Body, url.ParseRequestURI)
	}
	for _, field := range [...]string{"Content-Type", "Content-Encoding", "Content-Language", "Idempotency-Key"} {
		delete(r.Header, field)
	}
	return request(http.MethodGet, x.job.Location, r.Header, nil, url.ParseRequestURI)
}

// Started is as in pump.Item.
func (x *sourceItem) Started() error {
	s := x.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.gone != nil {
		return x.gone
	}
	if !s.inForceLocked() {
		return errLease
	}
	return nil
}

// Ended is as in pump.Item.
func (x *sourceItem) Ended(r pump.Result) {
	s, now := x.source, time.Now()
	f := s.rules.settle(&x.job, r, now)
	if f.rest > 0 {
		s.sleep(now.Add(f.rest))
	}
	s.mu.Lock()
	x.cutOff = nil
	gone := x.gone
	s.mu.Unlock()
	if gone != nil {
		s.forget(x.message)
		s.count(SourceLost, 1)
		return
	}
	if err := x.job.End(f.End, now); err != nil {
		panic("worker: a message has ended twice")
	}
	if f.State == job.Waiting {
		s.park(x.message, f.Delay)
		return
	}
	x.end(f.End, now)
}

// end has the queue write what became of the message.
func (x *sourceItem) end(e job.End, now time.Time) {
	s := x.source
	end := source.End{Attempts: x.job.Attempted, At: now}
	if e.State != job.Done {
		end.Dead = e.Reason
		if end.Dead == "" {
			end.Dead = "it could not be done"
		}
	}
	if e.Response != nil {
		end.Status, end.ContentType, end.Body = e.Response.Status, e.Response.Header.Get("Content-Type"), e.Response.Body
	}
	err := s.write(func() error { return s.options.Queue.End(s.storing, x.Message, end) })
	s.forget(x.message)
	switch {
	case err != nil:
		s.count(SourceLost, 1)
		return
	case end.Dead == "":
		s.mu.Lock()
		s.mu.done++
		s.mu.Unlock()
		s.count(SourceDone, 1)
		return
	}
	s.mu.Lock()
	s.mu.dead++
	s.mu.Unlock()
	s.count(SourceDead, 1)
	if s.options.Events.Died != nil {
		s.options.Events.Died(SourceDied{
			Source: s.options.Name, Upstream: s.options.Upstream, ID: x.ID,
			Reason: end.Dead, Status: end.Status, Attempts: end.Attempts,
		})
	}
}
