package lease

import (
	"maps"
	"slices"
	"time"
)

// Account is what a store keeps of one credential: who holds how much of each
// limit. It is used by one at a time. Its moments are readings of the store's
// clock, and may leap.
//
// All arithmetic is on whole microseconds and whole weights, and what is
// divided is rounded down, so that its translation gives the same answers.
type Account struct {
	now     int64 // the latest moment; 0: there was none yet
	skew    int64 // by how much the store's clock has leapt, in all
	pause   int64 // until when
	members map[string]*member
	pools   map[string]*pool   // by limit
	records map[string]*record // by upstream
	lessons map[string]Lesson  // by limit

	repair int64 // until when nobody gets more than it keeps
	heed   int64 // until when nothing ends the repair
	round  int64 // counts repairs
	expect int   // so many members that have reported end the repair; 0: unknown
}

// member is an instance that reported.
type member struct {
	host   string
	seq    int64
	last   int64 // when it reported
	drift  int64 // by how much more has passed since it came than its own clock says
	dead   int64 // since when its lease is known to have ended; 0: it has not
	round  int64 // the repair in which it reported last
	sure   int64 // the repair in which it has shown that what it reported was not late
	born   int64 // the repair in which it came, if nothing of it can have been forgotten
	woken  bool  // since it reported
	missed int64 // when it did not report in a silence that was not believed; 0: it has since
	holds  map[string]*stake
	facts  map[string]Breaker
}

// stake is a member's part in a limit.
type stake struct {
	hold   int64
	n      int64
	linger int64
	want   [Classes]int64
	need   int64
	since  int64 // since when it needs more than it holds; 0: it does not
	asked  int64 // since when it wants more than it holds; 0: it does not
	told   int64 // the target it knows
	gone   int64 // since when it is not claimed any more; 0: it is
}

// record is the state of a breaker that all share.
type record struct {
	generation int64
	open       bool
	cause      int
	until      int64
	prober     string
}

// NewAccount returns an account that knows nothing.
func NewAccount() *Account {
	return &Account{
		members: make(map[string]*member),
		pools:   make(map[string]*pool),
		records: make(map[string]*record),
		lessons: make(map[string]Lesson),
	}
}

// Sync takes in a report and answers it. One whose Seq is not above that of its
// instance's last is answered too, and changes nothing.
func (a *Account) Sync(clock time.Time, r Report) Reply {
	now := a.moment(clock, &r)
	a.recall(now, &r)
	me := a.members[r.Instance]
	fresh := me == nil || r.Seq > me.seq
	wake := make(map[string]bool)
	if fresh {
		me = a.apply(now, &r, wake)
	}
	a.bury(now)
	if now < a.repair && now >= a.heed && a.expect > 0 && a.reported() >= a.expect {
		a.repair = now
	}
	reply := Reply{Seq: r.Seq, Repair: now < a.repair, Members: len(a.members)}
	if reply.Repair {
		reply.Members = max(reply.Members, a.expect)
	}
	alive := a.alive()
	for i := range r.Claims {
		reply.Grants = append(reply.Grants, a.grant(now, r.Instance, &r.Claims[i], fresh, alive, wake))
	}
	for i := range r.Breakers {
		reply.Breakers = append(reply.Breakers, a.breaker(now, r.Instance, &r.Breakers[i]))
	}
	reply.Pause = micros(max(a.pause-now, 0))
	reply.Alive = len(alive)
	for _, id := range alive {
		reply.Peers = append(reply.Peers, a.peer(id, r.Claims))
	}
	for _, id := range slices.Sorted(maps.Keys(wake)) {
		if m := a.members[id]; m != nil && m != me && !m.woken {
			m.woken = true
			reply.Wake = append(reply.Wake, id)
		}
	}
	return reply
}

// bury takes from members whose lease has ended, or who claim a limit no more,
// what can count no more. That a lease has ended is noted first and believed
// later: the clock may have leapt, and whoever lives reports in the meantime.
func (a *Account) bury(now int64) {
	for id, m := range a.members {
		if m.dead == 0 && now > m.last+Kept.Microseconds() {
			m.dead = now
		}
		holds := false
		for limit, s := range m.holds {
			since := m.dead
			if since == 0 {
				since = s.gone
			}
			if since != 0 && now >= since+max(s.linger, Grace.Microseconds()) {
				a.setHold(now, limit, s, 0)
				delete(m.holds, limit)
			}
			holds = holds || s.hold > 0
		}
		if m.dead != 0 && !holds && now >= m.dead+Grace.Microseconds() {
			delete(a.members, id)
		}
	}
}

