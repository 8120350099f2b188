package lease

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// talk is a conversation of instances with a store.
type talk struct {
	*testing.T
	account *Account
	limit   Claim
	now     time.Duration
	leapt   time.Duration // by the store's clock
	who     map[string]*speaker
}

// speaker is an instance that keeps what it is given, down to its target.
type speaker struct {
	seq, seen  int64
	sent       time.Duration
	members    int
	hold, want int64
}

func newTalk(t *testing.T, n int64) *talk {
	return &talk{T: t, account: NewAccount(), who: make(map[string]*speaker),
		limit: Claim{Limit: "requests/1s", N: n, Window: time.Second, Linger: 1025 * ms}}
}

// report has an instance report, and take in the answer.
func (k *talk) report(id string, change ...func(*Report)) Reply {
	s := k.speaker(id)
	s.seq++
	c := k.limit
	c.Keep, c.Want[3] = s.hold, s.want
	r := Report{Instance: id, Host: id, Seq: s.seq, Seen: s.seen, Members: s.members, Claims: []Claim{c}}
	if s.seen > 0 {
		r.Since = k.now - s.sent
	}
	for _, f := range change {
		f(&r)
	}
	reply := k.sync(r)
	s.seen, s.sent, s.members = s.seq, k.now, reply.Members
	if len(reply.Grants) > 0 {
		s.hold = min(reply.Grants[0].Hold, reply.Grants[0].Target)
	}
	return reply
}

func (k *talk) sync(r Report) Reply { return k.account.Sync(t0.Add(k.now+k.leapt), r) }

func (k *talk) speaker(id string) *speaker {
	if k.who[id] == nil {
		k.who[id] = &speaker{}
	}
	return k.who[id]
}

// beats lets time pass in which instances report every beat.
func (k *talk) beats(d time.Duration, ids ...string) {
	for end := k.now + d; k.now < end; k.now += Beat {
		for _, id := range ids {
			k.report(id)
		}
	}
}

// settled has instances come and want so much each, until all is given.
func (k *talk) settled(want int64, ids ...string) {
	for _, id := range ids {
		k.speaker(id).want = want
	}
	k.beats(8*Beat, ids...)
}

// wantHolds checks what instances hold.
func (k *talk) wantHolds(when string, want map[string]int64) {
	k.Helper()
	for id, w := range want {
		if got := k.who[id].hold; got != w {
			k.Errorf("%s, after %v: %s holds %d, want %d", when, k.now, id, got, w)
		}
	}
}

// wantAfter has instances beat until one holds more than before, and checks
// when that is.
func (k *talk) wantAfter(what string, id string, soonest, latest time.Duration, ids ...string) {
	k.Helper()
	from, held := k.now, k.who[id].hold
	for k.who[id].hold <= held && k.now < from+latest+time.Minute {
		k.now += Beat / 5
		for _, i := range ids {
			k.report(i)
		}
	}
	if took := k.now - from; took < soonest || took > latest {
		k.Errorf("%s: %s holds more after %v, want %v to %v", what, id, took, soonest, latest)
	}
}

func TestNewStoreGivesNothingBeforeAllCanHaveReported(t *testing.T) {
	k := newTalk(t, 50)
	k.speaker("a").want = 50
	for _, step := range []struct {
		at   time.Duration
		want int64
	}{{0, 0}, {Grace / 2, 0}, {Grace - ms, 0}, {Grace, 50}} {
		k.now = step.at
		if r := k.report("a"); r.Grants[0].Hold != step.want || r.Repair != (step.want == 0) {
			t.Errorf("after %v: %+v, want %d held", step.at, r, step.want)
		}
	}
}

