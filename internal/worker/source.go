package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/pump"
	"github.com/headgate/headgate/internal/source"
)

const (
	// sourcePriority is that of jobs: live calls go first.
	sourcePriority = 5

	// What a source holds at once. Memory is the bound, and what a dead
	// instance held has to be done again.
	sourceHeld   = 10_000
	sourceParked = 1000
	sourceBytes  = 256 << 20

	// An empty queue is looked at after pollLeast, then less and less often.
	pollLeast = 10 * time.Millisecond
	pollIdle  = 250 * time.Millisecond

	// leaseSlack is how long before its lease lapses nothing more is sent.
	leaseSlack = source.LeaseFor / 6

	// backAfter is how long a message that was never sent is kept for another
	// attempt. One that has to wait for longer waits in the queue.
	backAfter = 5 * time.Second
)

// What becomes of messages, as SourceEvents.Counted has it.
const (
	SourceTaken = "taken"
	SourceDone  = "done"
	SourceDead  = "dead"
	SourceBack  = "returned" // to the queue, as they were
	SourceLost  = "lost"     // to another instance: the lease had lapsed
)

// SourceEvents are called as messages pass, with no lock held. Nil fields are
// skipped.
type SourceEvents struct {
	// Counted says what became of how many messages.
	Counted func(source, outcome string, n int)

	// Died says that a message is among the dead letters now.
	Died func(SourceDied)

	// Changed says that nothing can be taken or written, and why; nil: all can
	// again.
	Changed func(source string, err error)
}

// SourceDied is a message that could not be done.
type SourceDied struct {
	Source, Upstream, ID string
	Reason               string
	Status, Attempts     int
}

// SourceOptions are settings of a Source. Name, Upstream, Queue, Template and Door
// are required; the others are as in Options.
type SourceOptions struct {
	Name     string
	Upstream string
	Queue    source.Queue
	Letters  source.Letters // its dead; nil: nobody asks for them
	Template *source.Template
	Door     Door

	Attempts func(upstream string) int
	URL      func(upstream string) string
	Random   func() float64
	Events   SourceEvents
}

// Source drains a queue through the door: it takes what can soon be sent, sends
// it, and has the queue write what became of it.
//
// What becomes of a message is what becomes of a job, but that it is known to
// memory alone: a message that is to be tried again stays with the source, and its
// attempts are forgotten when it is given back. It is the feed of a pump.
type Source struct {
	options SourceOptions
	rules   *Worker // that settles; it runs nothing
	woken   chan struct{}
	turn    chan struct{} // a lock: taking, and noting what was lost

	// Set by Run.
	taking, working, storing context.Context

	// Of the goroutine that takes.
	size    int
	tookAt  time.Time
	drained bool
	idle    time.Duration

	mu struct {
		sync.Mutex
		ready  []*message // to be sent, in this order
		held   map[*message]struct{}
		parked int
		bytes  int
		rest   time.Time // nothing is sent before
		until  time.Time // the lease is ours for certain
		faults map[string]error
		done   int64
		dead   int64
	}
}

// NewSource returns a source that does nothing until Run.
func NewSource(o SourceOptions) *Source {
	if o.Random == nil {
		o.Random = rand.Float64
	}
	s := &Source{
		options: o,
		rules:   New(Options{Attempts: o.Attempts, URL: o.URL, Random: o.Random}),
		woken:   make(chan struct{}, 1),
		turn:    make(chan struct{}, 1),
		size:    1,
	}
	s.mu.held = make(map[*message]struct{})
	s.mu.faults = make(map[string]error)
	return s
}

// Run works until taking ends. It then takes nothing more, gives back what has no
// permit, and lets calls that are on their way go on until working ends, which
// cuts them off. It returns when what became of the last one has been written, or
// cannot be: then it is done again when the lease has lapsed. A Source runs once;
// its queue is its caller's to close.
func (s *Source) Run(taking, working context.Context) {
	taking, stopTaking := context.WithCancelCause(taking)
	defer context.AfterFunc(working, func() { stopTaking(context.Cause(working)) })()
	defer stopTaking(nil)
	storing, stopStoring := context.WithCancel(context.WithoutCancel(working))
	defer stopStoring()
	defer context.AfterFunc(working, func() { time.AfterFunc(lastWords, stopStoring) })()
	keeping, stopKeeping := context.WithCancel(storing)
	defer stopKeeping()
	s.taking, s.working, s.storing = taking, working, storing

	var background sync.WaitGroup
	background.Go(func() { s.keep(keeping) })
	background.Go(func() { // while calls that are on their way go on
		<-taking.Done()
		s.giveBack(s.unsent())
	})
	p := pump.New(s.options.Door.RoundTripper(s.options.Upstream), pump.Options{
		Caller: headgate.Caller{Name: "source:" + s.options.Name, Weight: 1, Priority: sourcePriority},
		Most:   sourceHeld,
	})
	_ = p.Run(taking, working, s) // the cause of taking
	s.giveBack(s.unsent())
	stopTaking(nil)
	stopKeeping()
	background.Wait()
}

