package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/job"
)

// Queues is as in job.Store.
func (j *Jobs) Queues(ctx context.Context) ([]job.QueueStatus, error) {
	m, err := j.asked(ctx, "queues")
	if err != nil {
		return nil, err
	}
	fields, err := m.ToArray()
	if err != nil {
		return nil, fmt.Errorf("queues: %w", err)
	}
	r := &reader{fields: fields}
	var all []job.QueueStatus
	for r.err == nil && len(r.fields) > 0 {
		q := job.QueueStatus{Name: r.text()}
		kind, upstream, _ := strings.Cut(r.text(), " ")
		q.Kind, q.Upstream = job.Kind(kind), upstream
		q.Ripe, q.Next = int(r.number()), r.micros()
		if q.Ripe > 0 {
			q.Next = 0
		}
		all = append(all, q)
	}
	if r.err != nil {
		return nil, fmt.Errorf("queues: %w", r.err)
	}
	return all, nil
}

// Take is as in job.Store. It returns fewer than n if their requests are long:
// it stops at 4 MiB.
func (j *Jobs) Take(ctx context.Context, worker, queue string, n int) ([]job.Taken, error) {
	if n <= 0 {
		return nil, nil
	}
	token := rand.Text()
	args := []string{worker, queue, strconv.Itoa(min(n, scanMost)), token}
	m, err := j.asked(ctx, "take", args...)
	if err != nil {
		j.lose(worker, token)
		return nil, err
	}
	answers, err := m.ToArray()
	if err != nil {
		return nil, fmt.Errorf("take: %w", err)
	}
	taken := make([]job.Taken, 0, len(answers))
	for _, a := range answers {
		fields, err := a.ToArray()
		if err != nil || len(fields) != 3+len(readNames) {
			return nil, fmt.Errorf("take: not an answer: %v", a)
		}
		r := &reader{fields: fields}
		t := job.Taken{Ref: job.Ref{ID: r.text(), Fence: r.number()}}
		d := decode(r.text())
		t.Request.Header, t.Request.Body = d.header(), d.body()
		if t.Job, _, err = decodeJob(t.ID, r.fields); err != nil {
			return nil, err
		}
		t.Request.Method, t.Request.Path = t.Job.Method, t.Job.Path
		if r.err != nil || d.err != nil {
			return nil, fmt.Errorf("take: request of %s: %w", t.ID, errGarbled)
		}
		taken = append(taken, t)
	}
	return taken, nil
}

// lose notes that it is not known what a worker has taken. The next Keep gives it
// back.
func (j *Jobs) lose(worker, token string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.lost[worker] = append(j.mu.lost[worker], token)
}

// Start is as in job.Store.
func (j *Jobs) Start(ctx context.Context, r job.Ref) error {
	return counted(j.works.ask(ctx, []string{"start", r.ID, strconv.FormatInt(r.Fence, 10), "0"}, 3))
}

// End is as in job.Store.
func (j *Jobs) End(ctx context.Context, e job.End) error {
	status, response := "", ""
	if e.Response != nil {
		status = strconv.Itoa(e.Response.Status)
		response = encodeBody(e.Response.Header, e.Response.Body)
	}
	attempts := e.Attempts[max(0, len(e.Attempts)-job.AttemptsKept):]
	args := []string{
		"end", e.ID, strconv.FormatInt(e.Fence, 10), "0", string(e.State), micros(max(e.Delay, 0)),
		strconv.Itoa(e.Tried), e.Reason, e.Location, strconv.Itoa(len(e.Attempts)), strconv.Itoa(len(attempts)),
		encodeAttempts(attempts), status, response, micros(max(e.Keep, 0)),
	}
	if e.Then != nil {
		then := *e.Then
		if then.Job.ID == "" {
			then.Job.ID = job.NewID(time.Now())
		}
		if then.Job.Kind == "" {
			then.Job.Kind = job.Call
		}
		args = append(append(args, "then"), newArguments(&then)...)
	}
	return counted(j.works.ask(ctx, args, 3))
}

// counted reads whether a Start or an End counts.
func counted(g granted) error {
	if g.err != nil {
		return g.err
	}
	n, err := g.answer.AsInt64()
	if err == nil && n != 1 {
		err = job.ErrFenced
	}
	return err
}

// Keep is as in job.Store.
func (j *Jobs) Keep(ctx context.Context, worker string) error {
	j.mu.Lock()
	lost := j.mu.lost[worker]
	delete(j.mu.lost, worker)
	j.mu.Unlock()
	n := min(len(lost), scanMost)
	_, err := j.asked(ctx, "keep", append([]string{worker}, lost[:n]...)...)
	if err == nil {
		lost = lost[n:]
	}
	for _, token := range lost {
		j.lose(worker, token)
	}
	return err
}

// Leave is as in job.Store.
func (j *Jobs) Leave(ctx context.Context, worker string) error {
	for {
		m, err := j.asked(ctx, "leave", worker)
		if err != nil {
			return err
		}
		if n, err := m.AsInt64(); err != nil || n == 1 {
			return err
		}
	}
}

// Sweep is as in job.Store. Any instance may sweep for all.
func (j *Jobs) Sweep(ctx context.Context) (time.Duration, error) {
	m, err := j.asked(ctx, "sweep")
	if err != nil {
		return 0, err
	}
	n, err := m.AsInt64()
	return min(time.Duration(n)*time.Microsecond, time.Second), err
}

// Run is as in job.Store.
func (j *Jobs) Run(ctx context.Context, hear func(job.Notice)) error {
	return j.store.follow(ctx, func(text string) {
		for text != "" {
			n, rest, ok := cutNotice(text)
			if !ok {
				return // of a later release
			}
			hear(n)
			text = rest
		}
	})
}

// cutNotice reads the first notice of a message: a state, a space, and ID, queue
// and upstream behind their lengths and a colon.
func cutNotice(text string) (n job.Notice, rest string, ok bool) {
	state, rest, ok := strings.Cut(text, " ")
	if !ok {
		return n, "", false
	}
	n.State = job.State(state)
	for _, field := range []*string{&n.ID, &n.Queue, &n.Upstream} {
		length, after, ok := strings.Cut(rest, ":")
		size, err := strconv.Atoi(length)
		if !ok || err != nil || size < 0 || size > len(after) {
			return n, "", false
		}
		*field, rest = after[:size], after[size:]
	}
	return n, rest, true
}
