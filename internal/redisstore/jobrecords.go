package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/job"
)

// Put is as in job.Store. A job that is put again under its ID is stored once.
func (j *Jobs) Put(ctx context.Context, n job.New) (job.Job, bool, error) {
	complete(&n)
	g := j.puts.ask(ctx, encodeNew(&n), 0)
	if g.err != nil {
		return job.Job{}, false, g.err
	}
	if g.answer.IsInt64() {
		return job.Stored(n, g.at), false, nil
	}
	there, err := answered(g.answer)
	switch {
	case err != nil:
		return job.Job{}, false, err
	case there.ID == n.Job.ID:
		return there, false, nil
	case there.Fingerprint != n.Job.Fingerprint:
		return job.Job{}, true, job.ErrOtherCall
	}
	return there, true, nil
}

// answered reads a job that there was already: its ID and its record.
func answered(m rueidis.RedisMessage) (job.Job, error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 2 {
		return job.Job{}, fmt.Errorf("put: not an answer: %v", m)
	}
	r := &reader{fields: parts}
	id, record := r.text(), r.text()
	if r.err != nil {
		return job.Job{}, r.err
	}
	return decodeJob(id, record)
}

// Get is as in job.Store.
func (j *Jobs) Get(ctx context.Context, id string) (job.Job, error) {
	values, err := j.values(ctx, "job:"+id)
	if err != nil {
		return job.Job{}, err
	}
	return decodeJob(id, values[0])
}

// Response is as in job.Store.
func (j *Jobs) Response(ctx context.Context, id string) (job.Response, error) {
	values, err := j.values(ctx, "job:"+id, "response:"+id)
	if err != nil {
		return job.Response{}, err
	}
	one, err := decodeJob(id, values[0])
	switch {
	case err != nil:
		return job.Response{}, err
	case !one.State.Ended():
		return job.Response{}, job.ErrNotEnded
	case values[1] == "":
		return job.Response{}, job.ErrNoResponse
	}
	r := job.Response{Status: one.Status}
	if r.Header, r.Body, err = decodeBody(values[1]); err != nil {
		return job.Response{}, fmt.Errorf("read the response of %s: %w", id, err)
	}
	return r, nil
}

// values returns what some keys hold, "" for nothing.
func (j *Jobs) values(ctx context.Context, names ...string) ([]string, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = j.prefix + name
	}
	end := time.Now().Add(insist)
	for again := false; ; again = true {
		values, err := within(ctx, j.store, func(ctx context.Context, client rueidis.Client) ([]string, error) {
			return client.Do(ctx, client.B().Mget().Key(keys...).Build()).AsStrSlice() // nil is ""
		})
		if err == nil && len(values) != len(keys) {
			return nil, fmt.Errorf("MGET: %d values for %d keys", len(values), len(keys))
		}
		if err == nil {
			return values, nil
		}
		retry, told := j.reading(err)
		if !retry || !j.pause(ctx, again, end) {
			return nil, fmt.Errorf("get: %w", told)
		}
	}
}

// How many jobs a step looks at, or deletes, and how many a page has.
const (
	scanMost  = 500
	pageUsual = 100
	pageMost  = 1000
)

// List is as in job.Store. Jobs that were created in the same microsecond come by
// their IDs.
func (j *Jobs) List(ctx context.Context, f job.Filter) (job.Page, error) {
	limit := pageUsual
	if f.Limit > 0 {
		limit = min(f.Limit, pageMost)
	}
	var p job.Page
	at, err := parseCursor(f.After)
	if err != nil {
		return p, err
	}
	for {
		found, err := j.scan(ctx, f, at)
		if err != nil {
			return p, err
		}
		for _, one := range found {
			if !matches(&f, &one) {
				continue
			}
			if len(p.Jobs) == limit { // so there is another page
				p.Next = cursorOf(&p.Jobs[limit-1]).String()
				return p, nil
			}
			p.Jobs = append(p.Jobs, one)
		}
		if len(found) < scanMost {
			return p, nil
		}
		at = cursorOf(&found[len(found)-1])
	}
}

// scan returns the next jobs of a kind and some states, at most scanMost; fewer
// if there are no more.
func (j *Jobs) scan(ctx context.Context, f job.Filter, at cursor) ([]job.Job, error) {
	kind, states := f.Kind, f.States
	if kind == "" {
		kind = job.Call
	}
	if len(states) == 0 {
		states = job.States
	}
	args := []string{string(kind), at.created, at.id, strconv.Itoa(scanMost)}
	seen := make(map[job.State]bool)
	for _, s := range states {
		if !seen[s] {
			args = append(args, string(s))
		}
		seen[s] = true
	}
	m, err := j.asked(ctx, "list", args...)
	if err != nil {
		return nil, err
	}
	fields, err := m.ToArray()
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	r := &reader{fields: fields}
	var found []job.Job
	for r.err == nil && len(r.fields) > 0 {
		id, record := r.text(), r.text()
		one, err := decodeJob(id, record)
		if err != nil && !errors.Is(err, job.ErrNotFound) { // somebody has deleted it
			return nil, err
		}
		if err == nil {
			found = append(found, one)
		}
	}
	return found, r.err
}

