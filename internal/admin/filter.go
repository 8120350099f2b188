package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/jobhttp"
)

const (
	pageSize = 1000 // jobs, the most that a store lists or purges at once
	abreast  = 64   // jobs that are retried or cancelled at once: a store does them in one group
)

// readFilter reads which jobs are meant. What it does not know it refuses: a
// filter that is misspelt would mean all jobs.
func readFilter(query url.Values, now time.Time) (job.Filter, error) {
	var f job.Filter
	for _, name := range slices.Sorted(maps.Keys(query)) {
		values := query[name]
		if len(values) > 1 && name != "state" {
			return f, fmt.Errorf("%w: %s is there %d times", errBadFilter, name, len(values))
		}
		value, err := values[0], error(nil)
		switch name {
		case "state":
			f.States, err = readStates(values)
		case "kind":
			f.Kind = job.Kind(value)
			if f.Kind != job.Call && f.Kind != job.Callback {
				err = fmt.Errorf("want %s or %s", job.Call, job.Callback)
			}
		case "upstream":
			f.Upstream = value
		case "client":
			f.Client = &value
		case "q":
			f.Text = value
		case "older":
			var age time.Duration
			if age, err = time.ParseDuration(value); err != nil || age < 0 {
				err = errors.New(`want a duration such as "30m" or "24h"`)
			}
			f.EndedBefore = now.Add(-age)
		case "limit":
			if f.Limit, err = strconv.Atoi(value); err != nil || f.Limit < 1 {
				err = errors.New("want a number from 1")
			}
		case "after":
			f.After = value
		default:
			return f, fmt.Errorf("%w: unknown %q; want state, upstream, client, q, kind, older, limit or after", errBadFilter, name)
		}
		if err != nil {
			return f, fmt.Errorf("%w: %s %q: %w", errBadFilter, name, value, err)
		}
	}
	return f, nil
}

// readStates reads states, each value one or several with commas between.
func readStates(values []string) ([]job.State, error) {
	var states []job.State
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			state := job.State(strings.TrimSpace(name))
			if !slices.Contains(job.States, state) {
				return nil, fmt.Errorf("want some of %v", job.States)
			}
			states = append(states, state)
		}
	}
	return states, nil
}

// readFilterOf reads which jobs an act is for. It can be done to jobs in some
// states only, and is for those in usual if none is named.
func readFilterOf(r *http.Request, can, usual []job.State) (job.Filter, error) {
	f, err := readFilter(r.URL.Query(), time.Now())
	if err != nil {
		return f, err
	}
	if len(f.States) == 0 {
		f.States = usual
	}
	for _, state := range f.States {
		if !slices.Contains(can, state) {
			return f, fmt.Errorf("%w: state %q: this can be done to jobs that are %v", errBadFilter, state, can)
		}
	}
	return f, nil
}

func (a *Admin) retryJobs(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilterOf(r, []job.State{job.Failed, job.Cancelled}, []job.State{job.Failed})
	if err != nil {
		return err
	}
	return a.doToAll(w, r, f, "retried", a.options.Jobs.Retry)
}

func (a *Admin) cancelJobs(w http.ResponseWriter, r *http.Request) error {
	open := []job.State{job.Waiting, job.Running}
	f, err := readFilterOf(r, open, open)
	if err != nil {
		return err
	}
	return a.doToAll(w, r, f, "cancelled", a.cancel)
}

// purgeJobs deletes ended jobs, a page at a time.
func (a *Admin) purgeJobs(w http.ResponseWriter, r *http.Request) error {
	ended := []job.State{job.Done, job.Failed, job.Cancelled}
	f, err := readFilterOf(r, ended, ended)
	if err != nil {
		return err
	}
	takeTime(w)
	left, purged := f.Limit, 0
	for {
		f.Limit = pageSize
		if left > 0 {
			f.Limit = min(left-purged, pageSize)
		}
		n, err := a.purge(r.Context(), f)
		if err != nil {
			return partly(err, purged, "purged")
		}
		if purged += n; n < f.Limit || purged == left {
			break
		}
	}
	jobhttp.WriteJSON(w, http.StatusOK, map[string]int{"purged": purged})
	return nil
}

func (a *Admin) purge(ctx context.Context, f job.Filter) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	return a.options.Jobs.Purge(ctx, f)
}

// doToAll does something to all jobs that a filter means, and answers with how
// many it could be done to. One that has changed meanwhile is passed over.
func (a *Admin) doToAll(w http.ResponseWriter, r *http.Request, f job.Filter, done string, do func(context.Context, string) (job.Job, error)) error {
	takeTime(w)
	left, count := f.Limit, 0
	for {
		f.Limit = pageSize
		if left > 0 {
			f.Limit = min(left-count, pageSize)
		}
		ctx, cancel := context.WithTimeout(r.Context(), storePatience)
		page, err := a.options.Jobs.List(ctx, f)
		if err == nil {
			var n int
			n, err = doAbreast(ctx, page.Jobs, do)
			count += n
		}
		cancel()
		if err != nil {
			return partly(err, count, done)
		}
		if page.Next == "" || left > 0 && count >= left {
			break
		}
		f.After = page.Next
	}
	jobhttp.WriteJSON(w, http.StatusOK, map[string]int{done: count})
	return nil
}

// doAbreast does something to jobs, some at once, until it fails.
func doAbreast(ctx context.Context, jobs []job.Job, do func(context.Context, string) (job.Job, error)) (int, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var count atomic.Int64
	var running sync.WaitGroup
	turns := make(chan struct{}, abreast)
	for _, j := range jobs {
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			if ctx.Err() != nil {
				return
			}
			switch _, err := do(ctx, j.ID); {
			case err == nil:
				count.Add(1)
			case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrEnded), errors.Is(err, job.ErrNotEnded):
			default:
				fail(err)
			}
		})
	}
	running.Wait()
	return int(count.Load()), context.Cause(ctx)
}

// partly is an error after which something was done all the same.
func partly(err error, count int, done string) error {
	if count == 0 {
		return err
	}
	return fmt.Errorf("%w; %d jobs were %s before", err, count, done)
}
