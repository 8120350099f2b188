package lease

import (
	"testing"
	"time"
)

var window = Limit{Limit: "requests/1s", N: 40, Window: time.Second, Linger: 1025 * ms}

// held returns a holder that was answered at t0 that it holds so much, as one
// of four that have long known each other.
func held(t *testing.T, loss Loss, hold, target int64) *Holder {
	t.Helper()
	h := NewHolder("a", "host", loss)
	h.Configure([]Limit{window}, loss)
	for _, at := range []time.Duration{-2 * Beat, -Beat, 0} {
		r := h.Report(t0.Add(at), []Demand{{}})
		if !h.Answer(Reply{Seq: r.Seq, Grants: []Grant{{Hold: hold, Target: target}}, Alive: 4, Members: 5}) {
			t.Fatalf("answer to report %d is refused", r.Seq)
		}
	}
	return h
}

func wantPart(t *testing.T, h *Holder, at time.Duration, standing Standing, hold, target int64) {
	t.Helper()
	now := t0.Add(at)
	if p, s := h.Part(now, 0), h.Standing(now); s != standing || p.Hold != hold || p.Target != target {
		t.Errorf("after %v: standing %v, %+v, want %v, hold %d, target %d", at, s, p, standing, hold, target)
	}
}

func TestLeaseEndsByItself(t *testing.T) {
	h := held(t, Share, 30, 20)
	wantPart(t, h, 0, Leased, 30, 20)
	wantPart(t, h, Held-1, Leased, 30, 20)
	wantPart(t, h, Held, Lapsed, 30, 0)
	if until := h.Until(t0.Add(ms)); !until.Equal(t0.Add(Held)) {
		t.Errorf("lease ends at %v, want %v", until.Sub(t0), Held)
	}
}

// A lease counts from when its report was sent, not from the answer.
func TestLateAnswerRenewsNothing(t *testing.T) {
	h := held(t, Share, 30, 30)
	r := h.Report(t0.Add(Beat), []Demand{{}})
	if !h.Answer(Reply{Seq: r.Seq, Grants: []Grant{{Hold: 10, Target: 10}}, Alive: 4}) {
		t.Fatal("answer is refused")
	}
	wantPart(t, h, Beat+Held-1, Leased, 10, 10)
	wantPart(t, h, Beat+Held, Lapsed, 10, 0)
}

func TestAnswerToAnotherReportIsDropped(t *testing.T) {
	h := held(t, Share, 30, 30)
	grants := []Grant{{Hold: 40, Target: 40}}
	first := h.Report(t0.Add(ms), []Demand{{}})
	h.Failed(t0.Add(ms + SyncTimeout))
	if h.Answer(Reply{Seq: first.Seq, Grants: grants}) {
		t.Error("the answer to a report that has failed is taken")
	}
	second := h.Report(t0.Add(Beat+ms), []Demand{{}})
	if h.Answer(Reply{Seq: first.Seq, Grants: grants}) {
		t.Error("the answer to the report before is taken")
	}
	if second.Seq <= first.Seq || second.Seen != 3 || second.Since != Beat+ms || second.Members != 5 {
		t.Errorf("second report %+v, want a higher Seq, 3 seen %v ago, 5 members", second, Beat+ms)
	}
	h.Configure([]Limit{window, {Limit: "concurrent", N: 8}}, Share)
	if h.Answer(Reply{Seq: second.Seq, Grants: append(grants, Grant{})}) {
		t.Error("an answer to claims of before is taken")
	}
}

func TestReportKeepsToTheTargetAndToWhatIsUsed(t *testing.T) {
	for _, tt := range []struct{ hold, target, used, keep int64 }{
		{30, 30, 0, 30},
		{30, 20, 0, 20},
		{30, 20, 25, 25},
		{10, 20, 3, 10},
	} {
		h := held(t, Wait, tt.hold, tt.target)
		r := h.Report(t0.Add(ms), []Demand{{Used: tt.used}})
		if got := r.Claims[0].Keep; got != tt.keep {
			t.Errorf("of %d held, %d to hold and %d used it keeps %d, want %d", tt.hold, tt.target, tt.used, got, tt.keep)
		}
		if p := h.Part(t0.Add(ms), 0); p.Hold != tt.keep {
			t.Errorf("it says that it keeps %d, and may use %d", tt.keep, p.Hold)
		}
	}
}

