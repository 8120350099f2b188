package line

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is the line as a slice. It knows the same rules and none of the means.
type model struct {
	bounds Bounds
	calls  []*Entry            // in order of Join; a retry where it was
	gone   []*Entry            // taken, may come back
	order  map[*Entry]int      // join order
	pass   map[seat]int64      // of clients that have calls
	floor  map[[2]uint64]int64 // lane, class: pass of the last turn in order
}

// seat is where a client stands for its turn.
type seat struct {
	lane   uint64
	class  int
	client string
}

func seatOf(e *Entry) seat {
	return seat{e.Lane, min(max(e.Priority, 0), 7), e.Client}
}

func (s seat) room() [2]uint64 { return [2]uint64{s.lane, uint64(s.class)} }

func strideOf(e *Entry) int64 { return 16 * 720720 / int64(max(e.Weight, 1)) }

func (m *model) bytes() (sum int64) {
	for _, e := range m.calls {
		sum += e.Bytes
	}
	return sum
}

func (m *model) full(e *Entry) bool {
	return m.bounds.MaxLength > 0 && len(m.calls)+1 > m.bounds.MaxLength ||
		m.bounds.MaxBytes > 0 && m.bytes()+e.Bytes > m.bounds.MaxBytes
}

func (m *model) add(e *Entry) {
	m.calls = append(m.calls, e)
	if s := seatOf(e); m.count(func(x *Entry) bool { return seatOf(x) == s }) == 1 {
		m.pass[s] = m.floor[s.room()] + strideOf(e)
	}
}

func (m *model) count(holds func(*Entry) bool) (n int) {
	for _, e := range m.calls {
		if holds(e) {
			n++
		}
	}
	return n
}

func (m *model) drop(e *Entry) {
	i := slices.Index(m.calls, e)
	m.calls = slices.Delete(m.calls, i, i+1)
	s := seatOf(e)
	if m.count(func(x *Entry) bool { return seatOf(x) == s }) == 0 {
		delete(m.pass, s)
	}
	if m.count(func(x *Entry) bool { return seatOf(x).room() == s.room() }) == 0 {
		delete(m.floor, s.room())
	}
}

func (m *model) take(e *Entry) {
	s := seatOf(e)
	if m.fair(s.room()) == m.first(s) {
		m.floor[s.room()] = m.pass[s]
	}
	m.pass[s] = m.floor[s.room()] + strideOf(e)
	m.drop(e)
	m.gone = append(m.gone, e)
}

// older reports whether a arrived before b; b may be nil.
func (m *model) older(a, b *Entry) bool {
	return b == nil || a.Arrived.Before(b.Arrived) || a.Arrived.Equal(b.Arrived) && m.order[a] < m.order[b]
}

// due reports whether a precedes b between classes; b may be nil.
func (m *model) due(now time.Time, a, b *Entry) bool {
	if b == nil {
		return true
	}
	level := func(e *Entry) int {
		p := seatOf(e).class
		for waited := now.Sub(e.Arrived); waited >= 10*time.Second && p > 0; waited -= 10 * time.Second {
			p--
		}
		return p
	}
	if level(a) != level(b) {
		return level(a) < level(b)
	}
	return m.older(a, b)
}

// first returns the oldest call at a seat.
func (m *model) first(s seat) (first *Entry) {
	for _, e := range m.calls {
		if seatOf(e) == s && m.older(e, first) {
			first = e
		}
	}
	return first
}

// fair returns the first call of the client whose turn it is in a class.
func (m *model) fair(room [2]uint64) (next *Entry) {
	for s, pass := range m.pass {
		if s.room() != room {
			continue
		}
		e := m.first(s)
		if next == nil || pass < m.pass[seatOf(next)] || pass == m.pass[seatOf(next)] && m.older(e, next) {
			next = e
		}
	}
	return next
}

