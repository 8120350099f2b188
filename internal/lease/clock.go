package lease

import "time"

// moment returns the store's moment: what its clock shows, without what it has
// leapt. It never goes back. Of what has passed since an instance came it may
// take no more for time than that one's own clock does. A silence that no such
// clock vouches for is no time at all while there are some who should have been
// heard. Time that is too slow only has everything come later.
func (a *Account) moment(clock time.Time, r *Report) int64 {
	shown := clock.UnixMicro() - a.skew
	now := max(shown, a.now)
	m := a.members[r.Instance]
	vouched := m != nil && r.Seen > 0 && r.Seen == m.seq
	away := shown < a.now-leap
	if vouched {
		drift := now - m.last - r.Since.Microseconds()
		away = away || drift < -leap
		m.drift = max(m.drift+drift, -slack)
		if m.drift > leap-slack {
			right := max(now-m.drift, a.now)
			m.drift = min(m.drift-(now-right), leap-slack)
			now = right
		}
	}
	away = away || now > a.now+leap
	others := a.expected(r.Instance)
	if !vouched && now > a.now+leap && a.expected("") {
		a.miss(now-a.now, r.Instance)
		now = a.now
	}
	if away && others {
		a.listen(now) // to what they did meanwhile
	}
	a.now, a.skew = now, clock.UnixMicro()-now
	return now
}

// leap is how far time and an instance's clock may drift apart, in all. slack
// of it is for reports that are not always as long on their way.
const (
	leap  = int64(Leap / time.Microsecond)
	slack = leap / 4
)

// expected reports whether anyone but one should have been heard.
func (a *Account) expected(but string) bool {
	for id, m := range a.members {
		if id != but && m.dead == 0 && m.missed == 0 {
			return true
		}
	}
	return false
}

// miss takes in that a silence is not believed. Nobody is waited for twice: for
// those who were missed before and have had time to report since, it has
// passed, and so it has for the pause, which whoever was told of it reports
// again. A clock that leaps twice within a lease is beyond this.
func (a *Account) miss(silence int64, reporter string) {
	a.pause -= silence
	for id, m := range a.members {
		switch {
		case id == reporter:
		case m.missed == 0:
			m.missed = a.now
		case a.now < m.missed+Grace.Microseconds():
		case m.dead != 0:
			m.dead -= silence
		default:
			m.last -= silence
		}
	}
}
