package sqlitestore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/headgate/headgate/internal/job"
)

// script runs SQL on a file.
func script(t *testing.T, path, sql string) {
	t.Helper()
	conn, err := sqlite.OpenConn(uri(path))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := sqlitex.ExecuteScript(conn, sql, nil); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(path string)
		want    []string // parts of the error
		kind    error
	}{
		{"a newer schema", func(path string) {
			s := open(t, path, Options{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			script(t, path, fmt.Sprintf(`PRAGMA user_version = %d`, version+1))
		}, []string{fmt.Sprint("schema ", version+1), "name another file", "later headgate"}, errNotOurs},
		{"a file of another program", func(path string) {
			script(t, path, `CREATE TABLE songs (title TEXT)`)
		}, []string{"another program", "name another file"}, errNotOurs},
		{"text", func(path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("listen: 127.0.0.1\n", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"no SQLite file, or damaged", ".recover"}, job.ErrUnavailable},
		{"a damaged file", func(path string) {
			s := open(t, path, Options{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, path, 100) // the schema's page
		}, []string{"damaged", ".recover"}, job.ErrUnavailable},
		{"a directory", func(path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, []string{"must be writable"}, syscall.EISDIR},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := file(t)
			tt.prepare(path)
			s, err := Open(path, Options{})
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			for _, want := range append(tt.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Open = %q, want it to say %q", err, want)
				}
			}
			if !errors.Is(err, tt.kind) {
				t.Errorf("Open = %q, want it to be %q", err, tt.kind)
			}
			if s, err := Open(path, Options{}); err == nil || strings.Contains(err.Error(), "another process") {
				t.Errorf("Open again = %v, %v; want the lock let go of, and the same error", s, err)
			}
		})
	}
}

// damage overwrites what is at an offset of a file.
func damage(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("\xde\xad\xbe\xef", 500)), at); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesMissingDirectories(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "headgate.db")
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "directory must exist") {
		t.Errorf("Open = %v, want an error that names the file and the directory", err)
	}
}

func TestOpenRefusesASecondProcess(t *testing.T) {
	path := file(t)
	open(t, path, Options{})
	out, err := child(t, "open", path).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), path) || !strings.Contains(string(out), "another process has it open") {
		t.Errorf("Open in a second process: %v, %s; want it to fail and say why", err, out)
	}
	if s, err := Open(path, Options{}); err == nil {
		_ = s.Close()
		t.Error("Open a second time in one process succeeded")
	}
}

func TestFilesAreForTheirOwnerAlone(t *testing.T) {
	path := file(t)
	s := open(t, path, Options{})
	if _, _, err := s.Put(t.Context(), call("q")); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(path), "copy.db")
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-lock", copied} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got&0o077 != 0 {
			t.Errorf("%s has mode %o, want nothing for others: it holds credentials", name, got)
		}
	}
}

// What is written to a file without a name would be gone with the process.
func TestDeletedFileIsNotWrittenTo(t *testing.T) {
	for _, suffix := range []string{"", "-wal"} {
		path := file(t)
		s := open(t, path, Options{})
		if _, _, err := s.Put(t.Context(), call("q")); err != nil {
			t.Fatal(err)
		}
		aside := path + ".aside"
		if err := os.Rename(path+suffix, aside); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Put(t.Context(), call("q")); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), path+suffix) {
			t.Errorf("Put without %q = %v, want ErrUnavailable and its name", path+suffix, err)
		}
		if err := os.WriteFile(path+suffix, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Put(t.Context(), call("q")); !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("Put with another file in place of %q = %v, want ErrUnavailable", path+suffix, err)
		}
		if err := os.Rename(aside, path+suffix); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Put(t.Context(), call("q")); err != nil {
			t.Errorf("Put with %q back in its place = %v", path+suffix, err)
		}
	}
}

func TestOpenTakesOddNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20c?mode=memory#ü.db")
	s := open(t, path, Options{})
	j, _, err := s.Put(t.Context(), call("q"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	t.Chdir(filepath.Dir(path))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, filepath.Base(path), Options{})
	if _, err := s.Get(t.Context(), j.ID); err != nil {
		t.Errorf("Get after it was opened by its relative name: %v", err)
	}
}

func TestOpenFindsAllAsItWas(t *testing.T) {
	path := file(t)
	c := newClock()
	s := open(t, path, Options{Now: c.Now})
	var ids []string
	for range 4 {
		j, _, err := s.Put(t.Context(), call("q"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	taken, err := s.Take(t.Context(), "w", "q", 3)
	if err != nil || len(taken) != 3 {
		t.Fatalf("Take = %d jobs, %v", len(taken), err)
	}
	for _, x := range taken[:2] {
		if err := s.Start(t.Context(), x.Ref); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.End(t.Context(), job.End{Ref: taken[0].Ref, State: job.Done, Response: &job.Response{Status: 200, Body: kilobyte}}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is lost once, however often the file is opened
		s = open(t, path, Options{Now: c.Now})
		for i, want := range []struct {
			state  job.State
			losses int
		}{{job.Done, 0}, {job.Waiting, 1}, {job.Waiting, 0}, {job.Waiting, 0}} {
			if got, err := s.Get(t.Context(), ids[i]); err != nil || got.State != want.state || got.Losses != want.losses {
				t.Errorf("job %d = %+v, %v; want %+v", i, got, err, want)
			}
		}
		before[job.Running], before[job.Waiting] = 0, 3
		if after, err := s.Counts(t.Context()); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("Counts = %v, %v; want %v", after, err, before)
		}
		if err := s.End(t.Context(), job.End{Ref: taken[1].Ref, State: job.Done}); !errors.Is(err, job.ErrFenced) {
			t.Errorf("End of what was taken before = %v, want ErrFenced", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClosedStoresAreUnavailable(t *testing.T) {
	s := open(t, file(t), Options{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, _, put := s.Put(t.Context(), call("q"))
	_, get := s.Get(t.Context(), "job_1")
	_, queues := s.Queues(t.Context())
	for what, err := range map[string]error{"Put": put, "Get": get, "Queues": queues} {
		if !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("%s of a closed store = %v, want ErrUnavailable", what, err)
		}
	}
}