// heads returns the head of each lane, in order.
func (m *model) heads(now time.Time) (heads []*Entry) {
	var lanes []uint64
	for _, e := range m.calls {
		if !slices.Contains(lanes, e.Lane) {
			lanes = append(lanes, e.Lane)
		}
	}
	for _, lane := range lanes {
		var best *Entry // of the lane
		for _, e := range m.calls {
			if e.Lane == lane && m.due(now, e, best) {
				best = e
			}
		}
		room, head := seatOf(best).room(), m.fair(seatOf(best).room())
		for _, e := range m.calls {
			if e.Lane == lane && seatOf(e).room() != room && !m.due(now, head, e) {
				head = best
				break
			}
		}
		heads = append(heads, head)
	}
	slices.SortFunc(heads, func(a, b *Entry) int {
		if m.due(now, a, b) {
			return -1
		}
		return 1
	})
	return heads
}

// history plays a history that script chooses, byte by byte, on a line and on
// the model, and compares them after each step.
func history(t *testing.T, script []byte) {
	next := func(n int) int { // below n; 0 at the end of the script
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b) % n
	}
	l, now := New(Bounds{}), t0
	m := &model{order: map[*Entry]int{}, pass: map[seat]int64{}, floor: map[[2]uint64]int64{}}
	weights := []int{0, 1, 1, 2, 3, 7, 100}

	for step := 0; len(script) > 0; step++ {
		did := ""
		switch op := next(12); op {
		case 0:
			now = now.Add(time.Duration(next(80)) * 100 * time.Millisecond)
			did = fmt.Sprint("now ", now)
		case 1:
			m.bounds = Bounds{MaxLength: next(20), MaxBytes: int64(next(200))}
			l.SetBounds(m.bounds)
			did = fmt.Sprintf("SetBounds %+v", m.bounds)
		case 2, 3:
			if len(m.calls) == 0 {
				continue
			}
			e := m.calls[next(len(m.calls))]
			if op == 2 {
				m.drop(e)
				if !l.Leave(e) {
					t.Fatalf("step %d: Leave(%+v) = false, want true", step, *e)
				}
				did = fmt.Sprintf("Leave %+v", *e)
			} else { // out of order
				m.take(e)
				l.Take(now, e)
				did = fmt.Sprintf("Take %+v", *e)
			}
		case 4, 5, 6:
			heads := m.heads(now)
			if len(heads) == 0 {
				continue
			}
			e := heads[next(len(heads))]
			m.take(e)
			l.Take(now, e)
			did = fmt.Sprintf("Take head %+v", *e)
		case 7:
			if len(m.gone) == 0 {
				continue
			}
			i := next(len(m.gone))
			e := m.gone[i]
			m.gone = slices.Delete(m.gone, i, i+1)
			m.add(e)
			l.Rejoin(now, e)
			did = fmt.Sprintf("Rejoin %+v", *e)
		default:
			e := &Entry{
				Client:   string(rune('a' + next(5))),
				Weight:   weights[next(len(weights))],
				Priority: next(12) - 2,
				Lane:     uint64(next(3)),
				Bytes:    int64(next(30)),
				Arrived:  now.Add(-time.Duration(next(3)) * time.Second),
			}
			want := m.full(e)
			err := l.Join(now, e)
			if (err == ErrFull) != want {
				t.Fatalf("step %d: Join(%+v) to %d calls, %d bytes in %+v = %v, want full: %v", step, *e, len(m.calls), m.bytes(), m.bounds, err, want)
			}
			if !want {
				m.order[e] = len(m.order)
				m.add(e)
			}
			did = fmt.Sprintf("Join %+v", *e)
		}
		compare(t, l, m, now, fmt.Sprintf("step %d, after %s", step, did))
	}
}

