package headgate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/internal/line"
)

// WaitingStatus is who waits in a line, as far as asked for.
type WaitingStatus struct {
	Upstream string          `json:"upstream"`
	Total    int             `json:"total"`   // that wait, shown or not; upstreams of one quota share a line
	Calls    []WaitingCall   `json:"calls"`   // the first ones, next first
	Clients  []WaitingClient `json:"clients"` // those with most calls in line, most first
}

// WaitingCall is a call in line.
type WaitingCall struct {
	Client     string     `json:"client"`
	Priority   int        `json:"priority"`
	Upstream   string     `json:"upstream"`
	Credential string     `json:"credential"` // as in CredentialStatus
	Method     string     `json:"method,omitempty"`
	Path       string     `json:"path,omitempty"` // without its query; "" of a permit that was asked for by Acquire
	Attempts   int        `json:"attempts"`       // made so far
	Since      time.Time  `json:"since"`          // when the call came
	Position   int        `json:"position"`       // from 1, among those that need the same limits
	For        string     `json:"for"`            // what holds it back: limit, pause, breaker or turn
	Limit      string     `json:"limit,omitempty"`
	Earliest   *time.Time `json:"earliest,omitempty"` // when it can be let through, and not before; none: once an attempt in flight has ended
	Deadline   *time.Time `json:"deadline,omitempty"` // when it gives up
}

// WaitingClient is a client's share of a line.
type WaitingClient struct {
	Client string `json:"client"`
	Calls  int    `json:"calls"`
}

// What a call in line waits for.
const (
	ForLimit   = "limit"   // WaitingCall.Limit has no room for it
	ForPause   = "pause"   // the credential, model or route is paused
	ForBreaker = "breaker" // it is open, or half-open and being probed
	ForTurn    = "turn"    // those before it in line, no more
)

const (
	waitingUsual = 100 // calls that Waiting returns if nobody says how many
	waitingMost  = 500
	clientsShown = 20
)

// Waiting returns the first n calls in the line of an upstream, at most 500; 0
// means 100. Who comes, leaves, or gives back what was reserved for it changes
// all that is told of those behind. The error is ErrUnknownUpstream.
func (g *Gate) Waiting(upstream string, n int) (WaitingStatus, error) {
	u := g.upstream(upstream)
	if u == nil {
		return WaitingStatus{}, fmt.Errorf("%w %q", ErrUnknownUpstream, upstream)
	}
	if n <= 0 {
		n = waitingUsual
	}
	s := WaitingStatus{Upstream: upstream}
	var shares []WaitingClient
	s.Total, s.Calls, shares = u.desk.waiting(min(n, waitingMost))
	s.Clients = mostCalls(shares)
	return s, nil
}

// waiting holds the lock for as long as it takes to look at n calls, and at the
// names of the clients.
func (d *desk) waiting(n int) (total int, calls []WaitingCall, shares []WaitingClient) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	places := d.mu.line.Next(now, n)
	calls = make([]WaitingCall, len(places))
	for i, p := range places {
		calls[i] = d.waitingCallLocked(now, p)
	}
	for client, n := range d.mu.line.Clients() {
		shares = append(shares, WaitingClient{client, n})
	}
	return d.mu.line.Len(), calls, shares
}

func (d *desk) waitingCallLocked(now time.Time, p line.Place) WaitingCall {
	w := p.Entry.Value.(*waiter)
	c := WaitingCall{
		Client: w.entry.Client, Priority: w.entry.Priority,
		Upstream: w.upstream.name, Credential: w.seat.credential,
		Method: w.method, Path: w.path, Attempts: w.attempts,
		Since: w.entry.Arrived, Position: p.Ahead + 1,
		For: ForTurn,
	}
	if deadline := w.deadline; !deadline.IsZero() { // a copy: w is its caller's again
		c.Deadline = &deadline
	}
	w.ask.Pressed = w.seat.pressed
	f := w.seat.book.Forecast(now, &w.ask, p.Ahead)
	at := f.At
	c.Limit = f.Limit
	switch open := w.seat.breaker.Until(now); {
	case open.After(at):
		at, c.Limit, c.For = open, "", ForBreaker
	case c.Limit != "":
		c.For = ForLimit
	case at.After(now):
		c.For = ForPause
	default: // what it waits for has no moment: an answer, or an end
		if wait, ready := w.seat.book.Ready(now, &w.ask); !ready {
			c.For, c.Limit = ForLimit, wait.Limit
			if c.Limit == "" {
				c.For = ForPause // its ramp
			}
		} else if p.Ahead == 0 {
			c.For = ForBreaker // half-open
		}
	}
	if at.After(now) {
		c.Earliest = &at
	}
	return c
}

// mostCalls adds up the calls of each client, and returns those with most.
func mostCalls(shares []WaitingClient) []WaitingClient {
	of := make(map[string]int)
	for _, s := range shares {
		of[s.Client] += s.Calls
	}
	all := make([]WaitingClient, 0, len(of))
	for client, calls := range of {
		all = append(all, WaitingClient{client, calls})
	}
	slices.SortFunc(all, func(a, b WaitingClient) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Client, b.Client))
	})
	return all[:min(len(all), clientsShown)]
}
