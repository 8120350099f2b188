package sqlitestore

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/headgate/headgate/internal/job"
)

// Copies that are made while jobs come in are whole, and hold at least what was
// acknowledged before.
func TestBackupWhileRunning(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "headgate.db")
	s := open(t, path, Options{})
	var acknowledged []string
	for range 200 {
		j, _, err := s.Put(t.Context(), call("q"))
		if err != nil {
			t.Fatal(err)
		}
		acknowledged = append(acknowledged, j.ID)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := s.Put(t.Context(), call("q")); err != nil {
					t.Errorf("Put during a backup: %v", err)
					return
				}
			}
		})
	}
	for name, backup := range map[string]func(to string) error{
		"Backup": func(to string) error { return s.Backup(t.Context(), to) },
		"the shell": func(to string) error {
			shell, err := exec.LookPath("sqlite3")
			if err != nil {
				t.Log("the sqlite3 shell is not there to be tried")
				return s.Backup(t.Context(), to)
			}
			out, err := exec.Command(shell, path, ".timeout 5000", ".backup "+to).CombinedOutput()
			if len(out) > 0 {
				t.Logf("%s", out)
			}
			return err
		},
	} {
		to := filepath.Join(dir, name+".db")
		if name == "the shell" {
			to = filepath.Join(dir, "shell.db")
		}
		if err := backup(to); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		copied := open(t, to, Options{})
		for _, id := range acknowledged {
			if _, err := copied.Get(t.Context(), id); err != nil {
				t.Errorf("%s: Get from the copy: %v", name, err)
			}
		}
		if taken, err := copied.Take(t.Context(), "w", "q", 1); err != nil || len(taken) != 1 || len(taken[0].Request.Body) != len(kilobyte) {
			t.Errorf("%s: Take from the copy = %d jobs, %v", name, len(taken), err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestBackupRefuses(t *testing.T) {
	s := open(t, file(t), Options{})
	if _, _, err := s.Put(t.Context(), call("q")); err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(t.TempDir(), "there.db")
	if err := os.WriteFile(there, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), there); !errors.Is(err, os.ErrExist) {
		t.Errorf("Backup over a file = %v, want that it exists", err)
	}
	if text, err := os.ReadFile(there); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(job.ErrUnavailable)
	to := filepath.Join(t.TempDir(), "cancelled.db")
	if err := s.Backup(ctx, to); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("Backup after its context ended = %v, want the cause", err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a backup that failed left a file: %v", err)
	}
}
