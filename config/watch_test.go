package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

func TestWatchTellsOfChanges(t *testing.T) {
	for _, test := range []struct {
		name   string
		setUp  func(t *testing.T, dir string) (path string)
		change func(t *testing.T, dir string)
	}{
		{"write in place", plainFile, func(t *testing.T, dir string) { write(t, dir, "headgate.yaml", "b") }},
		{"rename over", plainFile, func(t *testing.T, dir string) {
			write(t, dir, "new.tmp", "b")
			rename(t, dir, "new.tmp", "headgate.yaml")
		}},
		{"remove and write", plainFile, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "headgate.yaml")); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "headgate.yaml", "b")
		}},
		{"swap of a link, as Kubernetes does", configMap, func(t *testing.T, dir string) {
			write(t, dir, "..2/headgate.yaml", "b")
			link(t, dir, "..2", "..data_tmp")
			rename(t, dir, "..data_tmp", "..data")
		}},
		{"write behind a link", func(t *testing.T, dir string) string {
			write(t, dir, "real/headgate.yaml", "a")
			link(t, dir, "real/headgate.yaml", "headgate.yaml")
			return filepath.Join(dir, "headgate.yaml")
		}, func(t *testing.T, dir string) { write(t, dir, "real/headgate.yaml", "b") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			changed := startWatch(t, test.setUp(t, dir))
			test.change(t, dir)
			wait(t, changed)
		})
	}
}

func TestWatchTellsASwapTwice(t *testing.T) {
	dir := t.TempDir()
	changed := startWatch(t, configMap(t, dir))
	for _, version := range []string{"..2", "..3"} {
		write(t, dir, version+"/headgate.yaml", version)
		link(t, dir, version, "..data_tmp")
		rename(t, dir, "..data_tmp", "..data")
		wait(t, changed)
	}
}

// In virtual time, with events made by hand: a file that keeps changing is told
// once, when it has rested; other files are not told of.
func TestWatchWaitsUntilAFileRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := plainFile(t, t.TempDir())
		events, errs := make(chan fsnotify.Event), make(chan error)
		w := &watch{path: path, real: path, events: events, errs: errs,
			add: func(string) error { return nil }, close: func() error { return nil }}
		start, told := time.Now(), []time.Duration{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.run(ctx, func() { told = append(told, time.Since(start)) }) }()

		for range 5 { // at 0, 50, … 200 ms
			events <- fsnotify.Event{Name: path, Op: fsnotify.Write}
			<-time.After(settle / 2)
		}
		<-time.After(time.Second - time.Since(start))
		events <- fsnotify.Event{Name: path + ".tmp", Op: fsnotify.Create}
		events <- fsnotify.Event{Name: path, Op: fsnotify.Chmod}
		<-time.After(time.Second)
		errs <- fsnotify.ErrEventOverflow
		<-time.After(time.Second)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run = %v, want context.Canceled", err)
		}
		if want := []time.Duration{200*time.Millisecond + settle, 2*time.Second + settle}; !slices.Equal(told, want) {
			t.Errorf("told at %v, want %v", told, want)
		}
	})
}

func TestWatchRefusesAMissingFolder(t *testing.T) {
	err := Watch(t.Context(), filepath.Join(t.TempDir(), "none", "headgate.yaml"), func() {})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Watch in a missing folder = %v, want os.ErrNotExist", err)
	}
}

func TestWatchReturnsTheCauseOfItsEnd(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := Watch(ctx, plainFile(t, t.TempDir()), func() {}); !errors.Is(err, stop) {
		t.Errorf("Watch = %v, want %v", err, stop)
	}
}

// startWatch watches path until the test ends; the watch stands when it
// returns.
func startWatch(t *testing.T, path string) <-chan struct{} {
	t.Helper()
	w, err := newWatch(path)
	if err != nil {
		t.Fatal(err)
	}
	changed, ended := make(chan struct{}, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- w.run(ctx, func() { changed <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run = %v, want context.Canceled", err)
		}
	})
	return changed
}

func wait(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("no change told in 10 s")
	}
}

func plainFile(t *testing.T, dir string) string {
	write(t, dir, "headgate.yaml", "a")
	return filepath.Join(dir, "headgate.yaml")
}

// configMap lays out a file as Kubernetes does: headgate.yaml leads through
// ..data to ..1.
func configMap(t *testing.T, dir string) string {
	write(t, dir, "..1/headgate.yaml", "a")
	link(t, dir, "..1", "..data")
	link(t, dir, "..data/headgate.yaml", "headgate.yaml")
	return filepath.Join(dir, "headgate.yaml")
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, dir, to, name string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}
