package worker

import (
	"context"
	"errors"
	"sync"
)

// heldMost is how many jobs a worker holds at once, whatever they wait for: each
// takes a goroutine and its bodies.
const heldMost = 10_000

var (
	errFull      = errors.New("the worker holds all that it may")
	errCancelled = errors.New("the job was cancelled")
)

// held are the jobs that the worker has taken and that have not ended.
type held struct {
	mu   sync.Mutex
	byID map[string]*item
}

func (h *held) init() { h.byID = make(map[string]*item) }

// room returns how many of n more jobs may be held.
func (h *held) room(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(min(n, heldMost-len(h.byID)), 0)
}

func (h *held) add(items []*item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range items {
		h.byID[x.taken.ID] = x
	}
}

// remove forgets a job, unless it was taken again meanwhile.
func (h *held) remove(x *item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID[x.taken.ID] == x {
		delete(h.byID, x.taken.ID)
	}
}

// cancel ends the call of a job that is not wanted any more.
func (h *held) cancel(id string) {
	h.mu.Lock()
	x := h.byID[id]
	h.mu.Unlock()
	if x != nil {
		h.lose(x, errCancelled)
	}
}

// lose notes why a job is not the worker's any more, and ends its call.
func (h *held) lose(x *item, why error) {
	h.mu.Lock()
	x.gone = why
	cutOff := x.cutOff
	h.mu.Unlock()
	if cutOff != nil {
		cutOff(why)
	}
}

// steer notes how a job's call is ended. One that is gone already is not sent.
func (h *held) steer(x *item, cutOff context.CancelCauseFunc) {
	h.mu.Lock()
	x.cutOff = cutOff
	gone := x.gone
	h.mu.Unlock()
	if gone != nil {
		cutOff(gone)
	}
}

// whyGone returns why a job is not the worker's any more, nil if it is.
func (h *held) whyGone(x *item) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return x.gone
}
