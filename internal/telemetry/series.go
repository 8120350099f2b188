package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxSeries bounds the label sets of one metric. Upstreams and clients come
// from the configuration, so that a process gets there only if it is reloaded
// with ever new names, or if an upstream answers with every status there is.
const maxSeries = 2000

// series finds the instrument of a label set without a lock and without
// allocating: its map is never changed, only replaced by a larger one. That
// costs O(n) for each new label set, of which there are few.
type series[K comparable, V any] struct {
	known  atomic.Pointer[map[K]V]
	mu     sync.Mutex // held while known is replaced
	open   func(K) V
	beyond func(K) K // the label set that counts for k once there are maxSeries
}

func newSeries[K comparable, V any](open func(K) V, beyond func(K) K) *series[K, V] {
	s := &series[K, V]{open: open, beyond: beyond}
	s.known.Store(&map[K]V{})
	return s
}

func (s *series[K, V]) get(k K) V {
	if v, ok := (*s.known.Load())[k]; ok {
		return v
	}
	return s.add(k)
}

func (s *series[K, V]) add(k K) V {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.known.Load()
	if len(known) >= maxSeries {
		k = s.beyond(k)
	}
	if v, ok := known[k]; ok {
		return v
	}
	larger := maps.Clone(known)
	v := s.open(k)
	larger[k] = v
	s.known.Store(&larger)
	return v
}
