package pump

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate"
)

// steered is an item with a priority of its own.
type steered struct {
	ending
	priority int
	begun    func(*steered)
	cutOff   context.CancelCauseFunc
}

func (s *steered) Priority() int                         { return s.priority }
func (s *steered) CutOff(cancel context.CancelCauseFunc) { s.cutOff = cancel }
func (s *steered) Started() error {
	s.begun(s)
	return nil
}

// many is a feed of items that then ends.
type many struct{ items []Item }

func (m *many) Next(ctx context.Context) (Item, error) {
	if len(m.items) == 0 {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	next := m.items[0]
	m.items = m.items[1:]
	return next, nil
}

func TestItemsStandInLineByTheirOwnPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := headgate.Transport(headgate.Limit("concurrent:1"), headgate.Base(tripper(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return answered(200), nil
		})))
		var mu sync.Mutex
		var order []int
		begun := func(s *steered) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, s.priority)
		}
		var feed many
		for _, priority := range []int{4, 6, 3, 1, 5} {
			feed.items = append(feed.items, &steered{priority: priority, begun: begun})
		}
		taking, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		New(door, Options{}).Run(taking, t.Context(), &feed)
		if len(order) != 5 || !slices.IsSorted(order[1:]) { // the first one met no line
			t.Errorf("permits came to priorities %v, want them in order behind the first", order)
		}
	})
}

func TestItemCanBeCutOffByItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := headgate.Transport(headgate.Base(tripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		})))
		unwanted := errors.New("unwanted")
		item := &steered{begun: func(s *steered) { time.AfterFunc(time.Second, func() { s.cutOff(unwanted) }) }}
		taking, stop := context.WithTimeout(t.Context(), 2*time.Second)
		defer stop()
		New(door, Options{}).Run(taking, t.Context(), &many{[]Item{item}})
		if !errors.Is(item.result.Err, unwanted) || item.result.Outcome != headgate.OutcomeCancelled {
			t.Errorf("result %+v, want it cut off", item.result)
		}
	})
}

func TestResultTellsWhatTheLastAnswerAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := headgate.Transport(headgate.Base(tripper(func(*http.Request) (*http.Response, error) {
			return answered(429, "Retry-After", "3600"), nil
		})))
		item := &ending{}
		taking, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		New(door, Options{}).Run(taking, t.Context(), &some{[]*ending{item}})
		if r := item.result; r.Wait != time.Hour || r.Outcome != headgate.OutcomeThrottled || r.Tried != 0 || len(r.Attempts) != 1 {
			t.Errorf("result %+v, want a throttled one that asks for 1h0m0s", r)
		}
	})
}