// alive returns the members whose lease has not ended, by name.
func (a *Account) alive() []string {
	ids := make([]string, 0, len(a.members))
	for id, m := range a.members {
		if m.dead == 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// apply takes in what a report says. wake gets those who must hear of it.
func (a *Account) apply(now int64, r *Report, wake map[string]bool) *member {
	me := a.members[r.Instance]
	if me == nil {
		me = &member{holds: make(map[string]*stake), facts: make(map[string]Breaker)}
		if r.Seen == 0 {
			me.born = a.round
		}
		a.members[r.Instance] = me
	}
	if me.round == a.round && me.born != a.round && r.Seen == me.seq {
		me.sure = a.round
	}
	me.host, me.seq, me.last, me.dead, me.round = r.Host, r.Seq, now, 0, a.round
	me.woken, me.missed = false, 0
	if r.Leaves {
		me.dead = now
	}
	for i := range r.Claims {
		c := &r.Claims[i]
		s := me.holds[c.Limit]
		if s == nil {
			s = &stake{}
			me.holds[c.Limit] = s
		}
		a.openPool(now, c)
		a.setHold(now, c.Limit, s, c.Keep)
		s.n, s.linger, s.want, s.need, s.gone = c.N, c.Linger.Microseconds(), c.Want, c.Need, 0
		a.learn(c, wake)
	}
	for limit, s := range me.holds {
		claimed := slices.ContainsFunc(r.Claims, func(c Claim) bool { return c.Limit == limit })
		if !claimed && s.gone == 0 {
			s.gone, s.want, s.need = now, [Classes]int64{}, 0
		}
	}
	if until := now + r.Pause.Microseconds(); r.Pause > 0 && until > a.pause+1000 {
		a.pause = until
		a.wakeAll(wake)
	}
	for _, b := range r.Breakers {
		a.note(now, r.Instance, me, b, wake)
	}
	return me
}

// learn takes in what was learned of a limit. It outlives those who learned it.
func (a *Account) learn(c *Claim, wake map[string]bool) {
	known, ok := a.lessons[c.Limit]
	if !c.truer(known) || !ok && len(a.lessons) >= mostLessons {
		return
	}
	a.lessons[c.Limit] = c.Lesson
	if c.Refusals > known.Refusals {
		a.wakeAll(wake)
	}
}

// mostLessons bounds of how many limits an account keeps what was learned.
const mostLessons = 64

func (a *Account) wakeAll(wake map[string]bool) {
	for id := range a.members {
		wake[id] = true
	}
}

// grant gives an instance its part of a limit. wake gets those who can now have
// more, or who should give some back for those who can't.
func (a *Account) grant(now int64, id string, c *Claim, fresh bool, alive []string, wake map[string]bool) Grant {
	var stakes []*stake
	var names []string
	var me int
	n, held := c.N, a.held(c.Limit)
	for _, name := range alive {
		s := a.members[name].holds[c.Limit]
		if s == nil {
			continue
		}
		if name == id {
			me = len(stakes)
		}
		n = min(n, s.n)
		stakes = append(stakes, s)
		names = append(names, name)
	}
	if len(stakes) == 0 || names[me] != id {
		return Grant{} // a late report of an instance that has left
	}
	lesson := a.lessons[c.Limit]
	if lesson.Learned > 0 {
		n = min(n, lesson.Learned)
	}
	turn := turnOf(now, c.Window.Microseconds(), n, len(stakes))
	targets := fill(n, stakes, turn)
	s := stakes[me]
	if over := held - n; over > 0 { // more is in use than may be: whoever can gives back
		targets[me] = max(min(targets[me], s.hold-over), 0)
	}
	g := Grant{Target: targets[me], Lesson: lesson}
	if fresh {
		switch {
		case max(s.wanted(), s.need) <= s.hold:
			s.asked = 0
		case s.asked == 0:
			s.asked = now
		}
		give := g.Target
		if s.asked != 0 && now-s.asked < Patience.Microseconds() {
			give = min(give, n/int64(len(stakes)))
		}
		if give = min(give-s.hold, n-held); give > 0 && now >= a.repair {
			g.Tokens = a.draw(now, c.Limit, give)
			a.setHold(now, c.Limit, s, s.hold+give)
			held += give
		}
		s.told = g.Target
		switch {
		case s.need <= s.hold:
			s.since = 0
		case s.since == 0:
			s.since = now
		}
	}
	g.Hold = s.hold
	g.Most = max(g.Hold, most(n, stakes, me, turn))
	if now >= a.repair {
		a.wakeFor(n-held, stakes, targets, names, wake)
	}
	return g
}

// wakeFor finds who should sync: those who can have some of what is free, and
// if nothing is, those who hold more than their part while others go short. A
// few more or less are not worth a sync, unless somebody cannot even start one
// call.
func (a *Account) wakeFor(free int64, stakes []*stake, targets []int64, names []string, wake map[string]bool) {
	short, stuck := false, false
	for i, s := range stakes {
		if s.hold < min(targets[i], max(s.wanted(), s.need)) {
			short = true
			stuck = stuck || s.hold < s.need
			if free > 0 {
				wake[names[i]] = true
			}
		}
	}
	if free > 0 || !short {
		return
	}
	for i, s := range stakes {
		few := max(1, s.told/20)
		if stuck {
			few = 1
		}
		if s.hold > targets[i] && targets[i] <= s.told-few {
			s.told = targets[i]
			wake[names[i]] = true
		}
	}
}

// peer returns what others see of a member.
func (a *Account) peer(id string, claims []Claim) Peer {
	m := a.members[id]
	p := Peer{Instance: id, Host: m.host, Hold: make([]int64, len(claims))}
	for i, c := range claims {
		if s := m.holds[c.Limit]; s != nil {
			p.Hold[i] = s.hold
		}
	}
	return p
}

// held returns what all members hold of a limit.
func (a *Account) held(limit string) int64 {
	var sum int64
	for _, m := range a.members {
		if s := m.holds[limit]; s != nil {
			sum += s.hold
		}
	}
	return sum
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
