package stores

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
)

// inDir runs a test in a directory of its own.
func inDir(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
}

func call(path string) job.New {
	n := job.New{Request: job.Request{Method: "GET", Path: path}}
	n.Job.ID, n.Job.Kind, n.Job.Upstream, n.Job.Queue = job.NewID(time.Now()), job.Call, "api", "api"
	return n
}

func TestFileThatNobodyNamedIsMadeByTheFirstJob(t *testing.T) {
	inDir(t)
	s, err := Jobs(config.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if counts, err := s.Counts(t.Context()); err != nil || counts[job.Waiting] != 0 {
		t.Errorf("Counts = %v, %v, want none", counts, err)
	}
	if _, err := s.Get(t.Context(), "job_1"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	files, err := filepath.Glob("*")
	if err != nil || len(files) != 0 {
		t.Fatalf("files %q before the first job, want none", files)
	}
	j, _, err := s.Put(t.Context(), call("/a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Jobs(config.Config{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.Get(t.Context(), j.ID); err != nil || got.Path != "/a" {
		t.Errorf("Get after a restart = %+v, %v, want the job", got, err)
	}
}

func TestFileThatNobodyNamedAndAnotherHasIsAskedForAgain(t *testing.T) {
	inDir(t)
	named := config.Config{Jobs: "./headgate.db"}
	other, err := Jobs(named)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Jobs(config.Config{})
	if s == nil || err == nil {
		t.Fatalf("Jobs of a file in use = %v, %v, want a store and why it is not open", s, err)
	}
	defer s.Close()
	if _, _, err := s.Put(t.Context(), call("/a")); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("Put = %v, want ErrUnavailable", err)
	}
	if second, err := Jobs(named); second != nil || err == nil {
		t.Errorf("Jobs of a named file in use = %v, %v, want an error alone", second, err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(t.Context(), call("/a")); err != nil {
		t.Errorf("Put once the other is closed = %v", err)
	}
}

func TestNoJobsAreKeptIfSaid(t *testing.T) {
	inDir(t)
	if s, err := Jobs(config.Config{Jobs: "none"}); s != nil || err != nil {
		t.Errorf("Jobs of none = %v, %v, want nothing", s, err)
	}
	if _, err := os.Stat("headgate.db"); err == nil {
		t.Error("headgate.db was made")
	}
}
