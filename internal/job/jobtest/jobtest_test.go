package jobtest

import (
	"sync"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) Subject {
		var mu sync.Mutex
		now := T0
		m := NewMemory(func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		})
		return Subject{Store: m, Advance: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
		}}
	})
}
