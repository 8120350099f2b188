package ledger

// parts returns those of all books, and those that they share.
func (h *history) parts() []Parts {
	all := []Parts{h.ledger.Parts()}
	for _, b := range h.books {
		all = append(all, b.Parts())
	}
	return all
}

// share moves parts to and from other instances. What is used stays covered.
func (h *history) share() {
	for _, parts := range h.parts() {
		for i := range parts {
			if h.IntN(3) == 0 {
				continue
			}
			most := parts.Rule(i).Limit.Capacity()
			least := min(parts.Used(h.now, i), most)
			hold := least + h.Int64N(most-least+1)
			target := h.Int64N(hold + 1)
			if h.IntN(2) == 0 {
				target = hold
			}
			parts.Set(i, hold, target, hold+h.Int64N(most-hold+1))
		}
	}
}

// promiseAll says that this instance could have all that there is.
func (h *history) promiseAll() {
	if !h.opts.Shared {
		return
	}
	for _, parts := range h.parts() {
		for i, t := range parts {
			parts.Set(i, t.share.hold, t.share.target, t.rule.Limit.Capacity())
		}
	}
}

// shareAll gives all that there is to this instance.
func (h *history) shareAll() {
	if !h.opts.Shared {
		return
	}
	for _, parts := range h.parts() {
		for i := range parts {
			n := parts.Rule(i).Limit.Capacity()
			parts.Set(i, n, n, n)
			parts.Used(h.now, i) // tokens come from now on
		}
	}
}
