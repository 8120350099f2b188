package admin

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/job"
)

// Kinds of a Note.
const (
	retryNote   = "retry"
	pauseNote   = "pause"
	breakerNote = "breaker"
	jobNote     = "job"
	changeNote  = "change"
)

// note is something that happened, as the page shows it.
type note struct {
	Seq        uint64     `json:"seq"`
	At         time.Time  `json:"at"`
	Kind       string     `json:"kind"`
	Upstream   string     `json:"upstream,omitempty"`
	Credential string     `json:"credential,omitempty"`
	Client     string     `json:"client,omitempty"`
	Scope      string     `json:"scope,omitempty"`  // of a pause
	Until      *time.Time `json:"until,omitempty"`  // of a pause, or of an open breaker
	Reason     string     `json:"reason,omitempty"` // how an answer was read
	Status     int        `json:"status,omitempty"`
	RetryAfter string     `json:"retry_after,omitempty"` // as the upstream sent it
	RequestID  string     `json:"request_id,omitempty"`
	Attempt    int        `json:"attempt,omitempty"`
	Of         int        `json:"of,omitempty"`
	DelayMS    *int64     `json:"delay_ms,omitempty"` // of a retry: the wait chosen
	State      string     `json:"state,omitempty"`    // of a breaker or a job
	Job        string     `json:"job,omitempty"`
	Request    string     `json:"request,omitempty"` // of a change
	From       string     `json:"from,omitempty"`    // of a change
}

// Bounds of a feed. What is beyond them is counted, not told: a page that shows
// a thousand notes a second is of no use, and its reader costs the gate time.
const (
	notesKept      = 200
	notesPerSecond = 100 // of a kind
	listenersMost  = 64
	listenerBehind = 256 // messages: who is further behind is dropped
)

// Feed is what happens at a gate, for those who listen. Its zero value is ready;
// it is made before the gate, whose Events it takes. Safe for use by many
// goroutines; telling it something never blocks.
type Feed struct {
	attempts sync.Map // *readings by upstream

	mu struct {
		sync.Mutex
		seq       uint64
		kept      []note // the last notesKept, oldest first from index oldest
		oldest    int
		second    int64          // of told, in Unix time
		told      map[string]int // notes in it, by kind
		skipped   uint64
		listeners map[*listener]struct{}
		closed    bool
	}
}

// readings counts attempts of an upstream by how their answers were read.
type readings [len(readingNames)]atomic.Int64

// readingNames are the classes of answers, and "none" for none.
var readingNames = [...]string{dialect.OK: "ok", dialect.Throttled: "throttled", dialect.Overloaded: "overloaded", dialect.Fatal: "fatal", 4: "none"}

// listener is somebody who reads the feed. lost is closed when it is told
// nothing any more.
type listener struct {
	messages chan []byte
	lost     chan struct{}
}

// Events returns the events that make the feed.
func (f *Feed) Events() headgate.Events {
	return headgate.Events{
		AttemptEnded: f.attemptEnded,
		Retried: func(e headgate.Retried) {
			delay := e.Delay.Milliseconds()
			f.tell(note{
				Kind: retryNote, Upstream: e.Upstream, Client: e.Client, Reason: e.Reason, Status: e.Status,
				RetryAfter: e.RetryAfter, RequestID: e.RequestID, Attempt: e.Attempt, Of: e.Of, DelayMS: &delay,
			})
		},
		Paused: func(e headgate.Paused) {
			f.tell(note{Kind: pauseNote, Upstream: e.Upstream, Credential: e.Credential, Scope: e.Scope, Until: &e.Until, Reason: e.Reason})
		},
		BreakerChanged: func(e headgate.BreakerChanged) {
			n := note{Kind: breakerNote, Upstream: e.Upstream, Credential: e.Credential, State: e.State.String(), Reason: e.Reason}
			if !e.Until.IsZero() {
				n.Until = &e.Until
			}
			f.tell(n)
		},
	}
}

func (f *Feed) attemptEnded(e headgate.AttemptEnded) {
	all, ok := f.attempts.Load(e.Upstream)
	if !ok {
		all, _ = f.attempts.LoadOrStore(e.Upstream, new(readings))
	}
	i := int(e.Reading.Class)
	if e.Err != nil || i >= len(readingNames)-1 {
		i = len(readingNames) - 1
	}
	all.(*readings)[i].Add(1)
}

