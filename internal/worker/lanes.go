package worker

import (
	"context"
	"sync"
	"time"
)

const (
	// lookEvery is how often the store is asked which queues hold work.
	// Notices tell of most of it at once; they may be lost.
	lookEvery = time.Second
	lookLeast = 100 * time.Millisecond

	// lanesMost is how many queues of one upstream are worked on at once: each
	// costs some goroutines and keeps at least one call in line. turn is how
	// long one of them may be while others wait.
	lanesMost = 100
	turn      = 200 * time.Millisecond

	// linger is how long a lane without work stays, so that one job after the
	// other does not make a lane each.
	linger = 5 * time.Second
)

// lanes are the queues that are being worked on.
type lanes struct {
	worker  *Worker
	sooner  chan struct{} // the next look is now to be earlier; has room for one
	running sync.WaitGroup

	mu struct {
		sync.Mutex
		open   map[string]*lane
		asleep map[string]sleep  // by queue
		groups map[string]*group // by upstream; "" are the callbacks
		lookAt time.Time
		begun  bool
	}
}

// group are the lanes of one upstream.
type group struct {
	open    map[*lane]bool
	waiting []string // queues, in the order in which they get a lane
	waits   map[string]bool
}

// sleep is for how long a queue is left alone. The priority is that of the job
// which had to wait: one that is more urgent may have a turn earlier.
type sleep struct {
	until    time.Time
	priority int
}

// mostUrgent is the priority before which there is none.
const mostUrgent = 0

func (s sleep) holds(now time.Time) bool { return s.until.After(now) }

func (l *lanes) init(w *Worker) {
	l.worker = w
	l.sooner = make(chan struct{}, 1)
	l.mu.open = make(map[string]*lane)
	l.mu.asleep = make(map[string]sleep)
	l.mu.groups = make(map[string]*group)
}

// run looks for queues with work until taking ends, and returns when the last
// lane has.
func (l *lanes) run() {
	l.begin(true)
	l.lookout(l.worker.taking)
	l.begin(false)
	l.running.Wait()
}

// begin says whether lanes may be opened.
func (l *lanes) begin(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.begun = yes
}

func (l *lanes) lookout(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			l.look(ctx)
		case <-l.sooner:
		case <-ctx.Done():
			return
		}
		l.mu.Lock()
		timer.Reset(max(time.Until(l.mu.lookAt), lookLeast))
		l.mu.Unlock()
	}
}

// look asks the store which queues hold work.
func (l *lanes) look(ctx context.Context) {
	l.mu.Lock()
	l.mu.lookAt = time.Now().Add(lookEvery)
	l.mu.Unlock()
	queues, err := l.worker.options.Store.Queues(ctx)
	if err != nil {
		return // whoever keeps the lease says so
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for queue, s := range l.mu.asleep {
		if !s.holds(now) {
			delete(l.mu.asleep, queue)
		}
	}
	for _, q := range queues {
		if q.Ripe > 0 {
			if s, ok := l.mu.asleep[q.Name]; ok && q.Priority < s.priority {
				delete(l.mu.asleep, q.Name)
			}
			l.ripeLocked(now, q.Name, q.Upstream)
		} else if q.Next > 0 {
			l.lookByLocked(now.Add(q.Next))
		}
	}
}

// lookBy has the store asked again at t at the latest.
func (l *lanes) lookBy(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookByLocked(t)
}

func (l *lanes) lookByLocked(t time.Time) {
	if !t.Before(l.mu.lookAt) {
		return
	}
	l.mu.lookAt = t
	select {
	case l.sooner <- struct{}{}:
	default:
	}
}

// ripe has a queue worked on.
func (l *lanes) ripe(queue, upstream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.begun {
		l.ripeLocked(time.Now(), queue, upstream)
	}
}

func (l *lanes) ripeLocked(now time.Time, queue, upstream string) {
	if open := l.mu.open[queue]; open != nil {
		open.wake()
		return
	}
	if s := l.mu.asleep[queue]; s.holds(now) {
		l.lookByLocked(s.until)
		return
	}
	g := l.mu.groups[upstream]
	if g == nil {
		g = &group{open: make(map[*lane]bool), waits: make(map[string]bool)}
		l.mu.groups[upstream] = g
	}
	if len(g.open) < lanesMost {
		l.openLocked(now, queue, upstream, g)
		return
	}
	if !g.waits[queue] {
		g.waits[queue] = true
		g.waiting = append(g.waiting, queue)
	}
	for open := range g.open {
		if open.idle {
			open.wake()
			return
		}
	}
}

func (l *lanes) openLocked(now time.Time, queue, upstream string, g *group) {
	open := newLane(l.worker, queue, upstream, now)
	l.mu.open[queue] = open
	g.open[open] = true
	l.running.Go(open.run)
}

// yields says whether a lane must make room for others, and notes whether it has
// nothing to do.
func (l *lanes) yields(x *lane, idle bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.idle = idle
	others := len(l.mu.groups[x.upstream].waiting) > 0
	return others && (idle || time.Since(x.began) >= turn)
}

// close ends a lane, which may be done more than once, and gives its room to who
// waits for it. more says that its queue may hold more work.
func (l *lanes) close(x *lane, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.mu.groups[x.upstream]
	if l.mu.open[x.queue] != x {
		return
	}
	delete(l.mu.open, x.queue)
	delete(g.open, x)
	if !l.mu.begun {
		return
	}
	now := time.Now()
	for len(g.waiting) > 0 && len(g.open) < lanesMost {
		queue := g.waiting[0]
		g.waiting = g.waiting[1:]
		delete(g.waits, queue)
		if !l.mu.asleep[queue].holds(now) {
			l.openLocked(now, queue, x.upstream, g)
		}
	}
	if more || len(x.woken) > 0 {
		l.ripeLocked(now, x.queue, x.upstream)
	}
	if len(g.open) == 0 && len(g.waiting) == 0 {
		delete(l.mu.groups, x.upstream)
	}
}

// sleep has a queue left alone for a while: what it waits for does not come
// earlier. While two sleeps hold, the longer counts, and wakes for what is more
// urgent than both.
func (l *lanes) sleep(queue string, s sleep) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.mu.asleep[queue]; now.holds(time.Now()) {
		s.priority = min(s.priority, now.priority)
		if now.until.After(s.until) {
			s.until = now.until
		}
	}
	l.mu.asleep[queue] = s
	l.lookByLocked(s.until)
}

// asleep returns how a queue is left alone; a sleep that holds no more if it is
// not.
func (l *lanes) asleep(queue string) sleep {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.asleep[queue]
}