func compare(t *testing.T, l *Line, m *model, now time.Time, where string) {
	t.Helper()
	if l.Len() != len(m.calls) || l.Bytes() != m.bytes() {
		t.Fatalf("%s: %d calls, %d bytes, want %d and %d", where, l.Len(), l.Bytes(), len(m.calls), m.bytes())
	}
	all := map[*Entry]bool{}
	for e := range l.All() {
		if all[e] || !slices.Contains(m.calls, e) {
			t.Fatalf("%s: All yields %+v, which is there twice or not at all", where, *e)
		}
		all[e] = true
	}
	if len(all) != len(m.calls) {
		t.Fatalf("%s: All yields %d calls, want %d", where, len(all), len(m.calls))
	}
	var got []*Entry
	l.Heads(now, func(e *Entry) bool { got = append(got, e); return true })
	want := m.heads(now)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: heads\n got %s\nwant %s", where, show(got), show(want))
	}
	for _, h := range got { // what the rules promise, whatever both sides made of them
		for _, e := range m.calls {
			switch {
			case e == h || e.Lane != h.Lane:
			case seatOf(e) == seatOf(h) && m.older(e, h):
				t.Fatalf("%s: head %+v, but %+v of the same client is older", where, *h, *e)
			case seatOf(e).class != seatOf(h).class && m.due(now, e, h):
				t.Fatalf("%s: head %+v, but %+v of another class is more urgent", where, *h, *e)
			}
		}
	}
	for _, e := range m.calls {
		if n := l.Ahead(now, e); n < 0 || n >= len(m.calls) {
			t.Fatalf("%s: Ahead(%+v) = %d of %d calls", where, *e, n, len(m.calls))
		}
	}
}

func show(es []*Entry) (s string) {
	for _, e := range es {
		s += fmt.Sprintf("%+v; ", *e)
	}
	return s
}

func TestRandomHistoriesAgreeWithModel(t *testing.T) {
	for seed := range uint64(60) {
		history(t, randomScript(seed, 1500))
	}
}

func FuzzHistoryAgreesWithModel(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(randomScript(seed, 300))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		history(t, script[:min(len(script), 2000)])
	})
}

func randomScript(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	script := make([]byte, n)
	for i := range script {
		script[i] = byte(rng.Uint32())
	}
	return script
}

// Where one class waits in a lane, and a client's weight does not change, Ahead
// is not about, but exactly, how many go before.
func TestAheadIsExactInOneClass(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		l := New(Bounds{})
		var es []*Entry
		for i := range 120 {
			client := rng.IntN(6)
			e := &Entry{Client: fmt.Sprint(client), Weight: 1 + client%4, Arrived: after(float64(rng.IntN(60))), Value: i}
			join(t, l, 60, e)
			es = append(es, e)
			if rng.IntN(3) == 0 { // so that passes and trees have a past
				if e := es[rng.IntN(len(es))]; l.Leave(e) && rng.IntN(2) == 0 {
					l.Rejoin(after(60), e)
				}
				if e := head(l, after(60)); e != nil {
					l.Take(after(60), e)
				}
			}
		}
		want := map[*Entry]int{}
		for e := range l.All() {
			want[e] = l.Ahead(after(60), e)
		}
		// The last to ask is not in line yet.
		late := &Entry{Client: fmt.Sprint(rng.IntN(8)), Weight: 1, Arrived: after(float64(rng.IntN(70)))}
		if late.Client < "6" {
			late.Weight = 1 + int(late.Client[0]-'0')%4
		}
		n := l.Ahead(after(60), late)
		join(t, l, 60, late)
		if again := l.Ahead(after(60), late); again != n {
			t.Errorf("seed %d: Ahead(%+v) = %d about to join, %d after", seed, *late, n, again)
		}
		l.Leave(late)
		for i := 0; l.Len() > 0; i++ {
			e := head(l, after(60))
			if want[e] != i {
				t.Errorf("seed %d: Ahead(%+v) = %d, was taken after %d", seed, *e, want[e], i)
			}
			l.Take(after(60), e)
		}
	}
}
