package sqlitestore

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/headgate/headgate/internal/job"
)

// Each question is answered from an index, in its order: without a sort and
// without looking at jobs that it is not about.
func TestQuestionsAreAnsweredFromIndices(t *testing.T) {
	s := open(t, file(t), Options{})
	for query, want := range map[string]string{
		takeJobs:                         "SEARCH jobs USING INDEX jobs_waiting (queue=?)",
		ripeJobs:                         "SEARCH jobs USING INDEX jobs_waiting (queue=?)",
		delayedJobs:                      "SEARCH jobs USING INDEX jobs_delayed (queue=?)",
		ripenJobs:                        "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?); LIST SUBQUERY 1; SEARCH jobs USING COVERING INDEX jobs_delayed (queue=? AND not_before<?); CREATE BLOOM FILTER",
		waitingQueue + "queue > ?" + one: "SEARCH jobs USING COVERING INDEX jobs_waiting (queue>?)",
		delayedQueue + "queue > ?" + one: "SEARCH jobs USING COVERING INDEX jobs_delayed (queue>?)",
		expiredJobs:                      "SEARCH jobs USING INDEX jobs_expires (expires<?)",
		jobOfKey:                         "SEARCH jobs USING INDEX jobs_key (client=? AND key=?)",
		jobOfID:                          "SEARCH jobs USING INDEX jobs_id (id=?)",
		runningJobs:                      "SEARCH jobs USING INDEX jobs_state (kind=? AND state=?)",
		stateQuery(job.Done, ""):         "SEARCH jobs USING INDEX jobs_state (kind=? AND state=? AND seq>? AND seq<?)",
		scanQuery("'waiting'", ""):       "SEARCH jobs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
	} {
		var plan []string
		err := each(s.conn, `EXPLAIN QUERY PLAN `+query, func(stmt *sqlite.Stmt) error {
			plan = append(plan, stmt.ColumnText(3))
			return nil
		})
		if got := strings.Join(plan, "; "); err != nil || got != want {
			t.Errorf("%s\nis answered by %s, %v\nwant           %s", query, got, err, want)
		}
	}
}

// fillWith has the file hold n jobs in each of some states.
func fillWith(b testing.TB, s *Store, n int, states ...job.State) {
	b.Helper()
	now := s.now()
	w := &writer{store: s, now: now}
	err := w.transaction(true, func() error {
		for _, state := range states {
			for i := range n {
				c := call(fmt.Sprint("api/client", i%8, "/"))
				if i%4 == 3 {
					c.Delay = time.Duration(i) * time.Minute
				}
				j := job.Stored(c, now)
				if err := w.insert(j, "", kilobyte); err != nil {
					return err
				}
				if state == job.Waiting {
					continue
				}
				r := row{seq: s.conn.LastInsertRowID(), job: j}
				if err := r.job.End(job.End{State: state}, now); err != nil {
					return err
				}
				if err := w.update(&r, job.Waiting); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWith100k is what each question takes with 100,000 jobs that wait and
// as many that are done.
func BenchmarkWith100k(b *testing.B) {
	s := open(b, file(b), Options{})
	fillWith(b, s, 100_000, job.Waiting, job.Done)
	ctx := b.Context()
	client := "client"
	for _, question := range []struct {
		name string
		ask  func() error
	}{
		{"Take", func() error { _, err := s.Take(ctx, "w", "api/client1/", 1); return err }},
		{"Queues", func() error { _, err := s.Queues(ctx); return err }},
		{"Counts", func() error { _, err := s.Counts(ctx); return err }},
		{"List", func() error { _, err := s.List(ctx, job.Filter{}); return err }},
		{"ListWaiting", func() error { _, err := s.List(ctx, job.Filter{States: []job.State{job.Waiting}}); return err }},
		{"ListFailed", func() error { _, err := s.List(ctx, job.Filter{States: []job.State{job.Failed}}); return err }},
		{"ListDoneOfClient", func() error {
			_, err := s.List(ctx, job.Filter{States: []job.State{job.Done}, Client: &client, Upstream: "api"})
			return err
		}},
		{"ListOfNobody", func() error { _, err := s.List(ctx, job.Filter{Upstream: "nowhere"}); return err }},
		{"ListText", func() error { _, err := s.List(ctx, job.Filter{Text: "nowhere", Limit: math.MaxInt}); return err }},
		{"Sweep", func() error { _, err := s.Sweep(ctx); return err }},
	} {
		b.Run(question.name, func(b *testing.B) {
			for b.Loop() {
				if err := question.ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
