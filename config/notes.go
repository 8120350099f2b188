package config

import (
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/headgate/headgate/internal/limit"
)

// Notes says what a user should know beyond the file, one sentence each, in a
// fixed order: what each limit covers and what a bucket lets through, whose
// credentials are used, which instances count together, what happens while they
// cannot, and who can reach the listeners. The configuration is one that
// Validate accepts.
func (c Config) Notes() []string {
	c = c.WithDefaults()
	var notes []string
	if len(c.Upstreams) == 0 {
		notes = append(notes, "upstreams: none, so every call is answered 404")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		notes = append(notes, c.upstreamNotes(child("upstreams", name), c.Upstreams[name])...)
	}
	for i, cl := range c.Clients {
		notes = append(notes, c.limitNotes(item("clients", i), cl.Limits)...)
	}
	notes = append(notes, c.stateNotes()...)
	if !onLoopback(c.Listen) && len(c.Clients) == 0 {
		notes = append(notes, c.about("listen", c.Listen)+": not a loopback address, and there are no clients: anyone who reaches it may call")
	}
	if c.Admin != "off" && !onLoopback(c.Admin) {
		notes = append(notes, c.about("admin", c.Admin)+": not a loopback address: anyone who reaches it can see what runs")
		if c.AdminKey == "" {
			notes = append(notes, c.about("admin", c.Admin)+": without admin_key nothing can be changed there: no job retried, no upstream paused")
		}
	}
	return notes
}

// stateNotes says which instances count together, and what each does while it
// cannot reach the state.
func (c Config) stateNotes() []string {
	upstreams, clients := c.limited()
	store, err := c.Store()
	if err != nil {
		return nil
	}
	if store.Kind == Memory {
		if !upstreams && !clients {
			return nil
		}
		return []string{c.about("state", c.State) + ": limits are counted by each instance on its own: two instances let twice as much through"}
	}
	notes := []string{
		c.about("state", store.String()) + ": instances with this state and " + c.about("namespace", c.Namespace) + " share limits, pauses and breakers of upstreams",
		c.about("on_store_loss", c.OnStoreLoss) + ": while the state cannot be reached " + storeLoss[c.OnStoreLoss],
	}
	if clients {
		notes = append(notes, "clients: their limits are counted by each instance on its own: two instances let twice as much through")
	}
	return notes
}

// storeLoss says what each choice of on_store_loss does.
var storeLoss = map[string]string{
	"share": "each instance goes on with limit / instances last alive. One that alone is cut off keeps that share while the others take it over when its lease has ended: choose wait if no 429 may ever happen",
	"wait":  "calls wait in line, as long as their deadline and line.max_wait allow",
	"fail":  "calls are refused at once",
}

// limited says whether any upstream and any client has a limit.
func (c Config) limited() (upstreams, clients bool) {
	for _, u := range c.Upstreams {
		upstreams = upstreams || len(u.Limits) > 0
	}
	return upstreams, slices.ContainsFunc(c.Clients, func(cl Client) bool { return len(cl.Limits) > 0 })
}

func (c Config) upstreamNotes(path string, u Upstream) []string {
	var notes []string
	if len(u.Credentials) == 0 {
		notes = append(notes, path+": no credentials: those of the caller are passed through")
	}
	if len(u.Limits) == 0 {
		notes = append(notes, path+": no limits: they are learned from the answers")
	}
	return append(notes, c.limitNotes(path, u.Limits)...)
}

// limitNotes says what each limit covers, and how much a bucket lets through.
func (c Config) limitNotes(path string, list []Limit) []string {
	var notes []string
	for i, l := range list {
		at := item(path+".limits", i)
		if c.hidden[at+".limit"] {
			at += ".limit"
		}
		about := c.about(at, l.Limit)
		notes = append(notes, about+": "+covers(l.Scope))
		parsed, err := limit.Parse(l.Limit)
		if err != nil || parsed.Kind != limit.Bucket {
			continue
		}
		bound := "N + burst"
		if !c.hidden[at] {
			bound = fmt.Sprint(parsed.N + parsed.Burst)
		}
		notes = append(notes, about+": up to "+bound+" in one window; an upstream that counts windows will refuse some")
	}
	return notes
}

func covers(scope string) string {
	switch scope {
	case "":
		return "counted for this client"
	case scopeCredential:
		return "counted for each credential"
	case scopeUpstream:
		return "counted for the upstream, all credentials together"
	}
	return "counted for " + scope + ", for each credential"
}

// about names a value by its path, and shows it if it may be shown.
func (c Config) about(path, value string) string {
	if c.hidden[path] {
		return path
	}
	return path + " " + quote(value)
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopback(host)
}
