// Package ledger keeps all limits of an upstream as one: a permit is taken from
// every limit that covers an attempt, or from none.
//
// A Ledger holds a Book per credential. A book knows which attempts are in
// flight and which the upstream may still be counting, and says when the next
// one may start. It learns how long after being written an attempt may be
// counted (the arrival spread), paces attempts under lasting pressure, and
// holds everything back during a pause.
//
// This is the near ledger, in memory, and plain arithmetic: the moment is an
// argument, nothing waits, and the owner's lock guards it. Package line says
// whose turn it is; package headgate joins the two.
package ledger

import (
	"strings"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

// Cost is what an attempt weighs, by dimension. Dimensions that are not named
// weigh 1.
type Cost map[string]int64

// Scope says what shares one count of a limit.
type Scope uint8

// Scopes, as people write them.
const (
	PerCredential Scope = iota // credential
	PerUpstream                // upstream: all credentials together
	PerPath                    // path:/prefix*: the calls of a credential to these paths
)

// Rule is a limit and what it covers.
type Rule struct {
	Limit limit.Limit
	Scope Scope
	Path  string // of PerPath: a path, or a prefix that ends in *

	Source Source // of the limit's number
}

// Source says how a limit came to be known.
type Source uint8

// The sources.
const (
	Configured Source = iota
	Told              // by the upstream's answers
	Guessed           // from what the upstream refuses
)

// String returns the source as people read it.
func (s Source) String() string {
	switch s {
	case Told:
		return "told"
	case Guessed:
		return "learned"
	}
	return "configured"
}

func (r Rule) covers(path string) bool {
	if prefix, ok := strings.CutSuffix(r.Path, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return path == r.Path
}

// same says whether what was counted under r still counts under q.
func (r Rule) same(q Rule) bool {
	return r.Scope == q.Scope && r.Path == q.Path && r.Source == q.Source && r.Limit.Kind == q.Limit.Kind &&
		r.Limit.Dimension == q.Limit.Dimension && r.Limit.Window == q.Limit.Window
}

// MaxPathRules is how many rules of a ledger may be PerPath. Those beyond cover
// nothing; package config refuses them.
const MaxPathRules = 64

// Options are the settings of a ledger besides its rules.
type Options struct {
	Strict  bool    // an attempt counts until it was answered, whatever the spread
	Reserve float64 // share of every limit that is kept for urgent calls
	Learn   bool    // limits are learned from answers: no rule is Configured
	Shared  bool    // other instances use the limits too: nothing may be used of one before Parts.Set
}

// Ledger keeps the books of one quota. It is safe for use by one goroutine at
// a time, and so are its books.
type Ledger struct {
	opts   Options
	rules  []Rule
	shared []*tally // of PerUpstream rules, by index; nil for the others
	books  map[string]*Book

	narrowed uint64 // narrow pauses so far
}

// New returns a ledger in which nothing is counted.
func New(rules []Rule, opts Options, now time.Time) *Ledger {
	l := &Ledger{books: make(map[string]*Book)}
	l.Configure(rules, opts, now)
	return l
}

// Configure puts other rules in force. Limits that differ only in their number
// keep their count.
func (l *Ledger) Configure(rules []Rule, opts Options, now time.Time) {
	shared := l.shared
	l.rules, l.opts = rules, opts
	l.shared = make([]*tally, len(rules))
	for i, r := range rules {
		if r.Scope == PerUpstream {
			l.shared[i] = adopt(shared, r, opts.Shared, now)
		}
	}
	for _, b := range l.books {
		b.configure(now)
	}
}

// Learns reports whether limits are learned from answers.
func (l *Ledger) Learns() bool { return l.opts.Learn }

// Book returns the book of a credential, named by a string that only has to be
// the credential's own.
func (l *Ledger) Book(credential string, now time.Time) *Book {
	b := l.books[credential]
	if b == nil {
		b = &Book{ledger: l}
		b.configure(now)
		l.books[credential] = b
	}
	return b
}

// Books calls yield with each credential and its book.
func (l *Ledger) Books(yield func(string, *Book) bool) {
	for name, b := range l.books {
		if !yield(name, b) {
			return
		}
	}
}

// Paths returns which PerPath rules cover a path, as an Ask wants them.
func (l *Ledger) Paths(path string) (set uint64) {
	bit := uint64(1)
	for _, r := range l.rules {
		if r.Scope != PerPath {
			continue
		}
		if r.covers(path) {
			set |= bit
		}
		bit <<= 1
	}
	return set
}

// Keep forgets the books that keep says no to and in which nothing is counted.
func (l *Ledger) Keep(keep func(credential string) bool, now time.Time) {
	for name, b := range l.books {
		if !keep(name) && b.Idle(now) {
			delete(l.books, name)
		}
	}
}