// readingsOf returns how many attempts of an upstream there were, by reading.
func (f *Feed) readingsOf(upstream string) (counts [len(readingNames)]int64) {
	if all, ok := f.attempts.Load(upstream); ok {
		for i := range counts {
			counts[i] = all.(*readings)[i].Load()
		}
	}
	return counts
}

// hear tells of a job that changed its state.
func (f *Feed) hear(n job.Notice) {
	if n.ID != "" {
		f.tell(note{Kind: jobNote, Job: n.ID, Upstream: n.Upstream, State: string(n.State)})
	}
}

// changed tells of what was done by the admin plane.
func (f *Feed) changed(c Change) {
	n := note{Kind: changeNote, Request: c.Request, From: c.From, Reason: c.Detail}
	if c.Err != nil {
		n.Reason = c.Err.Error()
	}
	f.tell(n)
}

func (f *Feed) tell(n note) {
	n.At = time.Now().UTC()
	n.Reason, n.RetryAfter, n.RequestID, n.Scope = clip(n.Reason), clip(n.RetryAfter), clip(n.RequestID), clip(n.Scope)
	f.mu.Lock()
	defer f.mu.Unlock()
	if second := n.At.Unix(); second != f.mu.second || f.mu.told == nil {
		f.mu.second, f.mu.told = second, make(map[string]int)
	}
	if f.mu.told[n.Kind]++; f.mu.told[n.Kind] > notesPerSecond {
		if n.Kind != jobNote { // the page asks for jobs again, however many there were
			f.mu.skipped++
		}
		return
	}
	f.mu.seq++
	n.Seq = f.mu.seq
	if len(f.mu.kept) < notesKept {
		f.mu.kept = append(f.mu.kept, n)
	} else {
		f.mu.kept[f.mu.oldest] = n
		f.mu.oldest = (f.mu.oldest + 1) % notesKept
	}
	if len(f.mu.listeners) > 0 {
		f.sendLocked(n.message())
	}
}

// message is a note as server-sent event.
func (n note) message() []byte {
	text, _ := json.Marshal(n) // strings, numbers and times: it cannot fail
	return message(n.Kind, n.Seq, text)
}

// message makes a server-sent event of a line of JSON; id 0 is none.
func message(event string, id uint64, data []byte) []byte {
	if id == 0 {
		return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, data)
	}
	return fmt.Appendf(nil, "event: %s\nid: %d\ndata: %s\n\n", event, id, data)
}

// send gives a message to all who listen.
func (f *Feed) send(m []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sendLocked(m)
}

func (f *Feed) sendLocked(m []byte) {
	for l := range f.mu.listeners {
		select {
		case l.messages <- m:
		default:
			f.dropLocked(l)
		}
	}
}

func (f *Feed) dropLocked(l *listener) {
	if _, ok := f.mu.listeners[l]; ok {
		delete(f.mu.listeners, l)
		close(l.lost)
	}
}

// listen adds somebody, and returns the notes behind one of them. It is nil if
// there are too many, or the feed is closed.
func (f *Feed) listen(after uint64) (l *listener, late []note) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.closed || len(f.mu.listeners) >= listenersMost {
		return nil, nil
	}
	l = &listener{messages: make(chan []byte, listenerBehind), lost: make(chan struct{})}
	if f.mu.listeners == nil {
		f.mu.listeners = make(map[*listener]struct{})
	}
	f.mu.listeners[l] = struct{}{}
	if after > f.mu.seq {
		after = 0 // of another process
	}
	for i := range f.mu.kept {
		if n := f.mu.kept[(f.mu.oldest+i)%len(f.mu.kept)]; n.Seq > after {
			late = append(late, n)
		}
	}
	return l, late
}

func (f *Feed) leave(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLocked(l)
}

// listened says whether anybody does, and how many notes were not told.
func (f *Feed) listened() (yes bool, skipped uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.listeners) > 0, f.mu.skipped
}

// close drops all who listen, and lets nobody in.
func (f *Feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.closed = true
	for l := range f.mu.listeners {
		f.dropLocked(l)
	}
}

// clip bounds text that somebody else wrote.
func clip(s string) string {
	const most = 256 // bytes
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
