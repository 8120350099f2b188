package sqlitestore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/headgate/headgate/internal/job"
)

// limitPages has the file grow to n pages at most, as a disk that is full does.
// The writer must be idle.
func limitPages(t *testing.T, s *Store, n int) {
	t.Helper()
	if err := sqlitex.ExecuteTransient(s.conn, fmt.Sprintf(`PRAGMA max_page_count = %d`, n), nil); err != nil {
		t.Fatal(err)
	}
}

// A disk that is full refuses what does not fit, loses nothing, and takes jobs
// again when there is room.
func TestFullDiskRefusesAndGoesOn(t *testing.T) {
	path := file(t)
	s := open(t, path, Options{})
	limitPages(t, s, 100)
	var mu sync.Mutex
	var stored []string
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				j, _, err := s.Put(t.Context(), call("q"))
				if err != nil {
					if !errors.Is(err, job.ErrFull) || !strings.Contains(err.Error(), path) {
						t.Errorf("Put with a full disk = %v, want ErrFull and the file's name", err)
					}
					return
				}
				mu.Lock()
				stored = append(stored, j.ID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(stored) < 50 {
		t.Errorf("%d jobs stored in 100 pages, want 50 at least: one that does not fit failed others", len(stored))
	}
	there := func(want int) {
		t.Helper()
		for _, id := range stored {
			if _, err := s.Get(t.Context(), id); err != nil {
				t.Errorf("Get of what was stored: %v", err)
			}
		}
		if counts, err := s.Counts(t.Context()); err != nil || counts[job.Waiting] != int64(want) {
			t.Errorf("Counts = %v, %v; want %d waiting", counts, err, want)
		}
	}
	there(len(stored))

	// What was taken and cannot be ended is still held, and ends when it can.
	taken, err := s.Take(t.Context(), "w", "q", 1)
	if err != nil || len(taken) != 1 {
		t.Fatalf("Take with a full disk = %d jobs, %v", len(taken), err)
	}
	end := job.End{Ref: taken[0].Ref, State: job.Done, Response: &job.Response{Status: 200, Body: make([]byte, 1<<20)}}
	if err := s.End(t.Context(), end); !errors.Is(err, job.ErrFull) {
		t.Errorf("End with a full disk = %v, want ErrFull", err)
	}
	limitPages(t, s, 1_000_000)
	if err := s.End(t.Context(), end); err != nil {
		t.Errorf("End when there is room again: %v", err)
	}
	there(len(stored) - 1)
	if _, _, err := s.Put(t.Context(), call("q")); err != nil {
		t.Errorf("Put when there is room again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{})
	there(len(stored))
}

// A file that may not grow, by a limit of the process, is what a disk that is full
// is: a write beyond it fails in the middle of a commit.
func TestShortWritesLoseNothing(t *testing.T) {
	path := file(t)
	cmd := child(t, "fill", path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	n := slices.IndexFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "job_") })
	if n < 20 || !strings.Contains(lines[n], job.ErrFull.Error()) || !strings.Contains(lines[n], path) {
		t.Fatalf("%d jobs stored, then %q; want 20 at least, and ErrFull with the file's name", n, lines[max(n, 0):])
	}
	stored := slices.Delete(lines, n, n+1)
	if len(stored) != n+1 {
		t.Errorf("once there is room again: %q, want one more job", lines[n:])
	}
	s := open(t, path, Options{})
	for _, id := range stored {
		if _, err := s.Get(t.Context(), id); err != nil {
			t.Errorf("Get of what was stored: %v", err)
		}
	}
	if _, _, err := s.Put(t.Context(), call("q")); err != nil {
		t.Errorf("Put by another process when there is room again: %v", err)
	}
}

// fill stores jobs until a file cannot grow beyond 1 MiB, and prints them, the
// error, and what comes of one more job when it can grow again.
func fill(s *Store) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	grow := func(bytes uint64) {
		limit.Cur = bytes
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	put := func() error {
		j, _, err := s.Put(background, call("q"))
		if err != nil {
			fmt.Println(err)
			return err
		}
		fmt.Println(j.ID)
		return nil
	}
	unlimited := limit.Cur
	grow(1 << 20)
	for put() == nil {
	}
	grow(unlimited)
	_ = put() // it has been printed
}

func TestOpenRefusesWhatCannotBeWritten(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "headgate") // others must be able to get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "child")
	if out, err := exec.Command("cp", os.Args[0], binary).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o555); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o755, 0o555} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(dir, 0o755)
	path := filepath.Join(closed, "headgate.db")
	cmd := child(t, "open", path)
	cmd.Path = binary
	if os.Getuid() == 0 { // whom nothing is refused
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), path) || !strings.Contains(string(out), "writable") {
		t.Errorf("Open in a directory that is closed to it: %v, %s; want it to fail, name the file and the mend", err, out)
	}
}
