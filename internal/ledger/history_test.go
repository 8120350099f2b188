package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/limit"
)

const ms = time.Millisecond

var t0 = time.Unix(1_700_000_000, 0).Truncate(time.Minute)

// TestHistories holds invariants 1 and 3 of the ledger, and what belongs to
// them, over a million random steps.
func TestHistories(t *testing.T) {
	const shards, histories, steps = 8, 200, 800
	for shard := range uint64(shards) {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			for i := range uint64(histories) {
				runHistory(t, shard<<32|i, steps)
			}
		})
	}
}

func FuzzHistory(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, uint16(200))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) { runHistory(t, seed, int(steps%2000)) })
}

// attempt is a permit as a history remembers it.
type attempt struct {
	book                       int
	id                         ID
	granted, written, answered time.Time
	epoch                      int   // of the rules, when it was granted
	times                      int64 // attempts left of a permit for several
	several                    bool
	parts                      []part
}

// part is what an attempt takes from one count.
type part struct {
	rule   int
	of     *count
	weight int64 // the least that it was ever said to be
	stated int64 // at last
	to     time.Time
}

// count is all that one tally should know.
type count struct {
	limits   []limit.Limit // by epoch
	attempts []*attempt
	inFlight int64 // weights not ended
}

func (c *count) limit() limit.Limit { return c.limits[len(c.limits)-1] }

// history does random things to a ledger and remembers all of them.
type history struct {
	*rand.Rand
	t      testing.TB
	seed   uint64
	rules  []Rule
	opts   Options
	ledger *Ledger
	books  []*Book
	counts [][]*count // by book and rule; shared ones are the same
	now    time.Time
	open   []*attempt
	epoch  int  // counts configurations
	debts  bool // attempts may turn out heavier than they were said to be
}

func runHistory(t testing.TB, seed uint64, steps int) {
	h := newHistory(t, seed)
	for range steps {
		h.step()
	}
	h.endAll()
	h.checkSafety()
	h.checkNothingLost()
}

func (h *history) fatalf(format string, args ...any) {
	h.t.Helper()
	var rules []string
	for _, r := range h.rules {
		rules = append(rules, fmt.Sprintf("%s (scope %d %s)", r.Limit, r.Scope, r.Path))
	}
	h.t.Fatalf("seed %d, %s, %+v, after %v: %s", h.seed, strings.Join(rules, ", "), h.opts, h.now.Sub(t0), fmt.Sprintf(format, args...))
}

func newHistory(t testing.TB, seed uint64) *history {
	h := &history{Rand: rand.New(rand.NewPCG(seed, 1)), t: t, seed: seed, now: t0}
	for range 1 + h.IntN(4) {
		h.rules = append(h.rules, h.rule())
	}
	h.opts = Options{Strict: h.IntN(4) == 0, Shared: h.IntN(3) == 0}
	if h.IntN(3) == 0 {
		h.opts.Reserve = 0.3
	}
	h.debts = h.IntN(4) == 0
	h.ledger = New(h.rules, h.opts, h.now)
	for i := range 1 + h.IntN(3) {
		h.books = append(h.books, h.ledger.Book(fmt.Sprint(i), h.now))
		counts := make([]*count, len(h.rules))
		for j, r := range h.rules {
			if r.Scope == PerUpstream && i > 0 {
				counts[j] = h.counts[0][j]
			} else {
				counts[j] = &count{limits: []limit.Limit{r.Limit}}
			}
		}
		h.counts = append(h.counts, counts)
	}
	if h.opts.Shared {
		h.share()
	}
	return h
}

func (h *history) rule() Rule {
	window := []time.Duration{5 * ms, 100 * ms, time.Second, 3 * time.Second, time.Minute}[h.IntN(5)]
	l := limit.Limit{Dimension: limit.Requests, Window: window, Kind: limit.Kind(h.IntN(4)), N: 1 + h.Int64N(12)}
	if h.IntN(3) == 0 {
		l.Dimension, l.N = limit.Tokens, 10+h.Int64N(90)
	}
	switch l.Kind {
	case limit.Bucket:
		l.Burst = max(1+h.Int64N(2*l.N), l.N/3)
		if h.IntN(2) == 0 { // more arrive within the spread
			l.N *= 10 + h.Int64N(200)
		}
	case limit.Concurrent:
		l.Dimension, l.Window, l.N = limit.InFlight, 0, 1+h.Int64N(8)
	}
	r := Rule{Limit: l}
	switch h.IntN(4) {
	case 0:
		r.Scope = PerUpstream
	case 1:
		r.Scope, r.Path = PerPath, []string{"/a", "/b*", "/*"}[h.IntN(3)]
	}
	return r
}

