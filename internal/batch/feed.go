package batch

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/pump"
)

// Bounds on what is held in memory.
const (
	mostBytes = 64 << 20 // of the lines of calls that are out or made again later; one line is always let in
	mostLater = 10_000   // calls that are made again later
)

// feed is the input of a batch, as the pump takes it.
type feed struct {
	batch   *Batch
	next    func() (line, error)
	taking  context.Context
	stop    func(error) // gives up: there is no use in going on
	journal *journal
	changed chan struct{} // there may be more to take; room for one
	began   time.Time
	last    int64 // number of the last line; Next's

	mu struct {
		sync.Mutex
		over     bool  // the input has ended
		out      int   // calls
		bytes    int64 // of their lines, and of later's
		later    later
		suspects suspects
	}
}

func (b *Batch) newFeed(taking context.Context, stop func(error)) *feed {
	f := &feed{batch: b, taking: taking, stop: stop, changed: make(chan struct{}, 1), began: time.Now()}
	f.mu.suspects.keepGoing = b.options.KeepGoing
	var in io.Reader
	if b.in != nil {
		in = io.NewSectionReader(b.in, 0, b.size)
	} else {
		in = newPipe(taking, b.options.Stdin)
	}
	if b.options.CSV {
		f.next = newRowReader(in, maxLine).next
	} else {
		f.next = newLineReader(in, maxLine).next
	}
	return f
}

