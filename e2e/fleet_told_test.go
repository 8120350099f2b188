package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

func TestPauseReachesAllInstances(t *testing.T) {
	f := newFleet(t, 100)
	all := f.saturateAll(t, 15)
	time.Sleep(1500 * time.Millisecond)
	f.upstream.throttleOne()
	eventually(t, "one is throttled", func() bool { return !f.upstream.throttled().IsZero() })
	told := f.upstream.throttled()
	time.Sleep(time.Until(told.Add(4500 * time.Millisecond)))
	endAll(all...)

	wantAll200(t, all...)
	f.wantNoneRefused(t)
	const pause = 3 * time.Second
	var last time.Duration // what was on the wire
	for _, a := range f.upstream.history() {
		switch after := a.came.Sub(told); {
		case after > 0 && after < pause/2:
			last = max(last, after)
		case after >= pause/2 && after < pause:
			t.Errorf("instance %d sent %v after the answer, want nothing before %v", a.instance, after, pause)
		}
	}
	t.Logf("the last was sent %v after the answer", last)
	if last > 50*time.Millisecond {
		f.missed(t, "the last was sent %v after the answer, want 50 ms at most", last)
	}
	for i := range f.gates {
		h := f.upstream.history().by(i).between(told.Add(pause), time.Now())
		if len(h) == 0 {
			t.Errorf("instance %d has not gone on", i)
		} else {
			t.Logf("instance %d went on %v after the answer", i, h[0].came.Sub(told))
		}
	}
}

func TestBreakerOpensEverywhereAndOneProbes(t *testing.T) {
	up := newStrict(t, 1000)
	up.fail()
	f := &fleet{redis: redistest.Start(t), upstream: up}
	for range instances {
		g, _ := serveFile(t, fmt.Sprintf(`
state: %s
upstreams:
  default:
    url: %s
    limits: [1000/1s]
    retry: {attempts: 1}
    breaker: {failures: 50%% of 20, open_for: 2s}
`, f.redis.URL(), up.URL))
		g.url += "/default"
		f.gates = append(f.gates, g)
	}
	f.together(t)
	c := newClient(t)
	for i, g := range f.gates { // so that connections are there
		if a := get(t, c, g.url+"/", instanceHeader, fmt.Sprint(i)); a.status != 503 || isProblem(a, "breaker-open") {
			t.Fatalf("call = %v, want the upstream's 503", a)
		}
	}
	eventually(t, "the breaker opens", func() bool { return isProblem(get(t, c, f.gates[0].url+"/", instanceHeader, "0"), "breaker-open") })
	opened := time.Now()
	time.Sleep(100 * time.Millisecond)
	for i, g := range f.gates[1:] {
		began := time.Now()
		a := get(t, c, g.url+"/", instanceHeader, fmt.Sprint(i+1))
		took := time.Since(began)
		if !isProblem(a, "breaker-open") || took > 500*time.Millisecond { // on a busy machine; it is open for 2 s
			t.Errorf("instance %d, %v after the opening = %v after %v, want breaker-open at once", i+1, time.Since(opened), a, took)
		}
	}

	sent := len(up.history())
	var all []*callers
	for i := range f.gates {
		all = append(all, f.call(t, i, 2, 20*time.Millisecond, "Headgate-Max-Wait", "1s"))
	}
	time.Sleep(time.Until(opened.Add(1900 * time.Millisecond)))
	if n := len(up.history()) - sent; n != 0 {
		t.Errorf("%d attempts were sent while the breaker was open, want none", n)
	}
	time.Sleep(time.Until(opened.Add(3500 * time.Millisecond))) // it is probed at 2 s, and opens again
	probes := up.history()[sent:]
	if len(probes) != 1 {
		t.Errorf("%d probes in all, want 1", len(probes))
	}
	for _, p := range probes {
		t.Logf("instance %d probed %v after the opening", p.instance, p.came.Sub(opened))
	}
	endAll(all...)
}

func isProblem(a answer, name string) bool {
	var p problem
	return json.Unmarshal([]byte(a.body), &p) == nil && strings.HasSuffix(p.Type, "/"+name)
}
