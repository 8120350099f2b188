package sqlitestore

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/headgate/headgate/internal/job"
)

// List is as in job.Store. A cursor is where the last job of a page stands.
func (s *Store) List(ctx context.Context, f job.Filter) (job.Page, error) {
	limit := limitOf(f)
	counts, err := s.Counts(ctx)
	if err != nil {
		return job.Page{}, err
	}
	var found []row
	err = s.read(ctx, func(conn *sqlite.Conn) (err error) {
		found, err = match(conn, f, limit+1, counts)
		return err
	})
	if err != nil {
		return job.Page{}, err
	}
	var p job.Page
	if len(found) > limit {
		found = found[:limit]
		p.Next = strconv.FormatInt(found[limit-1].seq, 10)
	}
	for _, r := range found {
		p.Jobs = append(p.Jobs, r.job)
	}
	return p, nil
}

func limitOf(f job.Filter) int {
	if f.Limit <= 0 {
		return 100
	}
	return min(f.Limit, 1000)
}

// few is how many jobs are looked up one by one, or sorted, in less time than it
// takes to read all of a large file in its order.
const few = 2000

// match returns up to n of what f means, latest first. counts says how many calls
// there are in each state.
func match(conn *sqlite.Conn, f job.Filter, n int, counts map[job.State]int64) ([]row, error) {
	states := slices.Clone(f.States)
	if len(states) == 0 {
		states = slices.Clone(job.States)
	}
	slices.Sort(states) // waiting is the last
	states = slices.Compact(states)
	var meant int64
	for _, state := range states {
		meant += counts[state]
	}
	if slices.Contains(states, job.Waiting) {
		states = slices.Insert(states, 0, delayed)
	}
	q := question{conn: conn, kind: cmp.Or(f.Kind, job.Call), n: n, below: math.MaxInt64}
	if after, err := strconv.ParseInt(f.After, 10, 64); err == nil {
		q.below = after
	}
	q.add(f.Upstream != "", ` AND upstream = ?`, f.Upstream)
	if f.Client != nil {
		q.add(true, ` AND client = ?`, *f.Client)
	}
	q.add(!f.EndedBefore.IsZero(), ` AND ended < ?`, f.EndedBefore)
	q.add(f.Text != "", ` AND (instr(id, ?) OR instr(path, ?) OR instr(reason, ?))`, f.Text, f.Text, f.Text)
	if q.where != "" && q.kind == job.Call && meant > few {
		return q.scan(states)
	}
	return q.merge(states, counts[job.Waiting] <= few)
}

// question asks for up to n jobs of a kind for which some conditions hold, and
// that stand below some place.
type question struct {
	conn  *sqlite.Conn
	kind  job.Kind
	n     int
	below int64
	where string
	bind  []any
}

func (q *question) add(is bool, condition string, bind ...any) {
	if is {
		q.where += condition
		q.bind = append(q.bind, bind...)
	}
}

// scan reads all jobs in the order of their age until it has enough.
func (q *question) scan(states []job.State) ([]row, error) {
	names := make([]string, len(states))
	for i, state := range states {
		names[i] = "'" + string(state) + "'"
	}
	return q.ask(nil, scanQuery(strings.Join(names, ", "), q.where), math.MinInt64)
}

func scanQuery(states, where string) string {
	return `SELECT ` + columns + ` FROM jobs NOT INDEXED WHERE kind = ? AND seq < ? AND seq > ? AND +state IN (` + states + `)` + where + ` ORDER BY seq DESC LIMIT ?`
}

// merge asks for one state after the other, each in order from its index. Those
// that wait have none in this order: few are read from that of queues and sorted,
// many are looked for among all jobs that may be on the page.
func (q *question) merge(states []job.State, fewWaiting bool) (found []row, err error) {
	above := int64(math.MinInt64)
	for _, state := range states {
		query := stateQuery(state, q.where)
		if state == job.Waiting && !fewWaiting {
			query = scanQuery("'waiting'", q.where)
		}
		if found, err = q.ask(found, query, above); err != nil {
			return nil, err
		}
		slices.SortFunc(found, func(a, b row) int { return cmp.Compare(b.seq, a.seq) })
		if len(found) >= q.n {
			found = found[:q.n]
			above = found[q.n-1].seq
		}
	}
	return found, nil
}

func stateQuery(state job.State, where string) string {
	from, condition := `jobs INDEXED BY jobs_state`, ` AND state <> 'waiting'`
	if state == job.Waiting {
		from, condition = `jobs INDEXED BY jobs_waiting`, ``
	}
	return `SELECT ` + columns + ` FROM ` + from + ` WHERE kind = ? AND seq < ? AND seq > ? AND state = '` + string(state) + `'` +
		condition + where + ` ORDER BY seq DESC LIMIT ?`
}

// ask appends what a query finds above some place.
func (q *question) ask(found []row, query string, above int64) ([]row, error) {
	bind := append([]any{string(q.kind), q.below, above}, q.bind...)
	err := each(q.conn, query, func(stmt *sqlite.Stmt) error {
		r, err := scan(stmt)
		found = append(found, r)
		return err
	}, append(bind, q.n)...)
	return found, err
}
