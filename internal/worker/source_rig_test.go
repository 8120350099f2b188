package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/internal/source"
)

var errAway = errors.New("the queue is away")

// fakeQueue is a queue in memory, for holders that each see it as a holder.
type fakeQueue struct {
	mu     sync.Mutex
	wait   []string          // next first
	held   map[string]string // ref to message
	owner  map[string]string // ref to holder
	leases map[string]time.Time
	lost   map[string]bool // holders that were taken from and do not know yet
	done   map[string]source.End
	dead   map[string]source.End
	last   int
	away   bool
	takes  int
}

func newFakeQueue(messages ...string) *fakeQueue {
	return &fakeQueue{
		wait: messages, held: map[string]string{}, owner: map[string]string{}, leases: map[string]time.Time{}, lost: map[string]bool{},
		done: map[string]source.End{}, dead: map[string]source.End{},
	}
}

type fakeHolder struct {
	*fakeQueue
	name string
}

// sweepLocked takes from others than name whose lease has lapsed what they hold.
// The error is ErrGone if that was done to name.
func (q *fakeQueue) sweepLocked(name string) error {
	for other, until := range q.leases {
		if other != name && time.Now().After(until) {
			q.lost[other] = q.holdsLocked(other)
			q.backLocked(other, nil)
			delete(q.leases, other)
		}
	}
	if q.lost[name] {
		delete(q.lost, name)
		return source.ErrGone
	}
	q.leases[name] = time.Now().Add(source.LeaseFor)
	return nil
}

// backLocked puts back what a holder holds; of refs, if there are some.
func (q *fakeQueue) backLocked(name string, refs []string) {
	var back []string
	for ref, owner := range q.owner {
		if owner == name && (refs == nil || slices.Contains(refs, ref)) {
			back = append(back, ref)
		}
	}
	slices.Sort(back)
	var messages []string
	for _, ref := range back {
		messages = append(messages, q.held[ref])
		delete(q.held, ref)
		delete(q.owner, ref)
	}
	q.wait = append(messages, q.wait...)
}

func (q *fakeQueue) holdsLocked(name string) bool {
	for _, owner := range q.owner {
		if owner == name {
			return true
		}
	}
	return false
}

func (h fakeHolder) Take(_ context.Context, n int) ([]source.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.takes++
	if h.away {
		return nil, errAway
	}
	if err := h.sweepLocked(h.name); err != nil {
		return nil, err
	}
	var taken []source.Message
	for ; n > 0 && len(h.wait) > 0; n-- {
		h.last++
		ref, body := fmt.Sprintf("%09d", h.last), h.wait[0]
		h.wait = h.wait[1:]
		h.held[ref], h.owner[ref] = body, h.name
		taken = append(taken, source.Message{ID: body, Ref: ref, Body: []byte(body)})
	}
	return taken, nil
}

func (h fakeHolder) End(_ context.Context, m source.Message, e source.End) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.away:
		return errAway
	case h.owner[m.Ref] != h.name:
		return source.ErrGone
	case e.Dead != "":
		h.dead[m.ID] = e
	default:
		h.done[m.ID] = e
	}
	delete(h.held, m.Ref)
	delete(h.owner, m.Ref)
	return nil
}

func (h fakeHolder) Back(_ context.Context, messages []source.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return errAway
	}
	refs := []string{}
	for _, m := range messages {
		refs = append(refs, m.Ref)
	}
	h.backLocked(h.name, refs)
	return nil
}

func (h fakeHolder) Keep(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return errAway
	}
	return h.sweepLocked(h.name)
}

func (h fakeHolder) Waiting(context.Context) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(len(h.wait)), nil
}

func (h fakeHolder) Close() error { return nil }

// sizes returns how many messages wait, are held, done and dead.
func (q *fakeQueue) sizes() [4]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return [4]int{len(q.wait), len(q.held), len(q.done), len(q.dead)}
}

func (q *fakeQueue) taken() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takes
}

func (q *fakeQueue) setAway(yes bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away = yes
}

// ended returns the end of a message.
func (q *fakeQueue) ended(id string) source.End {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e, ok := q.dead[id]; ok {
		return e
	}
	return q.done[id]
}

// runningSource is a source at work.
type runningSource struct {
	*Source
	stop, cut context.CancelCauseFunc
	ended     chan struct{}
}

// startSource has a source run until the test ends: each message is the path of
// its call.
func startSource(t *testing.T, q source.Queue, door Door, o SourceOptions) *runningSource {
	t.Helper()
	template, err := source.ParseTemplate(source.Request{Path: "/{{ .Message }}", Headers: map[string]string{"Idempotency-Key": "{{ .ID }}"}})
	if err != nil {
		t.Fatal(err)
	}
	o.Name, o.Upstream, o.Queue, o.Door = "s", "api", q, door
	if o.Template == nil {
		o.Template = template
	}
	o.URL = func(name string) string { return "http://" + name + ".test/base" }
	o.Random = func() float64 { return 0.5 }
	taking, stop := context.WithCancelCause(context.Background())
	working, cut := context.WithCancelCause(context.Background())
	r := &runningSource{Source: NewSource(o), stop: stop, cut: cut, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.Run(taking, working)
	}()
	t.Cleanup(func() { r.kill() })
	return r
}

// kill stops a source at once, and waits for it.
func (r *runningSource) kill() {
	r.cut(errStopped)
	<-r.ended
}

// idle lets time pass, and all that happens then.
func idle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("m%04d", i))
	}
	return all
}
