package lease

import (
	"testing"
	"time"
)

// forget empties the store.
func (k *talk) forget() { k.account = NewAccount() }

// wantRepair has instances beat, each with what it keeps, and checks how long
// nobody is given more.
func (k *talk) wantRepair(what string, soonest, latest time.Duration, ids ...string) {
	k.Helper()
	from := k.now
	for repair := true; repair && k.now < from+time.Minute; {
		k.now += Beat / 5
		for _, id := range ids {
			repair = k.report(id).Repair
		}
	}
	if took := k.now - from; took < soonest || took > latest {
		k.Errorf("%s: nobody is given more for %v, want %v to %v", what, took, soonest, latest)
	}
}

func TestStoreThatHasForgottenGivesNothingUntilAllHaveReported(t *testing.T) {
	full := Kept + 1025*ms
	tests := []struct {
		what            string
		before          func(k *talk)
		who             []string
		soonest, latest time.Duration
	}{
		{"all report", func(*talk) {}, []string{"a", "b", "c"}, Grace, Grace + Beat},
		{"one is silent", func(*talk) {}, []string{"a", "b"}, full, full + Beat},
		{"a newcomer does not stand for the silent one", func(*talk) {}, []string{"new", "a", "b"}, full, full + Beat},
		{"one has died, and what it used still counts", func(k *talk) {
			for k.account.members["c"].dead == 0 {
				k.beats(Beat, "a", "b")
			}
		}, []string{"a", "b"}, full, full + Beat},
		{"one has died, and it has forgotten twice", func(k *talk) {
			for k.account.members["c"].dead == 0 {
				k.beats(Beat, "a", "b")
			}
			k.forget()
			k.report("a")
			k.report("b")
			k.report("a")
			k.report("b")
		}, []string{"a", "b"}, full, full + Beat},
		{"one has come since others were answered", func(k *talk) {
			k.report("d")
			k.who["a"].members, k.who["b"].members, k.who["c"].members = 3, 3, 3
		}, []string{"a", "b", "c"}, Grace, full},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			k := newTalk(t, 50)
			k.settled(50, "a", "b", "c")
			k.now -= Beat
			tt.before(k)
			k.forget()
			k.wantRepair(tt.what, tt.soonest, tt.latest, tt.who...)
		})
	}
}

// What comes late may be older than what the store has forgotten.
func TestLateReportDoesNotEndARepair(t *testing.T) {
	k := newTalk(t, 50)
	var late Report
	k.settled(50, "a", "b")
	k.report("b", func(r *Report) { late = *r })
	k.beats(2*Beat, "a", "b")
	k.now -= Beat
	k.forget()
	k.sync(late)
	full := Kept + k.limit.Linger
	k.wantRepair("b is silent", full, full+Beat, "a")
}

func TestStoreThatWentBackGivesNothingUntilAllHaveReported(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(10, "a", "b", "c")
	old := clone(k.account)
	k.settled(50, "a", "b", "c")
	k.now -= Beat
	k.account = clone(old)
	k.wantRepair("all report", Grace, Grace+Beat, "a", "b", "c")
	k.wantHolds("in the end", map[string]int64{"a": 16, "b": 17})

	k.account = clone(old)
	for range 2 {
		k.report("a")
		k.report("b")
		k.report("c")
	}
	middle := clone(k.account)
	k.beats(2*Beat, "a", "b", "c")
	k.account = middle // which counts all three among those that have reported
	full := Kept + k.limit.Linger
	k.wantRepair("c is silent", full, full+Beat, "a", "b")
}

// The first one back must not be given what others use.
func TestStoreThatWasAwayListensFirst(t *testing.T) {
	for _, leapt := range []time.Duration{0, time.Hour, -time.Hour, -5 * time.Second} {
		k := newTalk(t, 50)
		k.settled(1, "a", "b")
		k.now += 5 * time.Second
		k.leapt += leapt
		k.speaker("a").want = 50
		if r := k.report("a"); r.Grants[0].Hold > k.who["a"].hold || !r.Repair {
			t.Errorf("clock leapt by %v: the first one back is given %+v", leapt, r.Grants[0])
		}
		k.beats(4*Beat, "b", "a")
		if r := k.report("a"); r.Repair || r.Grants[0].Hold <= 25 {
			t.Errorf("clock leapt by %v: when all have been back %+v", leapt, r.Grants[0])
		}
	}
}

func TestForgottenBucketIsEmpty(t *testing.T) {
	k := newTalk(t, 100)
	k.limit.Limit, k.limit.Refill = "bucket", 1000*time.Second
	k.settled(40, "a", "b")
	k.forget()
	k.speaker("new").want = 100
	k.report("new") // it knows nothing: the bucket looks full
	k.beats(4*Beat, "a", "b", "new")
	k.who["a"].want, k.who["a"].hold = 0, 0
	k.report("a")
	if g := k.report("new").Grants[0]; g.Tokens > 1000 {
		t.Errorf("a newcomer is given %+v, want no tokens but what has trickled in", g)
	}
}
