package sqlitestore

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job/jobtest"
)

// clock stands still until it is advanced.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: jobtest.T0} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// open opens the file at path, and closes it at the end of the test.
func open(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "headgate.db") }

func TestStore(t *testing.T) {
	t.Parallel() // to the kills
	jobtest.Run(t, func(t *testing.T) jobtest.Subject {
		c := newClock()
		return jobtest.Subject{Store: open(t, file(t), Options{Now: c.Now}), Advance: c.Advance}
	})
}
