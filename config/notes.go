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
// credentials are used, that no other instance counts with this one, and who
// can reach the listeners. The configuration is one that Validate accepts.
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
	if c.limited() {
		notes = append(notes, c.about("state", c.State)+": limits are counted by each instance on its own: two instances let twice as much through")
	}
	if !onLoopback(c.Listen) && len(c.Clients) == 0 {
		notes = append(notes, c.about("listen", c.Listen)+": not a loopback address, and there are no clients: anyone who reaches it may call")
	}
	if c.Admin != "off" && !onLoopback(c.Admin) {
		notes = append(notes, c.about("admin", c.Admin)+": not a loopback address: anyone who reaches it can see what runs")
	}
	return notes
}

// limited says whether anything has a limit.
func (c Config) limited() bool {
	for _, u := range c.Upstreams {
		if len(u.Limits) > 0 {
			return true
		}
	}
	return slices.ContainsFunc(c.Clients, func(cl Client) bool { return len(cl.Limits) > 0 })
}

func (c Config) upstreamNotes(path string, u Upstream) []string {
	var notes []string
	if len(u.Credentials) == 0 {
		notes = append(notes, path+": no credentials: those of the caller are passed through")
	}
	if len(u.Limits) == 0 {
		notes = append(notes, path+": no limits: calls leave as they come, until an answer says \"too many\"")
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
