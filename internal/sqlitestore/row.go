package sqlitestore

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/headgate/headgate/internal/job"
)

// row is a job and where it stands in the file.
type row struct {
	seq int64
	job job.Job
}

// delayed is the state in the file of a job that waits for a moment.
const delayed = "delayed"

// stateOf returns the state in the file of a job as it stands at now.
func stateOf(j *job.Job, now time.Time) string {
	if j.State == job.Waiting && j.NotBefore != nil && j.NotBefore.After(now) {
		return delayed
	}
	return string(j.State)
}

// columns are what scan reads.
const columns = `seq, id, kind, state, queue, priority, upstream, client, method, path, callback, parent, key, fingerprint,
	created, not_before, started, ended, expires, attempted, tried, losses, status, reason, location, attempts`

// scan reads a row of columns.
func scan(stmt *sqlite.Stmt) (row, error) {
	c := cursor{stmt: stmt}
	r := row{seq: c.int64()}
	j := &r.job
	j.ID, j.Kind, j.State = c.text(), job.Kind(c.text()), job.State(c.text())
	j.Queue, j.Priority = c.text(), int(c.int64())
	j.Upstream, j.Client, j.Method, j.Path = c.text(), c.text(), c.text(), c.text()
	j.Callback, j.Parent, j.Key, j.Fingerprint = c.text(), c.text(), c.text(), c.text()
	j.CreatedAt = time.UnixMilli(c.int64()).UTC()
	j.NotBefore, j.StartedAt, j.EndedAt, j.ExpiresAt = c.time(), c.time(), c.time(), c.time()
	j.Attempted, j.Tried, j.Losses, j.Status = int(c.int64()), int(c.int64()), int(c.int64()), int(c.int64())
	j.Reason, j.Location = c.text(), c.text()
	if j.State == delayed {
		j.State = job.Waiting
	}
	if attempts := c.text(); attempts != "" {
		if err := json.Unmarshal([]byte(attempts), &j.Attempts); err != nil {
			return row{}, fmt.Errorf("read the attempts of %s: %w", j.ID, err)
		}
	}
	return r, nil
}

// cursor reads one column after the other.
type cursor struct {
	stmt *sqlite.Stmt
	at   int
}

func (c *cursor) next() int {
	c.at++
	return c.at - 1
}

func (c *cursor) int64() int64 { return c.stmt.ColumnInt64(c.next()) }
func (c *cursor) text() string { return c.stmt.ColumnText(c.next()) }

func (c *cursor) time() *time.Time {
	i := c.next()
	if c.stmt.ColumnIsNull(i) {
		return nil
	}
	t := time.UnixMilli(c.stmt.ColumnInt64(i)).UTC()
	return &t
}

func (c *cursor) bytes() []byte {
	i := c.next()
	b := make([]byte, c.stmt.ColumnLen(i))
	c.stmt.ColumnBytes(i, b)
	return b
}

// insert stores a new job.
func (w *writer) insert(j job.Job, header string, body []byte) error {
	err := w.exec(`INSERT INTO jobs (id, kind, state, queue, priority, upstream, client, method, path, callback, parent, key, fingerprint,
		created, not_before, attempted, tried, losses, status, reason, location)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '', '')`,
		j.ID, string(j.Kind), stateOf(&j, w.now), j.Queue, j.Priority, j.Upstream, j.Client, j.Method, j.Path,
		j.Callback, j.Parent, j.Key, j.Fingerprint, j.CreatedAt, j.NotBefore)
	if err != nil {
		return err
	}
	seq := w.store.conn.LastInsertRowID()
	if err := w.exec(`INSERT INTO requests (seq, header, body) VALUES (?, ?, ?)`, seq, header, body); err != nil {
		return err
	}
	w.counted(&j, 1)
	w.tell(&j)
	return nil
}

// follow stores the job that follows from a step, if there is one.
func (w *writer) follow(n *job.New) error {
	if n == nil {
		return nil
	}
	return w.insert(job.Stored(*n, w.now), encodeHeader(n.Request.Header), n.Request.Body)
}

// update stores what a step has made of a job that was in a state.
func (w *writer) update(r *row, was job.State) error {
	j := &r.job
	var attempts any
	if len(j.Attempts) > 0 {
		text, err := json.Marshal(j.Attempts)
		if err != nil {
			return err
		}
		attempts = string(text)
	}
	err := w.exec(`UPDATE jobs SET state = ?, not_before = ?, started = ?, ended = ?, expires = ?,
		attempted = ?, tried = ?, losses = ?, status = ?, reason = ?, location = ?, attempts = ? WHERE seq = ?`,
		stateOf(j, w.now), j.NotBefore, j.StartedAt, j.EndedAt, j.ExpiresAt,
		j.Attempted, j.Tried, j.Losses, j.Status, j.Reason, j.Location, attempts, r.seq)
	if err != nil {
		return err
	}
	if j.Kind == job.Call {
		w.counts[was]--
	}
	w.counted(j, 1)
	w.tell(j)
	return nil
}

// remove deletes an ended job and all that belongs to it.
func (w *writer) remove(seq int64) error {
	for _, query := range []string{
		`DELETE FROM jobs WHERE seq = ?`,
		`DELETE FROM requests WHERE seq = ?`,
		`DELETE FROM responses WHERE seq = ?`,
	} {
		if err := w.exec(query, seq); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) counted(j *job.Job, n int64) {
	if j.Kind == job.Call {
		w.counts[j.State] += n
	}
}

func (w *writer) tell(j *job.Job) {
	w.notices = append(w.notices, job.Notice{ID: j.ID, Queue: j.Queue, Upstream: j.Upstream, State: j.State})
}

// find returns the row of a job, as its holder has it if there is one: nil if
// there is no such job.
func find(conn *sqlite.Conn, id string) (*row, error) {
	var found *row
	err := each(conn, jobOfID, func(stmt *sqlite.Stmt) error {
		r, err := scan(stmt)
		found = &r
		return err
	}, id)
	return found, err
}

// each calls do for each row of a query. It ends early, without an error, if do
// returns io.EOF.
func each(conn *sqlite.Conn, query string, do func(*sqlite.Stmt) error, bind ...any) (err error) {
	stmt, err := conn.Prepare(query)
	if err != nil {
		return err
	}
	bindAll(stmt, bind)
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if err := do(stmt); err != nil {
			if reset := stmt.Reset(); err == io.EOF {
				return reset
			}
			return err
		}
	}
}

// encodeHeader writes a header as HTTP/1.1 does: a line for each value.
func encodeHeader(h http.Header) string {
	var b strings.Builder
	for name, values := range h {
		for _, v := range values {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(oneLine.Replace(v))
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// oneLine keeps a value from becoming two, as net/http does.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

func decodeHeader(s string) http.Header {
	h := make(http.Header)
	for line := range strings.Lines(s) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			h[name] = append(h[name], value)
		}
	}
	return h
}
