package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/limit"
)

// choices are the values of the keys that take one of a few words, by type and
// key.
var choices = map[string][]string{
	"Config.on_store_loss": {"share", "wait", "fail"},
	"Log.level":            {"debug", "info", "warn", "error"},
	"Log.format":           {"text", "json"},
	"Upstream.dialect":     dialect.Names(),
	"Upstream.guard":       {"adaptive", "strict"},
	"Retry.jitter":         {"full", "equal", "decorrelated", "none"},
	"Retry.methods":        {"any", "idempotent", "none"},
}

// Validate reports all faults of the values, joined, each an *Error without a
// place in a file. Load and Parse have validated what they return.
func (c Config) Validate() error {
	v := &validator{cfg: c}
	v.run()
	return join(v.faults)
}

// A validator looks for values that are well formed and impossible.
type validator struct {
	cfg     Config
	written map[string]place // what stands in the file; nil for values set in code
	bad     map[string]bool  // paths that have a fault already
	faults  []*Error
}

func (v *validator) run() {
	c := v.cfg
	v.listeners()
	v.store()
	v.choice("log.level", "Log.level", c.Log.Level)
	v.choice("log.format", "Log.format", c.Log.Format)
	v.jobs()
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		v.upstream(child("upstreams", name), name, c.Upstreams[name])
	}
	v.quotas()
	v.fallbackCircles()
	v.clients()
	v.sources()
}

// fault notes a fault, unless what it is about has one already. msg quotes
// nothing of a value.
func (v *validator) fault(path, value, msg, hint string) {
	for p := path; p != ""; p = parent(p) {
		if v.bad[p] {
			return
		}
	}
	e := &Error{Path: path, Value: value, Msg: msg, Hint: hint}
	if v.cfg.hidden[path] {
		hide(e)
	}
	v.faults = append(v.faults, e)
}

// absent reports whether a field was left out, so that its default holds.
func (v *validator) absent(path string, zero bool) bool {
	_, written := v.written[path]
	return zero && !written
}

func (v *validator) choice(path, key, value string) {
	allowed := choices[key]
	if !v.absent(path, value == "") && !slices.Contains(allowed, value) {
		want := "want one of " + strings.Join(allowed, ", ")
		if len(allowed) > mostNamed {
			want = "is none of those that `headgate explain --list` names"
		}
		v.fault(path, value, want, nearest(value, allowed))
	}
}

// mostNamed is how many choices a fault names.
const mostNamed = 12

// positive refuses numbers below 1, but for a zero that was left out.
func positive[T ~int | ~int64](v *validator, path string, n T) {
	switch {
	case n < 0:
		v.fault(path, "", "must not be negative", "")
	case n == 0 && !v.absent(path, true):
		v.fault(path, "", "must be more than 0; leave it out for the default", "")
	}
}

func (v *validator) needed(path string, zero bool) bool {
	if zero && v.absent(path, true) {
		v.fault(path, "", "is missing", "")
	} else if zero {
		v.fault(path, "", "must not be empty", "")
	}
	return !zero
}

func (v *validator) listeners() {
	c := v.cfg.WithDefaults()
	listen, ok := v.address("listen", c.Listen)
	if c.Admin == "off" {
		ok = false
	} else if admin, good := v.address("admin", c.Admin); ok && good && overlap(listen, admin) {
		path := "admin"
		if v.absent(path, v.cfg.Admin == "") {
			path = "listen"
		}
		v.fault(path, "", "is taken twice: listen and admin need an address each (defaults 127.0.0.1:8787 and 127.0.0.1:8788)", "")
	}
	if c.AdminKey != "" && !keyHash.MatchString(c.AdminKey) { // it may be the key itself: not shown
		v.fault("admin_key", "", wantHash, "")
	}
	if t := c.TLS; (t.Cert == "") != (t.Key == "") {
		v.fault("tls", "", "needs both cert and key", "")
	}
}

// hostPort is an address to listen on; an empty host is every interface.
type hostPort struct {
	host string
	port uint64
}

func (v *validator) address(path, text string) (hostPort, bool) {
	host, port, err := net.SplitHostPort(text)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || strings.ContainsAny(host, "/@ ") {
		hint := ""
		if _, err := strconv.ParseUint(text, 10, 16); err == nil {
			hint = "127.0.0.1:" + text
		}
		v.fault(path, text, `want host:port, such as "127.0.0.1:8787"`, hint)
		return hostPort{}, false
	}
	return hostPort{host, n}, true
}

