package sqlitestore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/headgate/headgate/internal/job"
)

// A process of its own, for what only another process can show: its name and the
// file are arguments behind childMark.
const childMark = "headgate-child"

func child(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), os.Args[0], childMark, name, path)
}

func TestMain(m *testing.M) {
	if len(os.Args) < 4 || os.Args[1] != childMark {
		os.Exit(m.Run())
	}
	s, err := Open(os.Args[3], Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	switch os.Args[2] {
	case "work":
		work(s)
	case "fill":
		fill(s)
	}
}

// background is the context of children, which end by being killed.
var background = context.Background()

// work has callers put jobs and workers run them until the process is killed. Each
// line that it prints is a promise: what it tells of has been acknowledged.
func work(s *Store) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	say := func(what, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id)
	}
	ctx := background
	for i := range 4 {
		wg.Go(func() {
			for {
				n := call(fmt.Sprint("q", i%2))
				n.Delay = time.Duration(rand.IntN(2)) * time.Millisecond
				if j, _, err := s.Put(ctx, n); err == nil {
					say("put", j.ID)
				}
			}
		})
		wg.Go(func() {
			worker := fmt.Sprint("w", i)
			for {
				taken, _ := s.Take(ctx, worker, fmt.Sprint("q", i%2), 3)
				for _, x := range taken {
					if rand.IntN(10) == 0 {
						continue // until the worker leaves
					}
					if s.Start(ctx, x.Ref) != nil {
						continue
					}
					e := job.End{Ref: x.Ref, State: job.Done, Attempts: []job.Attempt{{At: time.Now(), Status: 200}}, Response: &job.Response{Status: 200, Body: []byte(x.ID)}}
					switch rand.IntN(8) {
					case 0:
						e.State, e.Response = job.Waiting, nil
					case 1:
						if _, err := s.Cancel(ctx, x.ID, "enough", nil); err == nil {
							say("cancelled", x.ID)
						}
						continue
					case 2:
						then := call("callback/example.com")
						then.Job.Kind, then.Job.ID = job.Callback, job.NewID(time.Now())
						e.Then = &then
					}
					if s.End(ctx, e) != nil || e.State != job.Done {
						continue
					}
					say("done", x.ID)
					if e.Then != nil {
						say("put", e.Then.Job.ID)
					}
				}
				if rand.IntN(5) == 0 {
					_ = s.Leave(ctx, worker)
				}
			}
		})
	}
	wg.Wait()
}

// kills is how often the process dies, fewer in short tests.
const kills = 100

// What a process has acknowledged before it was killed is there afterwards, and no
// job is stuck. The file is one and the same for all of them.
func TestNothingIsLostWhenKilled(t *testing.T) {
	t.Parallel()
	n := kills
	if testing.Short() {
		n = 10
	}
	path := file(t)
	promised := make(map[string]string) // the last word on each job
	for i := range n {
		after := time.Duration(1+rand.IntN(60)) * time.Millisecond
		kill(t, path, after, promised)
		if i%20 == 19 || i == n-1 {
			verify(t, path, promised)
		}
		if t.Failed() {
			t.Fatalf("kill %d, %v after its first promise", i, after)
		}
	}
	if len(promised) < n {
		t.Errorf("%d jobs in %d lives, want more to be promised", len(promised), n)
	}
}

// kill has a process work, and kills it a while after its first promise.
func kill(t *testing.T, path string, after time.Duration, promised map[string]string) {
	t.Helper()
	cmd := child(t, "work", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what a last line without its end says was not heard
		}
		if timer == nil {
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		what, id, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !job.IsID(id) {
			t.Errorf("the process says %q", line)
			_ = cmd.Process.Kill()
			break
		}
		if what != "put" || promised[id] == "" { // a job may have ended before its put is heard of
			promised[id] = what
		}
	}
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); timer == nil || !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("the process ended by itself: %v", err)
	}
}

// verify opens the file and wants of it what was promised, and that each job has
// either ended or may be taken.
func verify(t *testing.T, path string, promised map[string]string) {
	t.Helper()
	s := open(t, path, Options{})
	defer s.Close()
	var check string
	err := sqlitex.ExecuteTransient(s.conn, `PRAGMA integrity_check`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error { check += stmt.ColumnText(0); return nil },
	})
	if err != nil || check != "ok" {
		t.Errorf("integrity_check = %q, %v", check, err)
	}
	for id, what := range promised {
		j, err := s.Get(t.Context(), id)
		switch {
		case err != nil:
			t.Errorf("%s, %s before the kill: %v", id, what, err)
		case what == "done":
			if r, err := s.Response(t.Context(), id); j.State != job.Done || err != nil || string(r.Body) != id {
				t.Errorf("%s was done before the kill; now %s, %q, %v", id, j.State, r.Body, err)
			}
		case what == "cancelled" && j.State != job.Cancelled:
			t.Errorf("%s was cancelled before the kill; now %s", id, j.State)
		}
	}
	counts, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if counts[job.Running] != 0 {
		t.Errorf("%d jobs run, and nobody runs them", counts[job.Running])
	}
	takeable := int64(0)
	for _, queue := range []string{"q0", "q1"} {
		taken, err := s.Take(t.Context(), "last", queue, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		takeable += int64(len(taken))
	}
	if takeable != counts[job.Waiting] {
		t.Errorf("%d jobs wait, of which %d may be taken", counts[job.Waiting], takeable)
	}
	if err := s.Leave(t.Context(), "last"); err != nil {
		t.Fatal(err)
	}
}
