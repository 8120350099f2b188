package redisstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/job"
)

// How much one step does for several callers: some 4 ms of the server's time, in
// which it does nothing else.
const (
	groupMost  = 256     // callers
	groupBytes = 1 << 20 // of arguments, or the first caller's
)

// collector sends what several goroutines ask for at the same time as one step.
// A group is what has come together while the one before was under way: who is
// alone does not wait. There is one at a time: two would each have half of what
// comes, and a step costs the server some 50 µs whatever its size.
type collector struct {
	jobs      *Jobs
	function  string
	operation string

	mu struct {
		sync.Mutex
		waiting []*wish
		sending bool // somebody sends what waits, until nothing does
	}
}

// wish is what one caller asks for.
type wish struct {
	ctx   context.Context
	text  []byte // an argument of the step
	again int    // byte of text that says that it is asked again; 0: none does
	end   time.Time
	done  chan granted // has room for one
}

// granted is the answer to a wish.
type granted struct {
	at     time.Time // when, by the server's clock
	answer rueidis.RedisMessage
	err    error
}

// ask has the server grant a wish. The wish may be granted even if ctx ends
// first.
func (c *collector) ask(ctx context.Context, text []byte, again int) granted {
	w := &wish{ctx: ctx, text: text, again: again, end: time.Now().Add(insist), done: make(chan granted, 1)}
	if !c.add(w) {
		return granted{err: fmt.Errorf("%s: %w: %w", c.operation, job.ErrUnavailable, ErrClosed)}
	}
	select {
	case g := <-w.done:
		return g
	case <-ctx.Done():
		return granted{err: fmt.Errorf("%s: %w: %w", c.operation, job.ErrUnavailable, context.Cause(ctx))}
	}
}

// add queues a wish, and sees that somebody sends it. It returns false if the
// store is closed.
func (c *collector) add(w *wish) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.waiting = append(c.mu.waiting, w)
	if c.mu.sending {
		return true
	}
	if !c.jobs.store.enter() {
		c.mu.waiting = c.mu.waiting[:len(c.mu.waiting)-1]
		return false
	}
	c.mu.sending = true
	go c.run()
	return true
}

func (c *collector) run() {
	defer c.jobs.store.running.Done()
	for group := c.next(); group != nil; group = c.next() {
		c.send(group)
		runtime.Gosched() // those whom it has answered may be about to ask for their next step
	}
}

// next returns the next group, nil if there is none: nobody sends then.
func (c *collector) next() []*wish {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for n < len(c.mu.waiting) && n < groupMost && (n == 0 || size+len(c.mu.waiting[n].text) <= groupBytes) {
		size += len(c.mu.waiting[n].text)
		n++
	}
	if n == 0 {
		c.mu.waiting = nil
		c.mu.sending = false
		return nil
	}
	group := c.mu.waiting[:n:n]
	c.mu.waiting = c.mu.waiting[n:]
	return group
}

// send sends a group until it is answered, or asking again cannot help.
func (c *collector) send(group []*wish) {
	ctx := c.jobs.store.ctx
	for again := false; ; again = true {
		group = wanted(group)
		if len(group) == 0 {
			return
		}
		args := make([]string, len(group))
		for i, w := range group {
			args[i] = rueidis.BinaryString(w.text)
			if again && w.again > 0 {
				args[i] = args[i][:w.again] + "\x01" + args[i][w.again+1:]
			}
		}
		answer, err := c.jobs.once(ctx, c.function, c.operation, args)
		if err == nil {
			c.grant(group, answer)
			return
		}
		retry, told := c.jobs.reading(err)
		told = fmt.Errorf("%s: %w", c.operation, told)
		if !retry || !c.jobs.pause(ctx, again, latest(group)) {
			refuse(group, told)
			return
		}
		group = refuseLate(group, told)
	}
}

// wanted returns the wishes whose callers still wait.
func wanted(group []*wish) []*wish {
	var rest []*wish
	for _, w := range group {
		if w.ctx.Err() == nil {
			rest = append(rest, w)
		}
	}
	return rest
}

// latest returns when the last of a group gives up.
func latest(group []*wish) (end time.Time) {
	for _, w := range group {
		if w.end.After(end) {
			end = w.end
		}
	}
	return end
}

func refuse(group []*wish, err error) {
	for _, w := range group {
		w.done <- granted{err: err}
	}
}

// refuseLate refuses those whose time is over, and returns the others.
func refuseLate(group []*wish, err error) []*wish {
	var rest []*wish
	for _, w := range group {
		if time.Now().Before(w.end) {
			rest = append(rest, w)
		} else {
			w.done <- granted{err: err}
		}
	}
	return rest
}

// grant tells each caller its part of the answer.
func (c *collector) grant(group []*wish, answer rueidis.RedisMessage) {
	parts, err := answer.ToArray()
	if err == nil && len(parts) != 1+len(group) {
		err = errors.New("it is too short or too long")
	}
	var micros int64
	if err == nil {
		micros, err = parts[0].AsInt64()
	}
	if err != nil {
		refuse(group, fmt.Errorf("%s: read the answer: %w", c.operation, err))
		return
	}
	for i, w := range group {
		w.done <- granted{at: time.UnixMicro(micros).UTC(), answer: parts[1+i]}
	}
}
