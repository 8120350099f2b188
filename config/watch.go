package config

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must rest before a change is told: editors and
// orchestrators write in several steps.
const settle = 100 * time.Millisecond

// Watch calls changed after the file at path was written, replaced, removed, or
// reached through a changed symbolic link, once for changes in quick
// succession. It watches the folders of path and of what path links to, since
// editors rename over files and Kubernetes swaps links. Calls come one after
// another on the goroutine of Watch. It blocks until ctx ends and returns its
// cause, or why it cannot watch.
func Watch(ctx context.Context, path string, changed func()) error {
	w, err := newWatch(path)
	if err != nil {
		return err
	}
	return w.run(ctx, changed)
}

// A watch follows one file. From newWatch on no change is missed.
type watch struct {
	path   string // absolute
	real   string // what path leads to; "" if it leads nowhere
	events <-chan fsnotify.Event
	errs   <-chan error
	add    func(folder string) error
	close  func() error
}

func newWatch(path string) (*watch, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	fw, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	if err := fw.Add(filepath.Dir(abs)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", path, err), fw.Close())
	}
	w := &watch{path: abs, events: fw.Events, errs: fw.Errors, add: fw.Add, close: fw.Close}
	w.follow()
	return w, nil
}

// follow finds out where path leads, watches the folder there, and reports
// whether it is elsewhere than before. A folder that cannot be watched is one
// that has just gone: path's own folder tells when that changes.
func (w *watch) follow() (moved bool) {
	real, err := filepath.EvalSymlinks(w.path)
	if err != nil {
		real = ""
	}
	moved = real != w.real
	if moved && real != "" {
		_ = w.add(filepath.Dir(real))
	}
	w.real = real
	return moved
}

// run tells of changes until ctx ends, and closes the watch.
func (w *watch) run(ctx context.Context, changed func()) error {
	defer w.close()
	rest := time.NewTimer(settle)
	rest.Stop()
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.events:
			if !ok {
				return fmt.Errorf("watch %s: %w", w.path, fsnotify.ErrClosed)
			}
			was := w.real
			touched := e.Name == w.path || e.Name == was
			if w.follow() || touched && e.Op != fsnotify.Chmod {
				rest.Reset(settle)
			}
		case err, ok := <-w.errs:
			switch {
			case errors.Is(err, fsnotify.ErrEventOverflow): // some events are lost: assume one was ours
				rest.Reset(settle)
			case ok:
				return fmt.Errorf("watch %s: %w", w.path, err)
			default:
				return fmt.Errorf("watch %s: %w", w.path, fsnotify.ErrClosed)
			}
		case <-rest.C:
			changed()
		}
	}
}
