// Package pump sends stored calls through the door as fast as permits come:
// those of jobs, of sources and of batches.
//
// What waits in a store must not wait in the door's line too: each call in line
// costs a goroutine and memory, and ages towards the urgent ones. So only a few
// stand there at once, just enough that no permit goes unused; the next is taken
// when one of them gets its permit. Where items come from and where results go is
// the business of a Feed.
package pump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/job"
)

// Feed is where calls come from.
type Feed interface {
	// Next waits for the next call. The error io.EOF says that there is none
	// any more; any other ends the pump, as does the end of ctx. It is called
	// by one goroutine at a time.
	Next(ctx context.Context) (Item, error)
}

// Item is one call. Its methods are called once each, in this order; what they
// do slows nothing but the item.
type Item interface {
	// Request returns what is to be sent: path and query, as the door takes
	// it. An error ends the item, with it as its Result's Err.
	Request() (*http.Request, error)

	// Started is told that the item has a permit, before its first attempt. An
	// error keeps it from being sent, and becomes its Result's Err.
	Started() error

	// Ended is told what became of it.
	Ended(Result)
}

// Steered is an Item with a say in how it is sent.
type Steered interface {
	Item

	// Priority goes before that of Options.Caller.
	Priority() int

	// CutOff is told, before anything else, how to end the call early: the
	// cause becomes its Result's Err. It may be called at any time, and does
	// nothing once the item has ended.
	CutOff(context.CancelCauseFunc)
}

// Result is what became of an item: Response or Err is set.
type Result struct {
	Attempts []job.Attempt // all that were made, even of one that failed
	Tried    int           // of these, those that were not throttled
	Outcome  string        // as headgate.CallEnded has it; "" if it was never a call
	Wait     time.Duration // what the last answer asked for, if it was throttled or overloaded; 0: nothing
	Response *job.Response
	Err      error
}

// Options are settings of a Pump. Their zero value is sensible.
type Options struct {
	Caller  headgate.Caller // on whose behalf; its Events are the pump's own
	MaxBody int64           // bytes of an answer; 0: 64 MiB. A longer one is ErrBodyTooLong
	Most    int             // items that have been taken and have not ended at once; 0: 10,000
}

const (
	defaultMaxBody = 64 << 20
	defaultMost    = 10_000
)

// ErrBodyTooLong is the Err of an item whose answer is too long to be kept.
var ErrBodyTooLong = errors.New("the answer's body is too long to be kept")

// Pump sends the items of a feed.
type Pump struct {
	door    http.RoundTripper
	options Options
	ahead   *ahead
}

// New returns a pump through door, which is a door's round tripper or one of
// tests.
func New(door http.RoundTripper, o Options) *Pump {
	if o.MaxBody <= 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Most <= 0 {
		o.Most = defaultMost
	}
	return &Pump{door: door, options: o, ahead: newAhead(o.Most)}
}

// Run takes items until the feed has no more or taking ends, and returns when
// the last of those it took has ended: nil at the end of the feed, the cause of
// taking, or the feed's error. When taking ends, items that wait are cut off,
// for a first permit or for another, with its cause as their Err: nothing of
// theirs is on its way, and they might wait for long. working bounds those whose
// attempt is on its way: when it ends they are cut off, with its cause. It
// outlives taking.
func (p *Pump) Run(taking, working context.Context, f Feed) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		if err := p.ahead.enter(taking); err != nil {
			return err
		}
		item, err := f.Next(taking)
		if err != nil {
			p.ahead.leave(true)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		running.Go(func() { p.send(taking, working, item) })
	}
}

// send makes one item's call.
func (p *Pump) send(taking, ctx context.Context, item Item) {
	s := sending{pump: p, item: item, taking: taking}
	var result Result
	defer func() {
		item.Ended(result)
		p.ahead.leave(!s.admitted) // what is still being stored is in memory, and counts
	}()
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	c := p.options.Caller
	if steered, ok := item.(Steered); ok {
		steered.CutOff(s.cancel)
		c.Priority = steered.Priority()
	}
	req, err := item.Request()
	if err != nil {
		result.Err = err
		return
	}
	defer context.AfterFunc(taking, s.cutOff)()
	c.Events = &headgate.Events{
		Waited: s.waited, AttemptEnded: s.attemptEnded, Retried: s.retried, CallEnded: s.callEnded,
	}
	resp, err := p.door.RoundTrip(req.WithContext(headgate.WithCaller(ctx, c)))
	if err == nil {
		result.Response, err = p.read(resp)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	result.Err = err
	result.Attempts, result.Tried, result.Outcome, result.Wait = s.attempts, s.tried, s.outcome, s.wait
}

// read reads an answer to its end.
func (p *Pump) read(resp *http.Response) (*job.Response, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, p.options.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > p.options.MaxBody {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBodyTooLong, p.options.MaxBody)
	}
	return &job.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// sending is an item on its way. The door tells its events on the goroutine that
// sends.
type sending struct {
	pump     *Pump
	item     Item
	taking   context.Context
	cancel   context.CancelCauseFunc
	standing atomic.Int32 // waiting, onItsWay or cut
	admitted bool         // once at least
	unsent   bool         // its permit is not used: its context has ended
	attempts []job.Attempt
	tried    int
	outcome  string
	wait     time.Duration
}

// How an item stands. One that is on its way is not cut off when taking ends.
const (
	waiting int32 = iota
	onItsWay
	cut
)

// cutOff cancels the item if it waits for a permit.
func (s *sending) cutOff() {
	if s.standing.CompareAndSwap(waiting, cut) {
		s.cancel(context.Cause(s.taking))
	}
}

func (s *sending) waited(x headgate.Waited) {
	s.standing.CompareAndSwap(waiting, onItsWay)
	if s.admitted {
		return
	}
	s.admitted = true
	s.pump.ahead.admitted(x.Took)
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
	s.wait = x.Reading.Wait
	if a.Reading != headgate.OutcomeThrottled {
		s.tried++
	}
	s.attempts = append(s.attempts, a)
}

func (s *sending) retried(x headgate.Retried) {
	s.attempts[len(s.attempts)-1].DelayMS = x.Delay.Milliseconds()
	s.standing.CompareAndSwap(onItsWay, waiting)
	if s.taking.Err() != nil {
		s.cutOff()
	}
}

func (s *sending) callEnded(x headgate.CallEnded) { s.outcome = x.Outcome }
