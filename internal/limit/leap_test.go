package limit

import (
	"testing"
	"time"
	"unsafe"
)

// leap returns t with its wall clock set forward by d, in whole seconds, and
// its monotonic reading as it was. Package time offers no way to do that.
func leap(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	after := at
	// The first word of a Time with a monotonic reading is a flag, 33 bits of
	// seconds and 30 bits of nanoseconds.
	*(*uint64)(unsafe.Pointer(&after)) += uint64(d/time.Second) << 30
	if after.Sub(at) != 0 || after.Round(0).Sub(at.Round(0)) != d {
		t.Skip("this version of Go keeps its times otherwise")
	}
	return after
}

// realStart returns a moment with a monotonic reading, at a full minute.
func realStart() time.Time {
	now := time.Now()
	return now.Add(-time.Duration(now.UnixNano() % int64(time.Minute)))
}

func TestFixedKeepsToTheWallClockOfRealMoments(t *testing.T) {
	start := realStart()
	for name, clock := range map[string]func(time.Duration) time.Time{
		"monotonic": start.Add,
		"wall":      start.Round(0).Add,
		"both": func(d time.Duration) time.Time {
			if now := start.Add(d); d%(2*time.Second) == 0 {
				return now
			} else {
				return now.Round(0)
			}
		},
	} {
		m := NewMeter(mustParse(t, "5/1m fixed"), clock(-17*time.Second), 0)
		granted := map[int64]int{} // by wall clock minute
		for at := -17 * time.Second; at < 10*time.Minute; at += time.Second {
			now := clock(at)
			if ready, known := m.Ready(now, 1, 0); known && !ready.After(now) {
				m.Count(now, Span{now, now}, 1)
				granted[now.Unix()/60]++
			} else if want := now.Add(time.Minute).Truncate(time.Minute); !ready.Equal(want) {
				t.Fatalf("%s: at %v ready at %v, want %v", name, now, ready, want)
			}
		}
		for minute, n := range granted {
			if n != 5 {
				t.Errorf("%s: %d in minute %d, want 5", name, n, minute)
			}
		}
	}
}

func TestFixedGrantsNoBurstWhenTheWallClockLeaps(t *testing.T) {
	start := realStart()
	for _, d := range []time.Duration{time.Second, 10 * time.Second, 30 * time.Second, 59 * time.Second, 61 * time.Second, time.Hour, -time.Second, -10 * time.Second, -45 * time.Second, -time.Hour} {
		m := NewMeter(mustParse(t, "5/1m fixed"), start, 0)
		var grants []time.Duration
		for at := time.Duration(0); at < 10*time.Minute; at += time.Second {
			now := start.Add(at)
			if at >= 10*time.Second {
				now = leap(t, now, d)
			}
			for ready, _ := m.Ready(now, 1, 0); !ready.After(now); ready, _ = m.Ready(now, 1, 0) {
				m.Count(now, Span{now, now}, 1)
				grants = append(grants, at)
			}
		}
		for i := 5; i < len(grants); i++ {
			if gap := grants[i] - grants[i-5]; gap < 30*time.Second {
				t.Errorf("leap by %v: 6 in %v from %v on, want half a window at least between quotas", d, gap, grants[i-5])
			}
		}
		if len(grants) < 45 || len(grants) > 55 {
			t.Errorf("leap by %v: %d in ten minutes, want 50, or a quota more or less", d, len(grants))
		}
		last := start.Add(grants[len(grants)-1]).Add(d)
		if last.Unix()%60 != 0 {
			t.Errorf("leap by %v: the last window began at %v, want a minute of the new wall clock", d, last)
		}
	}
}

// A clock that is slewed while nobody asks must not keep a window from ending.
func TestFixedWindowsEndWhileTheWallClockDrifts(t *testing.T) {
	start := realStart()
	m := NewMeter(mustParse(t, "5/1h fixed"), start, 0)
	for i := range 20 {
		// The wall clock gains a second in each window.
		now := leap(t, start.Add(time.Duration(i)*(time.Hour-time.Second)), time.Duration(i)*time.Second)
		if ready, known := m.Ready(now, 5, 0); !known || ready.After(now) {
			t.Fatalf("window %d: 5 ready in %v, %v, want at once", i, ready.Sub(now), known)
		}
		m.Count(now, Span{now, now}, 5)
	}
}
