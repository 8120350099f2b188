package pump

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/job"
)

// sending is an item on its way, and after it the next one of the same sender.
// The door tells its events on the sender's goroutine.
type sending struct {
	run      *run
	events   headgate.Events
	standing atomic.Int32 // between items, waiting, onItsWay or cut

	// Of the item; cancel is set before it stands anywhere.
	item     Item
	cancel   context.CancelCauseFunc
	admitted bool // once at least
	unsent   bool // its permit is not used: its context has ended
	result   Result
}

// How an item stands. One that is on its way is not cut off when taking ends.
const (
	between int32 = iota
	waiting
	onItsWay
	cut
)

func newSending(r *run) *sending {
	s := &sending{run: r}
	s.events = headgate.Events{
		Waited: s.waited, AttemptEnded: s.attemptEnded, Retried: s.retried, CallEnded: s.callEnded,
	}
	return s
}

// send makes one item's call.
func (s *sending) send(item Item) {
	p := s.run.pump
	s.item, s.admitted, s.unsent, s.result = item, false, false, Result{}
	defer func() {
		s.standing.CompareAndSwap(waiting, between)
		s.standing.CompareAndSwap(onItsWay, between)
		item.Ended(s.result)
		p.ahead.leave(!s.admitted) // what is still being stored is in memory, and counts
	}()
	ctx, cancel := context.WithCancelCause(s.run.working)
	defer cancel(nil)
	s.cancel = cancel
	c := p.options.Caller
	c.Events = &s.events
	if steered, ok := item.(Steered); ok {
		steered.CutOff(cancel)
		c.Priority = steered.Priority()
	}
	req, err := item.Request()
	if err != nil {
		s.result.Err = err
		return
	}
	s.standing.Store(waiting)
	if s.run.taking.Err() != nil {
		s.cutOff()
	}
	resp, err := p.door.RoundTrip(req.WithContext(headgate.WithCaller(ctx, c)))
	if err == nil {
		s.result.Response, err = p.read(resp)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	s.result.Err = err
}

// read reads an answer to its end.
func (p *Pump) read(resp *http.Response) (*job.Response, error) {
	defer resp.Body.Close()
	body, err := readAll(resp.Body, resp.ContentLength, p.options.MaxBody)
	if err != nil {
		return nil, err
	}
	return &job.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// readAll reads a body that is said to have so many bytes, -1 if nothing is said,
// and may have at most so many.
func readAll(r io.Reader, said, most int64) ([]byte, error) {
	const believed = 1 << 20 // bytes; the rest has to come first
	if said < 0 {
		said = 0
	}
	body := make([]byte, 0, max(min(said, most, believed), 511)+1) // one more, to see the end
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > most:
			return nil, fmt.Errorf("%w: more than %d bytes", ErrBodyTooLong, most)
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

// cutOff cancels the item if it waits for a permit.
func (s *sending) cutOff() {
	if s.standing.CompareAndSwap(waiting, cut) {
		s.cancel(context.Cause(s.run.taking))
	}
}

func (s *sending) waited(x headgate.Waited) {
	s.standing.CompareAndSwap(waiting, onItsWay)
	if s.admitted {
		return
	}
	s.admitted = true
	s.run.pump.ahead.admitted(x.Took)
	if s.standing.Load() == cut {
		s.unsent = true // just now, and its permit goes back
		return
	}
	if err := s.item.Started(); err != nil {
		s.unsent = true
		s.cancel(err)
	}
}

func (s *sending) attemptEnded(x headgate.AttemptEnded) {
	if s.unsent {
		return // it was none
	}
	a := job.Attempt{At: time.Now().Add(-x.Took).UTC(), Status: x.Status, TookMS: x.Took.Milliseconds()}
	if x.Err != nil {
		a.Reason = x.Err.Error()
	} else {
		a.Reading = x.Reading.Class.String()
		if x.Reading.Class != dialect.OK { // of one that went well there is nothing to explain
			a.Reason = x.Reading.Why()
		}
	}
	s.result.Wait = x.Reading.Wait
	if a.Reading != headgate.OutcomeThrottled {
		s.result.Tried++
	}
	s.result.Attempts = append(s.result.Attempts, a)
}

func (s *sending) retried(x headgate.Retried) {
	s.result.Attempts[len(s.result.Attempts)-1].DelayMS = x.Delay.Milliseconds()
	s.standing.CompareAndSwap(onItsWay, waiting)
	if s.run.taking.Err() != nil {
		s.cutOff()
	}
}

func (s *sending) callEnded(x headgate.CallEnded) { s.result.Outcome = x.Outcome }