func (h *history) step() {
	if h.IntN(100) == 0 {
		h.configure()
	}
	if h.opts.Shared && h.IntN(20) == 0 {
		h.share()
	}
	switch h.IntN(10) {
	case 0:
		h.now = h.now.Add(h.pause())
	case 1, 2, 3:
		h.grant()
	case 4:
		if a := h.any(); a != nil {
			h.write(a)
		}
	case 5:
		if a := h.any(); a != nil {
			h.answer(a)
		}
	case 6:
		if a := h.any(); a != nil {
			h.settle(a)
		}
	case 7:
		if a := h.any(); a != nil {
			h.end(a)
		}
	case 8:
		if a := h.any(); a != nil && a.times > 0 && (a.written.IsZero() || !a.answered.IsZero()) {
			h.part(a)
		}
	case 9:
		if h.IntN(4) == 0 {
			h.tell()
		}
	}
}

// tell has an answer tell of one of the limits, which may be lower than it was
// configured.
func (h *history) tell() {
	l := h.rules[h.IntN(len(h.rules))].Limit
	f := Fact{Dimension: l.Dimension, N: h.Int64N(l.N + 3), Remaining: h.Int64N(l.N+3) - 1, Reset: -1, Window: l.Window}
	if h.IntN(2) == 0 {
		f.Reset = h.pause()
	}
	h.books[h.IntN(len(h.books))].Tell(h.now, []Fact{f})
}

// tellAll has the upstream say that there is all that was configured, and more:
// limits of one dimension and window are told together.
func (h *history) tellAll() {
	for _, b := range h.books {
		for _, r := range h.rules {
			b.Tell(h.now, []Fact{{Dimension: r.Limit.Dimension, N: mostN, Remaining: -1, Reset: -1, Window: r.Limit.Window}})
		}
	}
}

// configure puts the same rules in force with other numbers.
func (h *history) configure() {
	h.rules = slices.Clone(h.rules)
	for i := range h.rules {
		l := &h.rules[i].Limit
		if h.IntN(2) == 0 {
			l.N = max(l.N*(1+h.Int64N(8))/4, 1)
		}
		if l.Kind == limit.Bucket && h.IntN(2) == 0 {
			l.Burst = max(l.Burst*(1+h.Int64N(8))/4, 1)
		}
	}
	h.epoch++
	h.ledger.Configure(h.rules, h.opts, h.now)
	seen := map[*count]bool{}
	for _, counts := range h.counts {
		for j, c := range counts {
			if !seen[c] {
				c.limits = append(c.limits, h.rules[j].Limit)
			}
			seen[c] = true
		}
	}
}

func unchanged(a, b Status) bool {
	return a.Rule == b.Rule && a.Used == b.Used && a.Spread == b.Spread && (a.Share == nil || *a.Share == *b.Share)
}

// pause is a time that means something to one of the rules.
func (h *history) pause() time.Duration {
	w := h.rules[h.IntN(len(h.rules))].Limit.Window
	if w == 0 {
		w = time.Second
	}
	switch h.IntN(5) {
	case 0:
		return 1
	case 1:
		return time.Duration(h.Int64N(int64(30 * ms)))
	case 2:
		return w
	default:
		return time.Duration(h.Int64N(int64(w / 4)))
	}
}

func (h *history) any() *attempt {
	if len(h.open) == 0 {
		return nil
	}
	return h.open[h.IntN(len(h.open))]
}

func (h *history) ask() Ask {
	ask := Ask{Modest: h.IntN(3) == 0, Paths: h.ledger.Paths([]string{"/a", "/b", "/bc"}[h.IntN(3)])}
	if h.IntN(2) == 0 {
		ask.Cost = Cost{limit.Tokens: h.Int64N(12)}
	}
	if h.IntN(3) == 0 {
		ask.Pressed = h.now.Add(-time.Minute)
	}
	if h.IntN(4) == 0 {
		ask.Times = h.Int64N(6)
	}
	return ask
}

