//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate"
)

// many instances share manyQuota, with so many callers each: twice as many as
// it takes to use a fiftieth.
const (
	many      = 50
	manyQuota = 5000
	manyEach  = 10
)

func measureMany(ctx context.Context, g *rig, s settings) (string, error) {
	var o outcome
	for range s.rounds {
		if err := crowd(ctx, g, s.long, &o); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf(`### %[1]d instances

%[1]d gates in one process, each with connections to Redis and %[2]d callers of its own, in front of the same upstream, in that
process too. Saturated for %[3]v, %[4]d rounds.

| quota | in line at the end | usage | later | refused | calls not 200 | smallest share ÷ mean | max ÷ min | syncs per call | µs CPU of Redis per call | ms timers late, p99 |
|---|---|---|---|---|---|---|---|---|---|---|
| %[5]s | %[14]s | %[6]s | %[7]s | %[8]s | %[9]s | %[10]s | %[11]s | %[12]s | %[13]s | %[15]s |
`, many, manyEach, s.long, s.rounds, fmt.Sprintf("`%d/1s`", manyQuota),
		summary("%.1f %%", o.usage), summary("%.1f %%", o.later), counted(o.refused, o.arrived), counted(o.failed, o.completed),
		summary("%.2f", o.least), summary("%.2f", o.ratio), summary("%.4f", o.syncs), summary("%.1f", o.cpu), summary("%.0f", o.inLine), summary("%.1f", o.late)), nil
}

// crowd is one turn.
func crowd(ctx context.Context, g *rig, d time.Duration, o *outcome) error {
	redis, err := g.startRedis(ctx)
	if err != nil {
		return err
	}
	defer redis.stop()
	upstream := newStrict(manyQuota)
	gates, err := openGates(ctx, many, redis, []string{fmt.Sprintf("%d/1s", manyQuota)}, headgate.Base(upstream))
	if err != nil {
		return err
	}
	defer closeGates(gates)

	var running sync.WaitGroup
	var ended atomic.Bool
	var calls, failed atomic.Int64
	for i, gate := range gates {
		client := gate.Client(upstreamName)
		for range manyEach {
			running.Go(func() {
				for !ended.Load() {
					calls.Add(1)
					if !callThrough(ctx, client, i) {
						failed.Add(1)
					}
				}
			})
		}
	}
	err = o.observe(ctx, redis, upstream, many, d)
	var waiting int
	for _, gate := range gates {
		waiting += inLine(gate.Status())
	}
	o.inLine = append(o.inLine, float64(waiting))
	ended.Store(true)
	running.Wait()
	o.completed += int(calls.Load())
	o.failed += int(failed.Load())
	return err
}

// callThrough makes a call and reports whether it was answered 200.
func callThrough(ctx context.Context, client *http.Client, instance int) bool {
	req, err := http.NewRequestWithContext(ctx, "GET", "/", nil)
	if err != nil {
		return false
	}
	req.Header.Set(instanceHeader, strconv.Itoa(instance))
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// RoundTrip answers as listen does, without a network. It tells whoever traces
// the request that it was written.
func (s *strict) RoundTrip(req *http.Request) (*http.Response, error) {
	instance, err := strconv.Atoi(req.Header.Get(instanceHeader))
	if err != nil {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
		if trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{})
		}
		if trace.WroteRequest != nil {
			trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
	}
	resp := &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, Request: req,
	}
	if !s.serve(instance) {
		resp.StatusCode = http.StatusTooManyRequests
		resp.Header.Set("Retry-After", "1")
	}
	resp.Status = strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)
	return resp, nil
}
