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
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate"
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
	return &Pump{door: headgate.Unwatched(door), options: o, ahead: newAhead(o.Most)}
}

// Run takes items until the feed has no more or taking ends, and returns when
// the last of those it took has ended: nil at the end of the feed, the cause of
// taking, or the feed's error. When taking ends, items that wait are cut off,
// for a first permit or for another, with its cause as their Err: nothing of
// theirs is on its way, and they might wait for long. working bounds those whose
// attempt is on its way: when it ends they are cut off, with its cause. It
// outlives taking.
func (p *Pump) Run(taking, working context.Context, f Feed) error {
	r := &run{pump: p, taking: taking, working: working, feed: f, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	r.spawn()
	r.senders.Wait()
	return r.err
}

// idleMost is how many senders wait for a turn at most. One is enough for the
// next item; more save making one each time.
const idleMost = 16

// run is a Run of a pump. Its senders take items in turns, and send each what it
// took: so an item changes its goroutine once at most, and stacks that have grown
// are used again.
type run struct {
	pump            *Pump
	taking, working context.Context
	feed            Feed

	turn    chan struct{} // who has it takes an item; closed when there are no more
	idle    atomic.Int32  // senders that wait for a turn
	senders sync.WaitGroup
	err     error // of whoever closed turn
}

func (r *run) spawn() {
	r.idle.Add(1)
	r.senders.Go(r.send)
}

// send takes items and sends them until there are no more, or others are enough.
func (r *run) send() {
	s := newSending(r)
	defer context.AfterFunc(r.taking, s.cutOff)()
	for range r.turn {
		r.idle.Add(-1)
		item, err := r.take()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.err = err
			}
			close(r.turn)
			return
		}
		if r.idle.Load() == 0 {
			r.spawn()
		}
		r.turn <- struct{}{}
		s.send(item)
		if s.standing.Load() == cut {
			return // and cutOff may still be at it
		}
		if r.idle.Add(1) > idleMost {
			break
		}
	}
	r.idle.Add(-1)
}

// take waits for the next item, and that it may be taken.
func (r *run) take() (Item, error) {
	if err := r.pump.ahead.enter(r.taking); err != nil {
		return nil, err
	}
	item, err := r.feed.Next(r.taking)
	if err != nil {
		r.pump.ahead.leave(true)
		return nil, err
	}
	return item, nil
}