// overlap reports whether two listeners would want the same port of the same
// interface. Port 0 is any free one.
func overlap(a, b hostPort) bool {
	if a.port != b.port || a.port == 0 {
		return false
	}
	every := func(h string) bool {
		ip, err := netip.ParseAddr(h)
		return h == "" || err == nil && ip.IsUnspecified()
	}
	local := a.host == "localhost" && isLoopback(b.host) || b.host == "localhost" && isLoopback(a.host)
	return a.host == b.host || every(a.host) || every(b.host) || local
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// namespaceText is what a namespace is: it becomes a part of keys in Redis.
const namespaceText = `[A-Za-z0-9._-]{1,64}`

var namespace = regexp.MustCompile("^" + namespaceText + "$")

// store checks where the state is kept.
func (v *validator) store() {
	c := v.cfg
	if !v.absent("state", c.State == "") {
		if _, fault := parseStore(c.State); fault != nil {
			v.fault("state", fault.Value, fault.Msg, fault.Hint)
		}
	}
	if !v.absent("namespace", c.Namespace == "") && !namespace.MatchString(c.Namespace) {
		v.fault("namespace", c.Namespace, `want 1 to 64 letters, digits, ".", "_" and "-"`, "")
	}
	v.choice("on_store_loss", "Config.on_store_loss", c.OnStoreLoss)
}

var keyHash = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

const wantHash = `want "sha256:" and 64 hexadecimal digits in lower case, as "headgate key" prints them`

func (v *validator) clients() {
	names, keys := map[string]int{}, map[string]int{}
	known := slices.Sorted(maps.Keys(v.cfg.Upstreams))
	for i, c := range v.cfg.Clients {
		path := item("clients", i)
		if v.needed(path+".name", c.Name == "") {
			if first, twice := names[c.Name]; twice {
				v.fault(path+".name", c.Name, "is also the name of "+item("clients", first), "")
			} else {
				names[c.Name] = i
			}
		}
		if v.needed(path+".key", c.Key == "") {
			first, twice := keys[c.Key]
			switch {
			case !keyHash.MatchString(c.Key): // it may be the key itself: not shown
				v.fault(path+".key", "", wantHash, "")
			case twice:
				v.fault(path+".key", "", "is also the key of "+item("clients", first), "")
			default:
				keys[c.Key] = i
			}
		}
		for j, name := range c.Upstreams {
			if _, ok := v.cfg.Upstreams[name]; !ok {
				v.fault(item(path+".upstreams", j), name, "no upstream has this name", nearest(name, known))
			}
		}
		if c.Priority != nil && (*c.Priority < 0 || *c.Priority > 7) {
			v.fault(path+".priority", strconv.Itoa(*c.Priority), "must be from 0 (most urgent) to 7 (least)", "")
		}
		positive(v, path+".weight", c.Weight)
		v.limits(path+".limits", c.Limits, false)
	}
}

// limits checks a list of limits; only those of an upstream have a scope.
func (v *validator) limits(path string, list []Limit, scoped bool) {
	type counted struct {
		dimension, scope string
		window           int64
		kind             limit.Kind
	}
	seen, paths := map[counted]int{}, 0
	for i, l := range list {
		at, scope := item(path, i), scopeOf(l)
		if !scoped && l.Scope != "" {
			v.fault(at+".scope", l.Scope, "a limit of a client has no scope: it covers the client", "")
		} else if scoped {
			v.scope(at+".scope", scope)
		}
		if strings.HasPrefix(scope, "path:") {
			paths++
		}
		parsed, ok := v.limit(at, l.Limit)
		if !ok {
			continue
		}
		c := counted{parsed.Dimension, scope, int64(parsed.Window), parsed.Kind}
		if first, twice := seen[c]; twice {
			v.fault(v.limitPath(at), l.Limit, "counts the same as "+item("limits", first)+"; keep one", "")
			continue
		}
		seen[c] = i
	}
	if paths > maxPathLimits {
		v.fault(path, "", fmt.Sprintf("at most %d limits of paths, found %d; a path that ends in * covers many", maxPathLimits, paths), "")
	}
}

// maxPathLimits is how many limits of paths a ledger tells apart, a bit each.
const maxPathLimits = 64

func (v *validator) limit(path, text string) (limit.Limit, bool) {
	parsed, err := limit.Parse(text)
	if err == nil {
		return parsed, true
	}
	path = v.limitPath(path)
	se, ok := errors.AsType[*limit.SyntaxError](err)
	switch {
	case text == "" || v.cfg.hidden[path] || !ok: // the reasons quote what was written
		v.fault(path, text, `want a limit such as "50/1m"`, "")
	default:
		v.fault(path, text, se.Why, se.Hint)
	}
	return parsed, false
}

// limitPath is where the text of the limit at path stands: a limit may be
// written as a mapping.
func (v *validator) limitPath(path string) string {
	if sub := path + ".limit"; !v.absent(sub, true) {
		return sub
	}
	return path
}

func (v *validator) scope(path, scope string) {
	words := []string{scopeCredential, scopeUpstream}
	prefix, isPath := strings.CutPrefix(scope, "path:")
	switch {
	case slices.Contains(words, scope):
	case isPath && strings.HasPrefix(prefix, "/") && !strings.Contains(strings.TrimSuffix(prefix, "*"), "*"):
	case isPath:
		v.fault(path, scope, `want a path such as "path:/v1/analyze*": "/" first, "*" at the end alone`, "")
	default:
		v.fault(path, scope, fmt.Sprintf("want %s, %s or path:/prefix*", scopeCredential, scopeUpstream), nearest(scope, words))
	}
}

// The scopes with a name; any other is path:/prefix*.
const (
	scopeCredential = "credential"
	scopeUpstream   = "upstream"
)

// scopeOf is what a limit covers.
func scopeOf(l Limit) string {
	if l.Scope == "" {
		return scopeCredential
	}
	return l.Scope
}

// parseURL reads the address of an upstream. why says what is wrong with it,
// and quotes nothing of it.
func parseURL(text string) (u *url.URL, why string) {
	const want = `want a URL such as "https://api.example.com"`
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, want
	case !slices.Contains([]string{"http", "https", "h2c"}, u.Scheme):
		return nil, want + ", beginning with https://, http:// or h2c://"
	case u.User != nil:
		return nil, "must hold no user or password; use credentials"
	case u.Hostname() == "":
		return nil, want + "; the host is missing"
	case u.RawQuery != "" || u.ForceQuery:
		return nil, `must hold no query ("?"): what follows the upstream's name is put behind it`
	case strings.Contains(text, "#"):
		return nil, `must hold no fragment ("#")`
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil && u.Port() != "" {
		return nil, "the port must be from 0 to 65535"
	}
	return u, ""
}