// fail has every report of a span fail.
func fail(h *Holder, from, to time.Duration) {
	for at := from; at <= to; at += Beat {
		h.Report(t0.Add(at-ms), []Demand{{}})
		h.Failed(t0.Add(at))
	}
}

func TestLostStoreIsSharedByThoseLastAlive(t *testing.T) {
	down := Kept + window.Linger + Beat
	tests := []struct {
		loss               Loss
		hold               int64
		atFirst, downAgain int64
	}{
		{Share, 30, 10, 10},
		{Share, 4, 4, 10}, // more only when others have come down
		{Share, 0, 0, 10},
		{Wait, 30, 0, 0},
		{Fail, 30, 0, 0},
	}
	for _, tt := range tests {
		h := held(t, tt.loss, tt.hold, 40)
		fail(h, Beat, 4*Beat)
		if got := h.Part(t0.Add(Held), 0).Target; h.Standing(t0.Add(Held)) != Lost || got != tt.atFirst {
			t.Errorf("loss %d, %d held: standing %d, may take %d at first, want %d", tt.loss, tt.hold, h.Standing(t0.Add(Held)), got, tt.atFirst)
		}
		fail(h, 5*Beat, down)
		if got := h.Part(t0.Add(down-1), 0).Target; got != tt.atFirst {
			t.Errorf("loss %d, %d held: may take %d before others have come down, want %d", tt.loss, tt.hold, got, tt.atFirst)
		}
		if got := h.Part(t0.Add(down), 0).Target; got != tt.downAgain {
			t.Errorf("loss %d, %d held: may take %d when others have come down, want %d", tt.loss, tt.hold, got, tt.downAgain)
		}
		h.Report(t0.Add(down), []Demand{{}})
		if got := h.Part(t0.Add(down), 0); got.Target != tt.downAgain {
			t.Errorf("loss %d, %d held: %+v while it says so", tt.loss, tt.hold, got)
		}
	}
}

// What it said that it keeps may be all that the store, back, leaves it.
func TestShareDoesNotGrowWhileAReportIsOut(t *testing.T) {
	h := held(t, Share, 4, 40)
	down := Kept + window.Linger + Beat
	fail(h, Beat, down-Beat/2)
	h.Report(t0.Add(down-ms), []Demand{{}})
	wantPart(t, h, down+ms, Lost, 4, 4)
	h.Failed(t0.Add(down + 2*ms))
	wantPart(t, h, down+2*ms, Lost, 10, 10)
}

func TestNewcomerTakesNoShareThatOthersDoNotKnowOf(t *testing.T) {
	h := NewHolder("a", "host", Share)
	h.Configure([]Limit{window}, Share)
	r := h.Report(t0, []Demand{{}})
	h.Answer(Reply{Seq: r.Seq, Grants: []Grant{{Hold: 4, Target: 10}}, Alive: 4})
	down := Kept + window.Linger + Beat
	fail(h, Beat, down)
	wantPart(t, h, Held, Lost, 4, 4)
	wantPart(t, h, down, Lost, 4, 0)
}

func TestNobodyAloneKnowsOfAShare(t *testing.T) {
	h := NewHolder("a", "host", Share)
	h.Configure([]Limit{window}, Share)
	fail(h, Beat, 10*Beat)
	wantPart(t, h, 10*Beat, Lost, 0, 0)
}

