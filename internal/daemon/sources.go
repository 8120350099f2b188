package daemon

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/admin"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/stores"
	"github.com/headgate/headgate/internal/worker"
)

// sources are the queues that a daemon drains. They follow the configuration: one
// that a reload changes or takes away ends softly, while what takes its place
// goes on with the same queue.
type sources struct {
	daemon  *daemon
	working context.Context
	cut     context.CancelCauseFunc // ends working
	running sync.WaitGroup

	mu struct {
		sync.Mutex
		all []*drain // in the order of the file
	}
}

// drain is one source that is drained.
type drain struct {
	config config.Source
	queue  *redisstore.Source
	source *worker.Source
	stop   context.CancelCauseFunc // nil: it has not begun
}

// openSources makes what drains the sources of the configuration.
func (d *daemon) openSources() (*sources, error) {
	s := &sources{daemon: d}
	s.working, s.cut = context.WithCancelCause(context.Background())
	for _, c := range d.config.Sources {
		one, err := s.open(c)
		if err != nil {
			return s, err
		}
		s.mu.all = append(s.mu.all, one)
	}
	if len(s.mu.all) > 0 {
		d.gate.Space() // what the process before this one sent has left no record
	}
	return s, nil
}

func (s *sources) open(c config.Source) (*drain, error) {
	template, err := c.Request.Template()
	if err != nil {
		return nil, fmt.Errorf("source %q: %w", c.Name, err)
	}
	queue, err := stores.Source(c, instanceName())
	if err != nil {
		return nil, err
	}
	d := s.daemon
	return &drain{config: c, queue: queue, source: worker.NewSource(worker.SourceOptions{
		Name:     c.Name,
		Upstream: c.Request.Upstream,
		Queue:    queue,
		Letters:  queue,
		Template: template,
		Door:     d.gate,
		Attempts: func(upstream string) int { return d.upstream(upstream).Retry.Attempts },
		URL:      func(upstream string) string { return d.upstream(upstream).URL },
		Events: worker.SourceEvents{
			Counted: d.metrics.SourceCounted,
			Died: func(e worker.SourceDied) {
				d.log.SourceDied(e.Source, e.Upstream, e.ID, e.Reason, e.Status, e.Attempts)
			},
			Changed: d.log.SourceChanged,
		},
	})}, nil
}

// start begins to drain what has been opened.
func (s *sources) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.mu.all {
		s.startLocked(one)
	}
}

func (s *sources) startLocked(one *drain) {
	taking, stop := context.WithCancelCause(context.Background())
	one.stop = stop
	s.daemon.log.Info("source", "name", one.config.Name, "upstream", one.config.Request.Upstream, "dead", deadText(one.config.Dead))
	s.running.Go(func() {
		one.source.Run(taking, s.working)
		if err := one.queue.Close(); err != nil {
			s.daemon.log.Warn("source not closed", "name", one.config.Name, "error", err)
		}
	})
}

// deadText says where dead letters go.
func deadText(d config.Destination) string {
	switch {
	case d.Hash != "":
		return "hash " + d.Hash
	case d.Stream != "":
		return "stream " + d.Stream
	}
	return "list " + d.List
}

// reload puts other sources in force. On an error the old ones stay.
func (s *sources) reload(next []config.Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all, fresh []*drain
	for _, c := range next {
		i := slices.IndexFunc(s.mu.all, func(one *drain) bool { return reflect.DeepEqual(one.config, c) })
		if i >= 0 {
			all = append(all, s.mu.all[i])
			continue
		}
		one, err := s.open(c)
		if err != nil {
			for _, one := range fresh {
				_ = one.queue.Close() // nothing has been asked of it
			}
			return err
		}
		all, fresh = append(all, one), append(fresh, one)
	}
	for _, one := range s.mu.all {
		if !slices.Contains(all, one) {
			one.stop(headgate.ErrClosed)
		}
	}
	s.mu.all = all
	for _, one := range fresh {
		s.startLocked(one)
	}
	return nil
}

// list returns the sources that are drained now.
func (s *sources) list() []admin.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]admin.Source, len(s.mu.all))
	for i, one := range s.mu.all {
		list[i] = one.source
	}
	return list
}

// stop takes no more messages, and waits for the calls on their way until ctx
// ends, which cuts them off.
func (s *sources) stop(ctx context.Context) {
	s.mu.Lock()
	for _, one := range s.mu.all {
		if one.stop != nil {
			one.stop(headgate.ErrClosed)
		}
	}
	s.mu.Unlock()
	defer context.AfterFunc(ctx, func() { s.cut(headgate.ErrClosed) })()
	s.running.Wait()
}

// close lets go of what was opened and never begun.
func (s *sources) close() {
	s.cut(nil)
	for _, one := range s.mu.all {
		if one.stop == nil {
			_ = one.queue.Close() // nothing has been asked of it
		}
	}
}