// Next implements pump.Feed.
func (f *feed) Next(ctx context.Context) (pump.Item, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		again, read, wait, err := f.pick(time.Now())
		if again != nil || err != nil {
			return again, err
		}
		if read {
			c, ok, err := f.read()
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			for rest := time.Until(f.batch.rest); rest > 0; rest = time.Until(f.batch.rest) {
				if err := f.wait(ctx, rest); err != nil {
					return nil, err
				}
			}
			return f.take(c), nil
		}
		if err := f.wait(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// pick says what to do: a call is made again, or a line is read, or there is a
// wait. The error io.EOF says that all is done.
func (f *feed) pick(now time.Time) (again pump.Item, read bool, wait time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.mu.later
	if len(*l) > 0 && !(*l)[0].due.After(now) {
		f.mu.out++
		f.countLocked()
		return heap.Pop(l).(*item), false, 0, nil
	}
	most, next := f.mu.suspects.most(now.Sub(f.began), f.batch.options.InFlight)
	if !f.mu.over && f.mu.out < most && f.mu.bytes < mostBytes && len(*l) < mostLater {
		return nil, true, 0, nil
	}
	if f.mu.over && f.mu.out == 0 && len(*l) == 0 {
		return nil, false, 0, io.EOF
	}
	wait = next
	if len(*l) > 0 {
		if due := (*l)[0].due.Sub(now); wait == 0 || due < wait {
			wait = due
		}
	}
	return nil, false, wait, nil
}

// wait waits until there may be more to take: for so long, 0 for no such moment.
func (f *feed) wait(ctx context.Context, d time.Duration) error {
	var due <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-f.changed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (f *feed) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// read reads a line. ok is false if it is not to be called: it is bad, or has its
// result, or there is none.
func (f *feed) read() (c call, ok bool, err error) {
	b := f.batch
	l, err := f.next()
	if err == io.EOF {
		b.tally.total.Store(b.tally.met.Load())
		f.mu.Lock()
		f.mu.over = true
		f.mu.Unlock()
		return call{}, false, nil
	}
	if err != nil && f.taking.Err() != nil {
		return call{}, false, context.Cause(f.taking) // the wait for input was
	}
	wrong := (*badLine)(nil)
	if err != nil && !errors.As(err, &wrong) {
		return call{}, false, &InputError{b.options.In, l.number, err}
	}
	f.last = max(f.last, l.number)
	b.tally.met.Add(1)
	c.line = l
	if err == nil {
		if b.options.Template != nil {
			c, err = parseAny(l)
		} else {
			c, err = parseOpenAI(l, b.upstream)
		}
	}
	return f.admit(c, err)
}

// admit decides about a line that was read, with what is wrong with it.
func (f *feed) admit(c call, err error) (call, bool, error) {
	b := f.batch
	if c.id == "" {
		c.id = lineID(c.number)
	}
	flags, first := b.ids.claim(c.id, c.number)
	if first != 0 {
		if err == nil {
			err = bad("custom_id %q is that of line %d too", c.id, first)
		}
		c.id = lineID(c.number)
		if flags, first = b.ids.claim(c.id, c.number); first != 0 {
			flags = idEnded // somebody uses our names: there is a result of it
		}
	}
	switch {
	case err != nil:
		f.refuse(c, flags&idEnded != 0, err)
	case flags&idInvalid != 0:
		b.tellBad(c.number, "could not be made a call in an earlier run; its result says why")
	case flags&idEnded == 0:
		return c, true, nil
	}
	return call{}, false, nil
}

// refuse tells that a line cannot be made a call, and writes its result unless it
// has one.
func (f *feed) refuse(c call, ended bool, err error) {
	f.batch.tellBad(c.number, err.Error())
	if !ended {
		f.write(&result{id: c.id, code: codeInvalidLine, message: lineID(c.number) + ": " + err.Error()})
	}
}

func (b *Batch) tellBad(number int64, why string) {
	b.tally.bad.Add(1)
	if b.options.BadLine == nil {
		return
	}
	b.badLine.Lock()
	defer b.badLine.Unlock()
	b.options.BadLine(number, why)
}

// write writes a result.
func (f *feed) write(r *result) {
	if r.failed() {
		f.batch.tally.lastFailure.Store(&r.message)
	}
	f.journal.add(r.line())
	f.batch.tally.ended(r.failed())
}

// take makes a line an item.
func (f *feed) take(c call) *item {
	i := &item{feed: f, call: c, size: int64(len(c.text) + len(c.body))}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.out++
	f.mu.bytes += i.size
	f.countLocked()
	return i
}

// ended notes that a call is out no longer, and is made again later if it is due.
func (f *feed) ended(i *item) {
	f.mu.Lock()
	f.mu.out--
	if i.due.IsZero() {
		f.mu.bytes -= i.size
	} else {
		heap.Push(&f.mu.later, i)
	}
	f.countLocked()
	f.mu.Unlock()
	f.wake()
}

func (f *feed) countLocked() {
	f.batch.tally.out.Store(int64(f.mu.out))
	f.batch.tally.later.Store(int64(len(f.mu.later)))
}

// reached takes in whether the upstream can be reached at all.
func (f *feed) reached(x headgate.AttemptEnded) {
	if x.Err != nil && f.taking.Err() != nil {
		return // cut off
	}
	f.mu.Lock()
	err := f.mu.suspects.attempt(x.Err)
	f.mu.Unlock()
	if err != nil {
		f.stop(err)
	}
}

// unreachable gives up after a call that nobody answered, if nobody ever has.
func (f *feed) unreachable(failure error) bool {
	f.mu.Lock()
	err := f.mu.suspects.unreachable(failure)
	f.mu.Unlock()
	if err != nil {
		f.stop(err)
	}
	return err != nil
}

// settle writes the results that were held back, at the end of a batch.
func (f *feed) settle() {
	f.mu.Lock()
	held := f.mu.suspects.release()
	f.mu.Unlock()
	for _, r := range held {
		f.write(r)
	}
}

// later are calls that are made again, the next one first.
type later []*item

func (l later) Len() int           { return len(l) }
func (l later) Less(i, j int) bool { return l[i].due.Before(l[j].due) }
func (l later) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *later) Push(x any)        { *l = append(*l, x.(*item)) }
func (l *later) Pop() any {
	old := *l
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return last
}
