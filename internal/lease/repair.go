package lease

// listen lets nobody hold more before everybody can have reported.
func (a *Account) listen(now int64) {
	if now >= a.repair {
		a.begin(now)
	}
	a.heed = now + Grace.Microseconds()
	a.repair = max(a.repair, a.heed)
}

// begin begins a repair.
func (a *Account) begin(now int64) {
	a.round++
	a.expect = 0
	a.heed = now + Grace.Microseconds()
}

// recall begins a repair if the account knows less than it should: it is new,
// or a report shows that it has forgotten.
func (a *Account) recall(now int64, r *Report) {
	if a.round == 0 {
		a.listen(now)
	}
	m := a.members[r.Instance]
	if r.Seen == 0 || m != nil && m.seq >= r.Seen {
		return
	}
	if now >= a.repair || m != nil && m.round == a.round {
		a.begin(now)
	}
	var linger int64
	for _, c := range r.Claims {
		linger = max(linger, c.Linger.Microseconds())
	}
	a.repair = max(a.repair, now+Kept.Microseconds()+linger)
	a.expect = max(a.expect, r.Members)
	for _, p := range a.pools {
		p.level, p.at = 0, now
	}
}

// reported returns how many of the members that may have been forgotten have
// reported in this repair. One report is not enough, for it may be an old one
// that comes late: the next shows that it was not.
func (a *Account) reported() int {
	n := 0
	for _, m := range a.members {
		if m.sure == a.round {
			n++
		}
	}
	return n
}