func TestWhatOneGivesBackAnotherGetsAtOnce(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(50, "a")
	k.speaker("b").want = 50
	b := k.report("b")
	if g := b.Grants[0]; g.Hold != 0 || g.Target != 25 || !slices.Equal(b.Wake, []string{"a"}) {
		t.Fatalf("a newcomer gets %+v and wakes %v, want 0 of 25 and a woken", g, b.Wake)
	}
	if a := k.report("a"); a.Grants[0].Hold != 50 || a.Grants[0].Target != 25 || a.Wake != nil {
		t.Fatalf("who holds all in use is told %+v, wakes %v, want 50 held, 25 to hold, none woken", a.Grants[0], a.Wake)
	}
	if a := k.report("a"); !slices.Equal(a.Wake, []string{"b"}) {
		t.Fatalf("giving back wakes %v, want b", a.Wake)
	}
	if a := k.report("a"); a.Wake != nil {
		t.Fatalf("%v is woken again before it has reported", a.Wake)
	}
	k.now += Patience
	k.report("b")
	k.wantHolds("in the end", map[string]int64{"a": 25, "b": 25})
}

func TestSyncThatIsRepeatedIsAppliedOnce(t *testing.T) {
	k := newTalk(t, 50)
	k.limit.Refill, k.limit.Limit = 5*time.Second, "bucket"
	k.settled(30, "a")
	k.speaker("b").want = 20
	var sent Report
	first := k.report("b", func(r *Report) { sent = *r })
	if g := first.Grants[0]; g.Hold != 10 || g.Tokens == 0 {
		t.Fatalf("first answer %+v, want 10 held, with tokens", g)
	}
	before := clone(k.account)
	again := k.sync(sent)
	if g := again.Grants[0]; g.Hold != 10 || g.Tokens != 0 {
		t.Errorf("answer to the repeated report %+v, want 10 held and no tokens more", g)
	}
	if !reflect.DeepEqual(before, k.account) {
		t.Errorf("a repeated report changes the account\nfrom %+v\nto   %+v", before, k.account)
	}
	late := sent
	k.report("b")
	if g := k.sync(late).Grants[0]; g.Hold != 10 {
		t.Errorf("a late report that keeps 0 leaves %+v, want 10 held", g)
	}
}

func TestShareOfADeadInstanceGoesToOthersWithinALeaseAndAWindow(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(50, "a", "b")
	k.now -= Beat
	k.wantAfter("a has died", "b", Kept+k.limit.Linger, Kept+k.limit.Linger+2*Beat, "b")
	k.wantHolds("in the end", map[string]int64{"b": 50})
}

// Who lives reports within two beats of a leap, though nothing lingers.
func TestEndOfALeaseIsBelievedLater(t *testing.T) {
	k := newTalk(t, 50)
	k.limit = Claim{Limit: "concurrent", N: 50}
	k.settled(50, "a", "b")
	k.now -= Beat
	k.wantAfter("a has died", "b", Kept+Grace, Kept+Grace+Beat, "b")
}

func TestWhoLeavesKeepsWhatStillCounts(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(50, "a", "b")
	r := k.report("a", func(r *Report) { r.Leaves, r.Claims[0].Keep = true, 10 })
	if r.Grants[0].Hold != 0 {
		t.Errorf("who leaves is given %+v, want nothing", r.Grants[0])
	}
	k.report("b")
	k.wantHolds("a has left", map[string]int64{"b": 40})
	k.wantAfter("what a kept", "b", k.limit.Linger, k.limit.Linger+Beat, "b")
	k.wantHolds("in the end", map[string]int64{"b": 50})
}

func TestStoreLongUnusedGivesBackWhatWasLeft(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(50, "a")
	k.report("a", func(r *Report) { r.Leaves = true })
	k.now += time.Hour
	k.speaker("b").want = 50
	k.now += Patience
	k.report("b")
	k.wantHolds("an hour later", map[string]int64{"b": 50})
}

