// Package dialect says what an upstream's answer means: whether it is ok,
// throttled, overloaded or fatal, whether the call may be repeated, how long the
// answer asks to wait, and what it tells of limits.
//
// A dialect is the way one family of upstreams says so. The generic one follows
// the standards and what most servers do; a family that deviates is a type of
// its own, in a file of its own, that joins the list in registry.go.
//
// A dialect knows nothing of clocks, networks or policies. The moment is an
// argument, and what to do about a reading (jitter, ceilings, backoff, budget)
// is decided by package retry and by the ledger.
//
// Nothing an upstream sends makes a dialect panic or fail: a malformed field is
// no signal. All functions and dialects are safe for use by many goroutines.
package dialect

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxWait bounds every wait and reset: what an answer asks for beyond it reads
// as MaxWait. Ignoring a huge wait would mean hammering an upstream that said
// no; giving up on it is up to the caller.
const MaxWait = 366 * 24 * time.Hour

// The scopes of a wait: all calls of a credential, or all calls to an upstream,
// whichever credential they have. The others are narrower, and are a word with a
// name behind it: ModelScope + "gpt-4o", RouteScope + "/search".
const (
	Credential = "credential"
	Provider   = "provider"
	ModelScope = "model:"
	RouteScope = "route:"
)

// A Class says what an answer means for the call.
type Class uint8

// The classes.
const (
	OK         Class = iota // nothing to react to, though limits may be told
	Throttled               // too many: nothing was done, waiting helps
	Overloaded              // not now: the attempt may have been done, waiting helps
	Fatal                   // repeating cannot help
)

// String returns the class as logs, metrics and output write it.
func (c Class) String() string {
	switch c {
	case OK:
		return "ok"
	case Throttled:
		return "throttled"
	case Overloaded:
		return "overloaded"
	case Fatal:
		return "fatal"
	}
	return "class " + strconv.Itoa(int(c))
}

// Answer is an upstream's response and what a dialect must know of the request.
type Answer struct {
	Method string      // of the request; "" is GET
	Host   string      // of the request, with or without port
	Path   string      // of the request
	Model  string      // that the request's body asks for; "" if it is not known
	Status int         // of the response
	Header http.Header // of the response, keys in canonical form
	Body   []byte      // start of the response body, decoded; may be nil
	HasKey bool        // the request carried an Idempotency-Key
}

// Reading is what a dialect made of an answer. It holds on to strings of the
// answer's header, but not to its body.
type Reading struct {
	Dialect   string
	Class     Class
	Retryable bool          // the call may be repeated; false for OK and Fatal
	Told      bool          // the server itself said whether it may
	Wait      time.Duration // what the answer asks for, in whole ms; valid if HasWait; 0 to MaxWait
	HasWait   bool          // only if Class is Throttled or Overloaded
	Scope     string        // what the wait is about: Credential, Provider, "model:…" or "route:…"
	Limits    []Limit       // what the answer tells of limits; each dimension once

	status  int
	repeats bool   // repeating changes no state, whatever the method
	cached  bool   // limits are ignored: the answer comes from a cache
	byClass signal // besides the status
	byWait  signal
	byRetry signal // besides the class and an idempotent method
}

// Limit is what an answer tells of one limit. Its numbers are the upstream's
// claims: upper bounds, not promises.
type Limit struct {
	Dimension string        // unit, then ":name" if the upstream names the limit, as "requests" or "requests:daily"
	Limit     int64         // -1 unknown
	Remaining int64         // -1 unknown
	Reset     time.Duration // until more, or all, of it is back, in whole ms; 0 to MaxWait; -1 unknown
	Window    time.Duration // in which Limit may be used; 0 unknown, or a limit without a window
}

// Dialect reads the answers of one family of upstreams.
type Dialect interface {
	// Name is what configurations call the dialect.
	Name() string
	// Read says what an answer means that arrived at now.
	Read(a Answer, now time.Time) Reading
	// BodyMaxOf returns how many bytes of the body Read can use of this answer,
	// whose Body is not looked at; 0 if none.
	BodyMaxOf(a Answer) int
}

// A signal is the part of an answer that decided something: a header field or
// a member of the body, and its text. The zero signal is none.
type signal struct {
	name, value string
}

func (s signal) String() string {
	if s.value == "" {
		return s.name
	}
	return s.name + " " + quote(s.value)
}

// Why says in one sentence which signals decided the class, the wait, and
// whether the call may be repeated. The sentence is built when it is asked for.
func (r Reading) Why() string {
	var b strings.Builder
	b.WriteString("Status ")
	b.WriteString(strconv.Itoa(r.status))
	if r.byClass != (signal{}) {
		b.WriteString(" with " + r.byClass.String())
	}
	b.WriteString(" means " + r.Class.String())
	if r.Class == Throttled || r.Class == Overloaded {
		if r.HasWait {
			b.WriteString("; " + r.byWait.String() + " asks for a wait of " + r.Wait.String())
		} else {
			b.WriteString("; nothing says how long to wait")
		}
		if r.byRetry != (signal{}) {
			b.WriteString("; " + r.byRetry.String())
			if r.Retryable {
				b.WriteString(" allows a retry")
			} else {
				b.WriteString(" forbids a retry")
			}
		}
	}
	if r.cached {
		b.WriteString("; limits are ignored, because its Age shows that it comes from a cache")
	}
	b.WriteByte('.')
	return b.String()
}

// quote quotes foreign text for people, cut to a readable length.
func quote(s string) string {
	const most = 80 // bytes
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
