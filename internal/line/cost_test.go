package line

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
)

// A resident call keeps line, lane and class from ever being empty while
// clients and lanes come and go by the thousand.
func TestClientsAndLanesAreForgotten(t *testing.T) {
	const names = 50_000
	tests := []struct {
		name  string
		call  func(i int) *Entry
		leave bool
	}{
		{"clients taken", func(i int) *Entry { return &Entry{Client: strconv.Itoa(i)} }, false},
		{"clients left", func(i int) *Entry { return &Entry{Client: strconv.Itoa(i)} }, true},
		{"lanes taken", func(i int) *Entry { return &Entry{Lane: uint64(i) + 1} }, false},
		{"lanes left", func(i int) *Entry { return &Entry{Lane: uint64(i) + 1} }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(Bounds{})
			join(t, l, 0, &Entry{Client: "resident"})
			pass := func(from, to int) {
				window := make([]*Entry, 0, 100) // wait at a time
				for i := from; i < to; i++ {
					e := tt.call(i)
					join(t, l, 0, e)
					if window = append(window, e); len(window) < cap(window) {
						continue
					}
					for _, e := range window {
						if tt.leave {
							l.Leave(e)
						} else {
							l.Take(t0, e)
						}
					}
					window = window[:0]
				}
			}
			pass(0, 10_000)
			before := heapInUse()
			pass(10_000, names)
			if grown := heapInUse() - before; grown > 64<<10 {
				t.Errorf("%d names gone by: heap grew by %d bytes, want at most 64 KiB", names, grown)
			}
			// The resident, and the one that went idle last.
			if l.Len() != 1 || len(l.lanes) > 2 || len(l.byID) > 2 || len(l.byID[0].classes[0].byName) > 2 {
				t.Errorf("%d names gone by: %d calls, %d lanes (%d by id), %d clients, want the resident and at most one more",
					names, l.Len(), len(l.lanes), len(l.byID), len(l.byID[0].classes[0].byName))
			}
		})
	}
}

func TestEmptiedLineGivesMemoryBack(t *testing.T) {
	l := New(Bounds{})
	before := heapInUse()
	for round := range 2 {
		for i := range 20_000 {
			join(t, l, 0, &Entry{Client: fmt.Sprint(round, i), Lane: uint64(i % 1000), Priority: i % 8})
		}
		for range l.All() {
			break
		}
		for e := head(l, t0); e != nil; e = head(l, t0) {
			var lane []*Entry
			l.Heads(t0, func(e *Entry) bool { lane = append(lane, e); return true })
			for _, e := range lane {
				l.Take(t0, e)
			}
		}
	}
	if kept := heapInUse() - before; kept > 1<<20 {
		t.Errorf("after 20,000 calls of as many clients: %d bytes kept, want at most 1 MiB", kept)
	}
	runtime.KeepAlive(l)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// crowd returns a line in which n calls of 100 clients wait.
func crowd(tb testing.TB, n int) (*Line, []*Entry) {
	l, es := New(Bounds{}), make([]*Entry, n)
	for i := range es {
		es[i] = &Entry{Client: strconv.Itoa(i % 100), Priority: 3, Arrived: t0}
		if err := l.Join(t0, es[i]); err != nil {
			tb.Fatal(err)
		}
	}
	return l, es
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	empty, e := New(Bounds{}), &Entry{Client: "a", Priority: 3}
	full, es := crowd(t, 1000)
	lanes := New(Bounds{})
	for i := range 10 {
		join(t, lanes, 0, &Entry{Lane: uint64(i), Priority: i})
	}
	probe := &Entry{Client: "7", Priority: 5, Arrived: t0}
	for name, do := range map[string]func(){
		"Join and Take, alone": func() { _ = empty.Join(t0, e); empty.Take(t0, e) },
		"Leave and Rejoin":     func() { full.Leave(es[500]); full.Rejoin(t0, es[500]) },
		"Take and Join":        func() { h := head(full, t0); full.Take(t0, h); _ = full.Join(t0, h) },
		"Heads of ten lanes":   func() { lanes.Heads(t0, func(*Entry) bool { return true }) },
		"Ahead in line":        func() { full.Ahead(t0, es[500]) },
		"Ahead at the door":    func() { full.Ahead(t0, probe) },
		"All": func() {
			for range full.All() {
			}
		},
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func BenchmarkJoinTakeUncontended(b *testing.B) {
	l, e := New(Bounds{}), &Entry{Client: "web", Priority: 3}
	b.ReportAllocs()
	for b.Loop() {
		e.Arrived = t0
		_ = l.Join(t0, e)
		l.Take(t0, e)
	}
}

func BenchmarkJoinHeadsTake(b *testing.B) {
	for _, waiting := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			l, _ := crowd(b, waiting)
			e := &Entry{Client: "web", Priority: 3}
			b.ReportAllocs()
			for b.Loop() {
				e.Arrived = t0
				_ = l.Join(t0, e)
				e = head(l, t0)
				l.Take(t0, e)
			}
		})
	}
}

func BenchmarkLeaveFromTheMiddle(b *testing.B) {
	l, es := crowd(b, 10_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e := es[i%len(es)]
		i += 7919
		l.Leave(e)
		l.Rejoin(t0, e)
	}
}

func BenchmarkAhead(b *testing.B) {
	l, es := crowd(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		l.Ahead(t0, es[5000])
	}
}