func TestWhatIsClaimedNoMoreLingers(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(50, "a", "b")
	unclaimed := func(r *Report) { r.Claims = nil }
	k.report("a", unclaimed)
	from := k.now
	for ; k.who["b"].hold < 50 && k.now < from+time.Minute; k.now += Beat / 5 {
		k.report("a", unclaimed)
		k.report("b")
	}
	if took := k.now - from; took < k.limit.Linger || took > k.limit.Linger+Beat {
		t.Errorf("another gets it after %v, want %v", took, k.limit.Linger)
	}
}

func TestWhoeverCanGivesBackWhatIsTooMuch(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(50, "a", "b")
	g := k.report("a", func(r *Report) { r.Claims[0].Keep = 40 }).Grants[0]
	if g.Hold != 40 || g.Target != 25 {
		t.Errorf("40 kept besides 25 of 50: %+v, want 25 to be held", g)
	}
	g = k.report("b").Grants[0]
	if g.Hold != 25 || g.Target != 10 {
		t.Errorf("25 kept besides 40 of 50: %+v, want 10 to be held", g)
	}
	k.beats(2*Beat, "a", "b")
	k.wantHolds("in the end", map[string]int64{"a": 25, "b": 25})
}

func TestPauseIsOnlyExtended(t *testing.T) {
	k := newTalk(t, 50)
	k.settled(10, "a", "b")
	for _, step := range []struct {
		after, told, want time.Duration
		woken             bool
	}{
		{0, 3 * time.Second, 3 * time.Second, true},
		{0, time.Second, 3 * time.Second, false},
		{time.Second, 0, 2 * time.Second, false},
		{0, 2 * time.Second, 2 * time.Second, false}, // the same pause, said again
		{0, 5 * time.Second, 5 * time.Second, true},
	} {
		k.now += step.after
		k.report("b")
		r := k.report("a", func(r *Report) { r.Pause = step.told })
		if r.Pause != step.want || slices.Contains(r.Wake, "b") != step.woken {
			t.Errorf("told of %v, after %v: pause %v, wakes %v, want %v, %v", step.told, k.now, r.Pause, r.Wake, step.want, step.woken)
		}
	}
}

func TestBucketIsNeverFilledByMovingItsParts(t *testing.T) {
	k := newTalk(t, 100)
	k.limit.Limit, k.limit.Refill, k.limit.Linger = "bucket", 10*time.Second, 25*ms
	var tokens int64
	ids := []string{"a", "b", "c"}
	for i := range 200 {
		for j, id := range ids {
			k.speaker(id).want = int64((i/5 + j) % 3 * 50)
			tokens += k.report(id).Grants[0].Tokens
		}
		k.now += Beat
	}
	// What came with parts was in the pool at first, or has trickled into that
	// part that nobody held: at most all of it, all the time.
	if most := 1000 * (100 + 100*int64(k.now/(10*time.Second))); tokens == 0 || tokens > most {
		t.Errorf("%d thousandths of tokens in %v, want some, and %d at most", tokens, k.now, most)
	}
}

func TestHugeBucketDoesNotOverflow(t *testing.T) {
	k := newTalk(t, 1<<40)
	k.limit.Limit, k.limit.Refill = "bucket", time.Second
	k.speaker("a").want = 1 << 40
	k.report("a")
	k.now = Grace
	if g := k.report("a").Grants[0]; g.Hold != 1<<40 || g.Tokens != 1000<<40 {
		t.Errorf("a bucket of 1<<40: %+v, want all of it, full", g)
	}
}

func TestAnswerIsInTheOrderOfTheReport(t *testing.T) {
	k := newTalk(t, 50)
	claims := func(r *Report) {
		r.Claims = []Claim{{Limit: "b", N: 3}, {Limit: "a", N: 7}}
		r.Claims[0].Want[0], r.Claims[1].Want[0] = 3, 7
	}
	k.report("x", claims)
	k.now = Grace
	r := k.report("x", claims)
	if got := fmt.Sprint(r.Grants[0].Hold, r.Grants[1].Hold, r.Peers); got != "3 7 [{x x [3 7]}]" {
		t.Errorf("holds and peers = %s", got)
	}
}