func TestLessThanOneEachStaysWithWhoHasOne(t *testing.T) {
	for _, hold := range []int64{0, 1, 2} {
		h := NewHolder("a", "host", Share)
		h.Configure([]Limit{{Limit: "few", N: 2, Window: time.Second, Linger: time.Second}}, Share)
		for _, at := range []time.Duration{-2 * Beat, 0} {
			r := h.Report(t0.Add(at), []Demand{{}})
			h.Answer(Reply{Seq: r.Seq, Grants: []Grant{{Hold: hold, Target: 2}}, Alive: 4})
		}
		fail(h, Beat, 20*Beat)
		for _, at := range []time.Duration{Held, 19 * Beat} {
			if got, want := h.Part(t0.Add(at), 0).Target, min(hold, 1); got != want {
				t.Errorf("2 among 4, %d held: may take %d after %v, want %d", hold, got, at, want)
			}
		}
	}
}

func TestProcessThatStoodStillUsesNothing(t *testing.T) {
	h := held(t, Share, 30, 30)
	h.Report(t0.Add(Beat), []Demand{{Used: 5}})
	h.Failed(t0.Add(time.Minute)) // that says nothing of the store
	wantPart(t, h, time.Minute, Lapsed, 30, 0)
	r := h.Report(t0.Add(time.Minute), []Demand{{Used: 5}})
	if r.Claims[0].Keep != 5 || r.Seen != 3 || r.Since != time.Minute {
		t.Errorf("report after a minute %+v, want 5 kept, 3 seen a minute ago", r)
	}

	h = held(t, Share, 30, 30)
	fail(h, Beat, 5*Beat)
	wantPart(t, h, 5*Beat, Lost, 10, 10)
	wantPart(t, h, time.Minute, Lapsed, 10, 0) // the failure is long past
}

func TestWhoWasAwayForLongIsForgottenRightly(t *testing.T) {
	for _, tt := range []struct {
		after time.Duration
		used  int64
		seen  int64
	}{
		{Kept, 0, 3},
		{Kept + window.Linger - 1, 0, 3},
		{Kept + window.Linger, 0, 0},
		{Kept + window.Linger, 1, 3},
	} {
		h := held(t, Wait, 30, 30)
		if r := h.Report(t0.Add(tt.after), []Demand{{Used: tt.used}}); r.Seen != tt.seen {
			t.Errorf("after %v, %d used: seen %d, want %d", tt.after, tt.used, r.Seen, tt.seen)
		}
	}
}

func TestReconfiguredHolderKeepsWhatStays(t *testing.T) {
	h := held(t, Wait, 30, 20)
	more := window
	more.N = 80
	h.Configure([]Limit{{Limit: "concurrent", N: 8}, more}, Wait)
	now := t0.Add(ms)
	if got, want := h.Part(now, 1), (Part{Hold: 30, Target: 20, Most: 30}); got != want {
		t.Errorf("limit that stays: %+v, want %+v", got, want)
	}
	if got := h.Part(now, 0); got.Hold != 0 || got.Target != 0 {
		t.Errorf("new limit: %+v, want nothing held", got)
	}
	r := h.Report(now, make([]Demand, 2))
	if r.Claims[0].Limit != "concurrent" || r.Claims[1].N != 80 || r.Claims[1].Keep != 20 {
		t.Errorf("report %+v, want the new limits", r)
	}
}

func TestWhoLeavesUsesNothing(t *testing.T) {
	h := held(t, Share, 30, 30)
	r := h.Leave(t0.Add(ms), 7)
	if !r.Leaves || r.Seq != 4 || r.Claims[0].Keep != 7 {
		t.Errorf("last report %+v, want Leaves, 7 kept", r)
	}
	wantPart(t, h, 2*ms, Lapsed, 0, 0)
	if h.Answer(Reply{Seq: r.Seq, Grants: []Grant{{Hold: 30, Target: 30}}}) {
		t.Error("who has left takes an answer")
	}
	if r = h.Leave(t0.Add(ms)); r.Claims[0].Keep != 0 {
		t.Errorf("last report %+v, want nothing kept", r)
	}
	if r = h.Report(t0.Add(time.Second), []Demand{{}}); r.Seen != 0 || r.Seq != 6 {
		t.Errorf("who comes back reports %+v, want a higher Seq and nothing seen", r)
	}
}