// grant asks for a permit and takes it. If there is none it may wait for the
// moment that it is told.
func (h *history) grant() {
	i := h.IntN(len(h.books))
	book, ask := h.books[i], h.ask()
	if book.TooHeavy(&ask) != "" {
		return
	}
	check := h.IntN(16) == 0
	var before []Status
	if check {
		before = book.Status(h.now)
	}
	wait, ok := book.Ready(h.now, &ask)
	if !ok {
		if check && !slices.EqualFunc(before, book.Status(h.now), unchanged) {
			h.fatalf("a refusal changed %+v to %+v", before, book.Status(h.now))
		}
		if !wait.At.IsZero() && !wait.At.After(h.now) {
			h.fatalf("not ready before %v, which has passed", wait.At)
		}
		if ramp := ask.Times > 1 && wait.Limit == ""; wait.At.IsZero() && len(h.open) == 0 && !ramp && !h.opts.Shared {
			h.fatalf("no moment is known, and nothing is in flight")
		}
		if !wait.At.IsZero() && h.IntN(4) == 0 && wait.At.Before(h.now.Add(time.Hour)) {
			h.now = wait.At.Add(-time.Duration(h.IntN(2)))
		}
		return
	}
	times := max(ask.Times, 1)
	a := &attempt{book: i, granted: h.now, epoch: h.epoch, times: times, several: times > 1, id: book.Grant(h.now, &ask)}
	for j, r := range h.rules {
		w, named := ask.Cost[r.Limit.Dimension]
		if !named {
			w = 1
		}
		w *= times
		if r.Scope == PerPath && ask.Paths&book.tallies[j].pathBit == 0 {
			continue
		}
		c := h.counts[i][j]
		c.attempts = append(c.attempts, a)
		if c.inFlight += w; r.Limit.Kind == limit.Concurrent && c.inFlight > r.Limit.N {
			h.fatalf("%d in flight under %s", c.inFlight, r.Limit)
		}
		if t := book.tallies[j]; t.shared && w > 0 && t.meter.Used(h.now) > t.share.target {
			h.fatalf("%d of %s used, of which %d may be taken", t.meter.Used(h.now), r.Limit, t.share.target)
		}
		a.parts = append(a.parts, part{rule: j, of: c, weight: w, stated: w})
	}
	h.open = append(h.open, a)
	h.checkInFlight(i)
}

func (h *history) write(a *attempt) {
	if a.written.IsZero() && a.answered.IsZero() {
		a.written = h.now
		for i := range a.parts {
			p := &a.parts[i]
			p.to = h.now.Add(h.books[a.book].tallies[p.rule].spread.d) // at least: more in a burst
		}
	}
	h.books[a.book].Written(h.now, a.id)
}

func (h *history) answer(a *attempt) {
	book := h.books[a.book]
	if a.answered.IsZero() {
		a.answered = h.now
		for i := range a.parts {
			if p := &a.parts[i]; p.to.IsZero() || h.now.Before(p.to) {
				p.to = h.now
			}
		}
	}
	book.Answered(h.now, a.id)
	switch h.IntN(12) {
	case 0:
		book.Throttled(h.now, a.id, h.pause())
	case 1:
	default:
		book.Accepted(h.now, a.id)
	}
}

// part ends some attempts of a permit that was not written as a whole, or was
// answered.
func (h *history) part(a *attempt) {
	k, sent := 1+h.Int64N(a.times), h.IntN(2) == 0
	h.books[a.book].Part(h.now, a.id, k, sent)
	gone := &attempt{book: a.book, granted: a.granted, epoch: a.epoch}
	for i := range a.parts {
		p := &a.parts[i]
		w := p.stated / a.times * k
		p.stated -= w
		p.of.inFlight -= w
		of := *p
		of.weight = min(w, p.weight)
		p.weight = min(p.weight, p.stated)
		if sent && of.to.IsZero() {
			of.to = h.now
		}
		gone.parts = append(gone.parts, of)
		p.of.attempts = append(p.of.attempts, gone)
	}
	a.times -= k
	h.checkInFlight(a.book)
}

func (h *history) settle(a *attempt) {
	if h.debts && a.several {
		return // which of them was too light?
	}
	w := h.Int64N(12)
	for i := range a.parts {
		p := &a.parts[i]
		if p.of.limit().Dimension != limit.Tokens {
			continue
		}
		if !h.debts {
			w = min(w, p.stated)
		}
		p.stated, p.weight = w, min(p.weight, w)
	}
	h.books[a.book].Settle(h.now, a.id, Cost{limit.Tokens: w})
}

func (h *history) end(a *attempt) {
	book := h.books[a.book]
	book.End(h.now, a.id)
	if !book.Ended(a.id) {
		h.fatalf("a permit has not ended that was ended")
	}
	for i := range a.parts {
		a.parts[i].of.inFlight -= a.parts[i].stated
	}
	h.open = slices.DeleteFunc(h.open, func(b *attempt) bool { return a == b })
	// What comes late does nothing.
	for range h.IntN(3) {
		switch h.IntN(5) {
		case 0:
			book.End(h.now, a.id)
		case 1:
			book.Written(h.now, a.id)
		case 2:
			book.Answered(h.now, a.id)
		case 3:
			book.Settle(h.now, a.id, Cost{limit.Tokens: 50, limit.InFlight: 9})
		case 4:
			book.Accepted(h.now, a.id)
		}
	}
}

func (h *history) endAll() {
	for len(h.open) > 0 {
		h.end(h.any())
	}
}
