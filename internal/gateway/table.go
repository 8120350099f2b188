package gateway

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// table is what a configuration mounts and lets in. It is never changed.
type table struct {
	root    *route // mounted at /; nil: routes are mounted by their names
	routes  map[string]*route
	clients map[[sha256.Size]byte]*client // by the hash of the key; empty: anyone may call
}

// route is the way to an upstream.
type route struct {
	upstream string
	door     http.RoundTripper
	inMemory int64 // bytes of a request body that are kept in memory for a retry
	kept     int64 // bytes of a request body up to which it is kept at all
	maxBody  int64 // bytes; 0: no bound
	passes   bool  // the caller's own credential is passed on: there is none of ours
}

// client is a caller known by its key.
type client struct {
	caller    headgate.Caller
	upstreams []string // none: all
	declared  []config.Limit
	limits    *clientLimits // nil: none
}

// newTable makes the table of cfg. Clients that old holds with the same limits
// keep their counts; old may be nil.
func newTable(door Door, cfg config.Config, opts Options, old *table, now time.Time) (*table, error) {
	t := &table{routes: make(map[string]*route), clients: make(map[[sha256.Size]byte]*client)}
	for name, u := range cfg.Upstreams {
		inMemory := cmp.Or(int64(u.Retry.Body), 1<<20)
		t.routes[name] = &route{
			upstream: name,
			door:     headgate.Unwatched(door.RoundTripper(name)),
			inMemory: inMemory,
			kept:     max(inMemory, cmp.Or(int64(u.Retry.BodyFile), 64<<20)),
			maxBody:  int64(u.MaxBody),
			passes:   len(u.Credentials) == 0,
		}
	}
	if opts.RootMount {
		if t.root = t.routes[defaultUpstream]; t.root == nil {
			return nil, fmt.Errorf("mount at /: %w %q", headgate.ErrUnknownUpstream, defaultUpstream)
		}
	}
	for _, c := range cfg.Clients {
		hash, err := parseHash(c.Key)
		if err != nil {
			return nil, fmt.Errorf("client %s: %w", c.Name, err)
		}
		known := &client{
			caller:    headgate.Caller{Name: c.Name, Weight: max(c.Weight, 1), Priority: headgate.DefaultPriority},
			upstreams: c.Upstreams,
			declared:  c.Limits,
		}
		if c.Priority != nil {
			known.caller.Priority = *c.Priority
		}
		if before := old.client(c.Name); before != nil && slices.Equal(before.declared, c.Limits) {
			known.limits = before.limits
		} else if known.limits, err = newClientLimits(c.Limits, now); err != nil {
			return nil, fmt.Errorf("client %s: %w", c.Name, err)
		}
		t.clients[hash] = known
	}
	return t, nil
}

// client returns the client of that name, or nil.
func (t *table) client(name string) *client {
	if t == nil {
		return nil
	}
	for _, c := range t.clients {
		if c.caller.Name == name {
			return c
		}
	}
	return nil
}

// identify returns whose call has these fields, nil if anyone may call, and
// takes out of them whatever carries a key of ours.
func (t *table) identify(h http.Header) (*client, error) {
	key := takeKey(h)
	if len(t.clients) == 0 {
		return nil, nil
	}
	if c := t.clients[sha256.Sum256([]byte(key))]; c != nil {
		return c, nil
	}
	return nil, errUnauthorized
}

// mayCall reports whether the client, nil for anyone, may call an upstream.
func (c *client) mayCall(upstream string) bool {
	return c == nil || len(c.upstreams) == 0 || slices.Contains(c.upstreams, upstream)
}

// mounted is a path below a mount, as url.URL keeps it: decoded, and as it was
// sent where that is not the usual encoding.
type mounted struct{ path, raw string }

// find returns the route that u is mounted on, and the path that is left.
func (t *table) find(u *url.URL) (*route, mounted, error) {
	if t.root != nil {
		return t.root, mounted{u.Path, u.RawPath}, nil
	}
	first, rest := cutMount(u.EscapedPath())
	name, err := url.PathUnescape(first)
	if err != nil {
		return nil, mounted{}, badRequest("path: %v", err)
	}
	r := t.routes[name]
	if r == nil {
		return nil, mounted{}, fmt.Errorf("%w %q", headgate.ErrUnknownUpstream, name)
	}
	if rest == "" {
		return r, mounted{path: "/"}, nil
	}
	m := mounted{path: u.Path[len("/")+len(name):]}
	if u.RawPath != "" {
		m.raw = rest
	}
	return r, m, nil
}

// cutMount splits /first/rest into first and /rest.
func cutMount(path string) (first, rest string) {
	path = strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}
