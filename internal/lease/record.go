package lease

// note takes in what a member knows of a breaker.
func (a *Account) note(now int64, id string, me *member, b Breaker, wake map[string]bool) {
	me.facts[b.Upstream] = b
	rec := a.records[b.Upstream]
	if rec == nil {
		rec = &record{}
		a.records[b.Upstream] = rec
	}
	if b.Generation > rec.generation {
		*rec = record{generation: b.Generation, open: b.Open, cause: b.Cause, until: now + b.Left.Microseconds()}
		a.wakeAll(wake)
		return
	}
	if rec.prober == id && !b.Probing {
		rec.prober = ""
		a.wakeAll(wake)
	}
}

// breaker returns what all know of a breaker. One of those who want to probe it
// gets leave to.
func (a *Account) breaker(now int64, id string, b *Breaker) Breaker {
	rec := a.records[b.Upstream]
	if rec == nil {
		return Breaker{Upstream: b.Upstream}
	}
	if b.Probing && rec.open && now >= rec.until {
		if m := a.members[rec.prober]; m == nil || m.dead != 0 {
			rec.prober = id
		}
	}
	all := Breaker{
		Upstream:   b.Upstream,
		Generation: rec.generation,
		Open:       rec.open,
		Cause:      rec.cause,
		Left:       micros(max(rec.until-now, 0)),
		Probing:    rec.prober == id,
	}
	for _, m := range a.members {
		if f := m.facts[b.Upstream]; f.Generation == rec.generation {
			all.Throttled += f.Throttled
			all.Failed += f.Failed
			all.Succeeded += f.Succeeded
		}
	}
	return all
}