// Name returns the name of the source.
func (s *Source) Name() string { return s.options.Name }

// Letters returns the dead letters of the source.
func (s *Source) Letters() source.Letters { return s.options.Letters }

// Status returns how the source stands.
func (s *Source) Status(ctx context.Context) source.Status {
	waiting, err := s.options.Queue.Waiting(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	status := source.Status{
		Name: s.options.Name, Upstream: s.options.Upstream, Waiting: waiting,
		Running: int64(len(s.mu.held)), Done: s.mu.done, Dead: s.mu.dead,
	}
	for _, fault := range s.mu.faults {
		status.Fault = fault.Error()
	}
	if err != nil {
		status.Waiting, status.Fault = -1, err.Error()
	}
	return status
}

// Next is as in pump.Feed.
func (s *Source) Next(ctx context.Context) (pump.Item, error) {
	for {
		if wait := s.notBefore(); wait > 0 {
			if !s.wait(ctx, wait) {
				return nil, context.Cause(ctx)
			}
			continue
		}
		if m := s.pop(); m != nil {
			return &sourceItem{source: s, message: m}, nil
		}
		n, wait := s.take(ctx)
		if ctx.Err() != nil || n == 0 && !s.wait(ctx, wait) {
			return nil, context.Cause(ctx)
		}
	}
}

// notBefore returns for how long nothing may be sent: the upstream says so, or
// what is held may be another's.
func (s *Source) notBefore() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := time.Until(s.mu.rest); wait > 0 {
		return wait
	}
	if len(s.mu.ready) > 0 && !s.inForceLocked() {
		return pollIdle
	}
	return 0
}

func (s *Source) inForceLocked() bool { return time.Now().Before(s.mu.until) }

// wait waits until there may be something to do. It is false if ctx ends first.
func (s *Source) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.woken:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (s *Source) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// take takes the next messages, and returns how many, and for 0 when to look
// again.
func (s *Source) take(ctx context.Context) (n int, wait time.Duration) {
	switch held := time.Since(s.tookAt); {
	case s.drained || s.tookAt.IsZero():
	case held < batchShort:
		s.size = min(2*s.size, batchMost)
	case held > batchLong:
		s.size = max(s.size/2, 1)
	}
	if n = s.room(s.size); n == 0 {
		return 0, whileFull
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	at := time.Now()
	taken, err := s.options.Queue.Take(s.storing, n)
	if ctx.Err() == nil { // else a fault is what stopping has to bring
		s.report("take", err)
	}
	if err != nil {
		s.loseIf(err)
		return 0, max(atFault, s.idle)
	}
	s.tookAt, s.drained = time.Now(), len(taken) < n
	if len(taken) == 0 {
		s.idle = min(max(2*s.idle, pollLeast), pollIdle)
		return 0, s.idle
	}
	s.idle = 0
	s.add(taken, at)
	s.count(SourceTaken, len(taken))
	if ctx.Err() != nil {
		s.giveBack(s.unsent())
	}
	return len(taken), 0
}

// room returns how many of n more messages may be held.
func (s *Source) room(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.bytes >= sourceBytes || s.mu.parked >= sourceParked {
		return 0
	}
	return max(min(n, sourceHeld-len(s.mu.held)), 0)
}

// add notes messages that were taken when the lease was renewed at a moment.
func (s *Source) add(taken []source.Message, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewedLocked(at)
	for _, t := range taken {
		m := newMessage(s, t, at)
		s.mu.held[m] = struct{}{}
		s.mu.ready = append(s.mu.ready, m)
		s.mu.bytes += len(t.Body)
	}
}

func (s *Source) renewedLocked(at time.Time) {
	s.mu.until = at.Add(source.LeaseFor - leaseSlack)
}

// pop returns the next message to be sent, nil if there is none.
func (s *Source) pop() *message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.ready) == 0 {
		return nil
	}
	m := s.mu.ready[0]
	s.mu.ready = s.mu.ready[1:]
	return m
}

// unsent returns what is held and waits, for somebody else to care for.
func (s *Source) unsent() []*message {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.mu.ready
	s.mu.ready = nil
	for m := range s.mu.held {
		if m.parked != nil && m.parked.Stop() {
			m.parked = nil
			s.mu.parked--
			all = append(all, m)
		}
	}
	return all
}

