//go:build linux

package main

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/pump"
	"github.com/headgate/headgate/internal/redisstore"
)

const (
	upstream = "api"
	batch    = 256 // jobs taken at once, at most
)

// ours is Headgate: jobs go from the store through the pump and the door to a
// transport that answers at once, and their results back to the store.
type ours struct {
	store   *redisstore.Jobs
	gate    *headgate.Gate
	queue   string
	running sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc
	ripe    chan struct{} // has room for one
	ended   func()

	batch []job.Taken
}

func openHeadgate(ctx context.Context, redis *server, _ settings) (system, error) {
	store, err := redisstore.OpenJobs(redisstore.Options{Addrs: []string{redis.addr}})
	if err != nil {
		return nil, err
	}
	gate, err := headgate.Open(ctx, config.Config{Upstreams: map[string]config.Upstream{
		upstream: {URL: "http://api.test", Limits: []config.Limit{{Limit: "1000000000/1s"}}},
	}}, headgate.Base(answers{}))
	if err != nil {
		return nil, err
	}
	o := &ours{store: store, gate: gate, queue: job.Queue(upstream, "", ""), ripe: make(chan struct{}, 1)}
	o.ctx, o.stop = context.WithCancel(ctx)
	return o, nil
}

// answers answers each request at once.
type answers struct{}

func (answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody, Request: req,
	}, nil
}

func (o *ours) put(ctx context.Context, body []byte) error {
	_, _, err := o.store.Put(ctx, job.New{
		Job: job.Job{ID: job.NewID(time.Now()), Kind: job.Call, Upstream: upstream, Priority: 5, Queue: o.queue},
		Request: job.Request{Method: http.MethodPost, Path: "/v1/analyze", Body: body,
			Header: http.Header{"Content-Type": {"application/json"}}},
	})
	return err
}

func (o *ours) work(ended func()) error {
	o.ended = ended
	o.running.Go(func() {
		_ = o.store.Run(o.ctx, func(n job.Notice) { // until close
			if n.State == job.Waiting {
				o.wake()
			}
		})
	})
	o.running.Go(func() { o.keep() })
	o.running.Go(func() {
		_ = pump.New(o.gate.RoundTripper(upstream), pump.Options{}).Run(o.ctx, context.WithoutCancel(o.ctx), o) // until close
	})
	return nil
}

func (o *ours) wake() {
	select {
	case o.ripe <- struct{}{}:
	default:
	}
}

// keep renews the lease.
func (o *ours) keep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := o.store.Keep(o.ctx, worker); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-o.ctx.Done():
			return
		}
	}
}

const worker = "bench"

// Next is as in pump.Feed.
func (o *ours) Next(ctx context.Context) (pump.Item, error) {
	for len(o.batch) == 0 {
		taken, err := o.store.Take(ctx, worker, o.queue, batch)
		if err != nil {
			return nil, err
		}
		if o.batch = taken; len(taken) > 0 {
			break
		}
		select {
		case <-o.ripe:
		case <-time.After(20 * time.Millisecond): // a notice was lost
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	t := &o.batch[0]
	o.batch = o.batch[1:]
	return &item{ours: o, taken: t}, nil
}

// item is one job on its way.
type item struct {
	*ours
	taken *job.Taken
}

// Request is as in pump.Item.
func (x *item) Request() (*http.Request, error) {
	r := &x.taken.Request
	req, err := http.NewRequest(r.Method, r.Path, bytes.NewReader(r.Body))
	if err == nil {
		req.Header = r.Header
	}
	return req, err
}

// Started is as in pump.Item.
func (x *item) Started() error { return x.store.Start(context.WithoutCancel(x.ctx), x.taken.Ref) }

// Ended is as in pump.Item.
func (x *item) Ended(r pump.Result) {
	e := job.End{Ref: x.taken.Ref, State: job.Done, Attempts: r.Attempts, Tried: r.Tried, Response: r.Response}
	if r.Err != nil {
		e.State, e.Reason = job.Failed, r.Err.Error()
	}
	if err := x.store.End(context.WithoutCancel(x.ctx), e); err == nil && e.State == job.Done {
		x.ended()
	}
}

func (o *ours) close() {
	o.stop()
	o.running.Wait()
	_ = o.gate.Close() // it shares nothing
	_ = o.store.Close()
}
