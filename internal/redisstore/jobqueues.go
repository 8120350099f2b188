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
		q.Ripe, q.Next, q.Priority = int(r.number()), r.micros(), int(r.number())
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

// Take is as in job.Store. It returns fewer than n if their requests are long: it
// stops when they have 4 MiB. After an error the worker may hold jobs that it
// does not know of; Leave gives them back.
func (j *Jobs) Take(ctx context.Context, worker, queue string, n int) ([]job.Taken, error) {
	if n <= 0 {
		return nil, nil
	}
	m, err := j.asked(ctx, "take", worker, queue, strconv.Itoa(min(n, scanMost)), rand.Text())
	if err != nil {
		return nil, err
	}
	fields, err := m.ToArray()
	if err != nil {
		return nil, fmt.Errorf("take: %w", err)
	}
	r := &reader{fields: fields}
	taken := make([]job.Taken, 0, len(fields)/3)
	for r.err == nil && len(r.fields) > 0 {
		id, record, request := r.text(), r.text(), r.text()
		t := job.Taken{Ref: job.Ref{ID: id, Fence: fenceOf(record)}}
		if t.Job, err = decodeJob(id, record); err != nil {
			return nil, fmt.Errorf("take: %w", err)
		}
		t.Request.Method, t.Request.Path = t.Job.Method, t.Job.Path
		if t.Request.Header, t.Request.Body, err = decodeBody(request); err != nil {
			return nil, fmt.Errorf("take: request of %s: %w", id, err)
		}
		taken = append(taken, t)
	}
	return taken, r.err
}

// Start is as in job.Store.
func (j *Jobs) Start(ctx context.Context, r job.Ref) error {
	return counted(j.works.ask(ctx, encodeStart(r), againAt))
}

// End is as in job.Store.
func (j *Jobs) End(ctx context.Context, e job.End) error {
	text, err := encodeEnd(&e)
	if err != nil {
		return err
	}
	return counted(j.works.ask(ctx, text, againAt))
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
	_, err := j.asked(ctx, "keep", worker)
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