// park keeps a message that is to be sent again after a delay.
func (s *Source) park(m *message, delay time.Duration) {
	if s.taking.Err() != nil || delay > backAfter && m.job.Attempted == 0 {
		s.giveBack([]*message{m})
		return
	}
	s.mu.Lock()
	s.mu.parked++
	m.parked = time.AfterFunc(delay, func() { s.unpark(m) })
	s.mu.Unlock()
	if s.taking.Err() != nil { // just now: unsent may have missed it
		s.giveBack(s.unsent())
	}
}

func (s *Source) unpark(m *message) {
	s.mu.Lock()
	s.mu.parked--
	m.parked = nil
	if m.gone == nil {
		s.mu.ready = append(s.mu.ready, m)
	}
	s.mu.Unlock()
	s.wake()
	if s.taking.Err() != nil {
		s.giveBack(s.unsent())
	}
}

// giveBack has messages wait in the queue again.
func (s *Source) giveBack(all []*message) {
	if len(all) == 0 {
		return
	}
	messages := make([]source.Message, len(all))
	for i, m := range all {
		messages[i] = m.Message
	}
	if s.write(func() error { return s.options.Queue.Back(s.storing, messages) }) == nil {
		s.count(SourceBack, len(all))
	}
	s.forget(all...)
}

// write has the queue write something, until it has or working is over. While it
// is away that is what is done with results: they must not be forgotten.
func (s *Source) write(f func() error) error {
	pause := storeAgain
	for {
		err := f()
		if err == nil || errors.Is(err, source.ErrGone) {
			s.report("write", nil)
			return err
		}
		if s.storing.Err() == nil {
			s.report("write", err)
		}
		if !pass(s.storing, pause/2+time.Duration(s.options.Random()*float64(pause/2))) {
			return err
		}
		pause = min(2*pause, storeAgainMost)
	}
}

// forget lets go of messages.
func (s *Source) forget(all ...*message) {
	s.mu.Lock()
	for _, m := range all {
		if _, held := s.mu.held[m]; held {
			delete(s.mu.held, m)
			s.mu.bytes -= len(m.Body)
		}
	}
	s.mu.Unlock()
	s.wake()
}

// sleep has nothing be sent before t.
func (s *Source) sleep(t time.Time) {
	s.mu.Lock()
	var unsent []*message
	if t.After(s.mu.rest) {
		s.mu.rest = t
	}
	if time.Until(t) > backAfter {
		unsent, s.mu.ready = s.mu.ready, nil
	}
	s.mu.Unlock()
	s.giveBack(unsent)
}

// keep renews the lease until ctx ends.
func (s *Source) keep(ctx context.Context) {
	for pass(ctx, keepEvery) {
		s.turn <- struct{}{}
		at := time.Now()
		err := s.options.Queue.Keep(ctx)
		if ctx.Err() == nil {
			s.report("keep", err)
		}
		if err == nil {
			s.mu.Lock()
			s.renewedLocked(at)
			s.mu.Unlock()
			s.wake()
		}
		s.loseIf(err)
		<-s.turn
	}
}

// loseIf lets go of all that is held if an error says that it is another's. It is
// called with the turn.
func (s *Source) loseIf(err error) {
	if !errors.Is(err, source.ErrGone) {
		return
	}
	s.mu.Lock()
	var cuts []context.CancelCauseFunc
	var idle []*message
	for m := range s.mu.held {
		m.gone = err
		switch {
		case m.cutOff != nil:
			cuts = append(cuts, m.cutOff)
		case m.parked != nil && m.parked.Stop():
			m.parked = nil
			s.mu.parked--
			idle = append(idle, m)
		}
	}
	idle = append(idle, s.mu.ready...)
	s.mu.ready = nil
	s.mu.Unlock()
	for _, cut := range cuts {
		cut(err)
	}
	s.forget(idle...)
	s.count(SourceLost, len(idle))
}

// report tells of what fails, once, and of when nothing fails any more.
func (s *Source) report(what string, err error) {
	if errors.Is(err, source.ErrGone) {
		err = nil // the queue is there
	}
	s.mu.Lock()
	before := len(s.mu.faults)
	if err == nil {
		delete(s.mu.faults, what)
	} else {
		s.mu.faults[what] = err
	}
	after := len(s.mu.faults)
	s.mu.Unlock()
	if (before == 0) != (after == 0) && s.options.Events.Changed != nil {
		s.options.Events.Changed(s.options.Name, err)
	}
}

func (s *Source) count(outcome string, n int) {
	if n > 0 && s.options.Events.Counted != nil {
		s.options.Events.Counted(s.options.Name, outcome, n)
	}
}
