package lease

// pool is the tokens in that part of a token bucket that nobody holds.
type pool struct {
	n     int64
	full  int64 // how long it takes to fill
	level int64 // thousandths of tokens
	at    int64
}

// setHold changes what a member holds of a limit. Tokens that are given back
// with it are lost.
func (a *Account) setHold(now int64, limit string, s *stake, hold int64) {
	if s.hold == hold {
		return
	}
	p := a.pools[limit]
	if p == nil {
		s.hold = hold
		return
	}
	p.fill(now, p.n-a.held(limit))
	s.hold = hold
	p.level = min(p.level, 1000*max(p.n-a.held(limit), 0))
}

// openPool sees to it that a token bucket has a pool, full at first unless it
// may only have been forgotten.
func (a *Account) openPool(now int64, c *Claim) {
	if c.Refill <= 0 {
		return
	}
	p := a.pools[c.Limit]
	full := c.Refill.Microseconds()
	if p == nil {
		p = &pool{n: c.N, full: full, at: now}
		if a.expect == 0 {
			p.level = 1000 * c.N
		}
		a.pools[c.Limit] = p
	}
	p.fill(now, p.n-a.held(c.Limit))
	p.n, p.full = c.N, full
}

// draw takes a part of what nobody holds out of the pool, with its share of the
// tokens, in thousandths.
func (a *Account) draw(now int64, limit string, part int64) int64 {
	p := a.pools[limit]
	if p == nil {
		return 0
	}
	units := p.n - a.held(limit)
	p.fill(now, units)
	tokens := int64(float64(p.level) * float64(part) / float64(max(units, 1)))
	p.level -= tokens
	return tokens
}

// fill brings the pool to a moment.
func (p *pool) fill(now, units int64) {
	units = max(units, 0)
	if p.full > 0 {
		passed := min(max(now-p.at, 0), p.full)
		p.level += int64(float64(1000*units) * float64(passed) / float64(p.full))
	}
	p.level = min(p.level, 1000*units)
	p.at = now
}
