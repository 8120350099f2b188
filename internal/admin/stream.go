package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/headgate/headgate"
)

// credentialsShown bounds the credentials of an upstream in the stream, where
// callers may bring any number of them; those with most to do are shown.
const credentialsShown = 50

// countPatience bounds how long a second's status waits for the numbers of jobs.
const countPatience = 500 * time.Millisecond

var errListeners = errors.New("64 already listen, or the instance is stopping: close a page, or try again")

// tick is the message of each second.
type tick struct {
	Status  report                      `json:"status"`
	At      time.Time                   `json:"at"`
	Spent   map[string]map[string]int64 `json:"attempts"` // that ended in the last second, by upstream and reading
	Skipped uint64                      `json:"skipped"`  // notes that were not told, in all
	History *historyReport              `json:"history,omitempty"`
}

// snapshot is what who comes is told first, made at most once a second.
type snapshot struct {
	sync.Mutex
	at      time.Time
	message []byte
}

// Run notes each second how the gate stands, and tells those who listen, until
// ctx ends; nobody listens then any more.
func (a *Admin) Run(ctx context.Context) {
	defer a.options.Feed.close()
	ticker := time.NewTicker(historyStep)
	defer ticker.Stop()
	before := make(map[string][len(readingNames)]int64)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			status := a.options.Gate.Status()
			a.history.add(now, &status, a.options.Feed)
			spent := a.spent(before, &status)
			if listened, _ := a.options.Feed.listened(); listened {
				t := a.tick(ctx, status)
				t.Spent = spent
				a.options.Feed.send(message("status", 0, marshal(t)))
			}
		}
	}
}

// spent returns the attempts since before, and has before follow.
func (a *Admin) spent(before map[string][len(readingNames)]int64, s *headgate.Status) map[string]map[string]int64 {
	all := make(map[string]map[string]int64)
	for _, u := range s.Upstreams {
		now, old := a.options.Feed.readingsOf(u.Name), before[u.Name]
		before[u.Name] = now
		counts := make(map[string]int64)
		for i, name := range readingNames {
			counts[name] = now[i] - old[i]
		}
		all[u.Name] = counts
	}
	return all
}

func (a *Admin) tick(ctx context.Context, s headgate.Status) tick {
	for i, u := range s.Upstreams {
		if len(u.Credentials) > credentialsShown {
			slices.SortStableFunc(u.Credentials, func(x, y headgate.CredentialStatus) int {
				return cmp.Compare(y.Waiting+y.InFlight, x.Waiting+x.InFlight)
			})
			s.Upstreams[i].Credentials = u.Credentials[:credentialsShown]
		}
	}
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	_, skipped := a.options.Feed.listened()
	return tick{Status: a.report(ctx, s), At: time.Now().UTC(), Skipped: skipped}
}

// events streams what happens (server-sent events): snapshot, the notes that are
// kept, and from then on status each second and notes as they come.
func (a *Admin) events(w http.ResponseWriter, r *http.Request) error {
	after, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // else from the first one kept
	l, late := a.options.Feed.listen(after)
	if l == nil {
		return errListeners
	}
	defer a.options.Feed.leave(l)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx is not to hold events up
	takeTime(w)
	c := http.NewResponseController(w)
	write := func(m []byte) bool {
		_ = c.SetWriteDeadline(time.Now().Add(streamPatience)) // not supported: there is none then
		_, err := w.Write(m)
		return err == nil && c.Flush() == nil
	}
	var first bytes.Buffer
	first.WriteString("retry: 2000\n\n")
	first.Write(a.first(r.Context()))
	for _, n := range late {
		first.Write(n.message())
	}
	if !write(first.Bytes()) {
		return nil
	}
	for {
		select {
		case m := <-l.messages:
			if !write(m) {
				return nil
			}
		case <-l.lost:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// streamPatience bounds how long a message may take to be written.
const streamPatience = 10 * time.Second

// first returns the message that a stream begins with.
func (a *Admin) first(ctx context.Context) []byte {
	a.snapshot.Lock()
	defer a.snapshot.Unlock()
	if a.snapshot.message == nil || time.Since(a.snapshot.at) >= historyStep {
		t := a.tick(ctx, a.options.Gate.Status())
		h := a.history.report()
		t.History = &h
		a.snapshot.message, a.snapshot.at = message("snapshot", 0, marshal(t)), time.Now()
	}
	return a.snapshot.message
}

// marshal is for values of ours, of which none can fail.
func marshal(v any) []byte {
	text, _ := json.Marshal(v)
	return text
}