// matches says whether a job of the right kind and state is meant.
func matches(f *job.Filter, j *job.Job) bool {
	return (f.Upstream == "" || j.Upstream == f.Upstream) &&
		(f.Client == nil || j.Client == *f.Client) &&
		(f.EndedBefore.IsZero() || j.EndedAt != nil && j.EndedAt.Before(f.EndedBefore)) &&
		(strings.Contains(j.ID, f.Text) || strings.Contains(j.Path, f.Text) || strings.Contains(j.Reason, f.Text))
}

// cursor is a job behind which a list goes on: those created before it, or at the
// same moment and with a lower ID.
type cursor struct{ created, id string }

func cursorOf(j *job.Job) cursor {
	return cursor{strconv.FormatInt(j.CreatedAt.UnixMicro(), 10), j.ID}
}

func (c cursor) String() string { return c.created + "-" + c.id }

func parseCursor(s string) (cursor, error) {
	if s == "" {
		return cursor{created: "+inf"}, nil
	}
	created, id, ok := strings.Cut(s, "-")
	if n, err := strconv.ParseInt(created, 10, 64); !ok || err != nil || n < 0 || n > math.MaxInt64/2 || id == "" {
		return cursor{}, fmt.Errorf("list: %q is no cursor of a page", s)
	}
	return cursor{created, id}, nil
}

// Counts is as in job.Store.
func (j *Jobs) Counts(ctx context.Context) (map[job.State]int64, error) {
	m, err := j.asked(ctx, "counts")
	if err != nil {
		return nil, err
	}
	ns, err := m.AsIntSlice()
	if err != nil || len(ns) != len(job.States) {
		return nil, fmt.Errorf("counts: not an answer: %v", m)
	}
	counts := make(map[job.State]int64)
	for i, s := range job.States {
		counts[s] = ns[i]
	}
	return counts, nil
}

// Cancel is as in job.Store. What follows is made of the job as it is seen first:
// if it changes before it is cancelled, it is looked at again.
func (j *Jobs) Cancel(ctx context.Context, id, reason string, then func(job.Job) *job.New) (job.Job, error) {
	for {
		seen, follows := "", ""
		if then != nil {
			values, err := j.values(ctx, "job:"+id)
			if err != nil {
				return job.Job{}, err
			}
			one, err := decodeJob(id, values[0])
			if err != nil {
				return job.Job{}, err
			}
			seen = values[0]
			if one.Cancel(reason, j.retention, time.Now().UTC()) == nil {
				follows = encodeThen(then(one))
			}
		}
		keep := strconv.FormatInt(j.retention.Microseconds(), 10)
		m, err := j.ask(ctx, "cancel", func(again bool) []string {
			return []string{id, reason, flagText(again), seen, keep, follows}
		})
		one, err := changed(id, m, err)
		if !errors.Is(err, errChanged) {
			return one, err
		}
	}
}

// Retry is as in job.Store.
func (j *Jobs) Retry(ctx context.Context, id string) (job.Job, error) {
	m, err := j.ask(ctx, "retry", func(again bool) []string { return []string{id, flagText(again)} })
	return changed(id, m, err)
}

func flagText(b bool) string { return strconv.FormatInt(flag(b), 10) }

// errChanged says that a job does not stand any more as it was seen.
var errChanged = errors.New("the job has changed meanwhile")

// changed reads a job that was changed, or why it was not.
func changed(id string, m rueidis.RedisMessage, err error) (job.Job, error) {
	if err != nil {
		return job.Job{}, err
	}
	text, err := m.ToString()
	if err != nil {
		return job.Job{}, err
	}
	switch text {
	case "none":
		return job.Job{}, job.ErrNotFound
	case "ended":
		return job.Job{}, job.ErrEnded
	case "not ended":
		return job.Job{}, job.ErrNotEnded
	case "changed":
		return job.Job{}, errChanged
	}
	return decodeJob(id, text)
}

// Purge is as in job.Store.
func (j *Jobs) Purge(ctx context.Context, f job.Filter) (int, error) {
	var ended []job.State
	for _, s := range f.States {
		if s.Ended() {
			ended = append(ended, s)
		}
	}
	switch {
	case len(f.States) == 0:
		f.States = []job.State{job.Done, job.Failed, job.Cancelled}
	case len(ended) == 0:
		return 0, nil
	default:
		f.States = ended
	}
	p, err := j.List(ctx, f)
	deleted := 0
	for ids := p.Jobs; err == nil && len(ids) > 0; {
		n := min(len(ids), scanMost)
		var args []string
		for _, one := range ids[:n] {
			args = append(args, one.ID)
		}
		ids = ids[n:]
		var m rueidis.RedisMessage
		if m, err = j.asked(ctx, "purge", args...); err != nil {
			break
		}
		var gone int64
		gone, err = m.AsInt64()
		deleted += int(gone)
	}
	return deleted, err
}
