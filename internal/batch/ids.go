package batch

import "hash/maphash"

// ids knows lines by their custom_id, of which it keeps a hash of 64 bits: of a
// million lines two are taken for one once in 37 million batches.
type ids struct {
	seed maphash.Seed
	of   map[uint64]uint64 // the line's number, shifted, and what is known of it
}

// What is known of a line.
const (
	idEnded   = 1 << iota // it has a result
	idFailed              // which is an error
	idInvalid             // because the line cannot be made a call
	idShift   = iota
)

func newIDs() *ids {
	return &ids{seed: maphash.MakeSeed(), of: make(map[uint64]uint64)}
}

// ended notes a result.
func (x *ids) ended(k known) {
	flags := uint64(idEnded)
	if k.failed {
		flags |= idFailed
	}
	if k.invalid {
		flags |= idInvalid
	}
	x.of[maphash.String(x.seed, k.id)] |= flags
}

// claim notes the line of an ID, and returns what is known of it. first is the
// line that has the ID already, 0 if none does.
func (x *ids) claim(id string, number int64) (flags uint64, first int64) {
	h := maphash.String(x.seed, id)
	was := x.of[h]
	if was>>idShift != 0 {
		return was, int64(was >> idShift)
	}
	x.of[h] = was | uint64(number)<<idShift
	return was, 0
}

// lineOf returns the line of an ID, 0 if there is none.
func (x *ids) lineOf(id string) int64 {
	return int64(x.of[maphash.String(x.seed, id)] >> idShift)
}
