package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"
)

func TestRedisKilledAndBackEmptyIsNoBurst(t *testing.T) {
	f := newFleet(t, 100)
	all := f.saturateAll(t, 20)
	c := newClient(t)
	from := time.Now()
	time.Sleep(2 * time.Second)
	f.redis.Kill()
	killed := time.Now()
	for i, g := range f.gates {
		g.waitFor(t, `level=ERROR msg="store lost" on_store_loss=share`)
		if a := get(t, c, g.admin+"/readyz"); a.status != 200 || a.body != "ready, but the store is lost\n" {
			t.Errorf("readyz of instance %d without a store = %v, want 200 that says so", i, a)
		}
		if up := g.metric(t, c, "headgate_store_up"); up != 0 {
			t.Errorf("headgate_store_up of instance %d = %v, want 0", i, up)
		}
	}
	time.Sleep(time.Until(killed.Add(4 * time.Second)))
	f.redis.Restart()
	back := time.Now()
	for i, g := range f.gates {
		g.waitFor(t, `level=INFO msg="store is back"`)
		if a := get(t, c, g.admin+"/readyz"); a.status != 200 || a.body != "ready\n" {
			t.Errorf("readyz of instance %d with the store back = %v, want 200 ready", i, a)
		}
		if up := g.metric(t, c, "headgate_store_up"); up != 1 {
			t.Errorf("headgate_store_up of instance %d = %v, want 1", i, up)
		}
	}
	time.Sleep(time.Until(back.Add(3500 * time.Millisecond)))
	to := time.Now()
	endAll(all...)

	f.wantNoneRefused(t)
	wantAll200(t, all...)
	usage := f.upstream.usage(from, to)
	t.Logf("usage %.1f %%: %.1f %% before, %.1f %% without a store, %.1f %% after", 100*usage,
		100*f.upstream.usage(from, killed), 100*f.upstream.usage(killed, back), 100*f.upstream.usage(back, to))
	if usage < 0.8 {
		f.missed(t, "usage = %.1f %%, want 80 %% or more", 100*usage)
	}
}

func TestInstanceKilledAndInstanceHaltedLoseTheirShares(t *testing.T) {
	const (
		takeover = 5 * time.Second // a lease of 3 s, a window, and 1 s
		dead     = 0
		halted   = 1
	)
	f := newFleet(t, 100)
	all := f.saturateAll(t, 20)
	from := time.Now()
	time.Sleep(2 * time.Second)
	killed := time.Now()
	if err := f.gates[dead].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(takeover + time.Second)
	haltedAt := time.Now()
	f.gates[halted].signal(t, syscall.SIGSTOP)
	time.Sleep(takeover + window + 500*time.Millisecond)
	continued := time.Now()
	f.gates[halted].signal(t, syscall.SIGCONT)
	time.Sleep(time.Until(continued.Add(3 * time.Second)))
	to := time.Now()
	endAll(all...)

	f.wantNoneRefused(t)
	if len(all[dead].broken) == 0 {
		t.Error("no call of the killed instance broke off: was it killed?")
	}
	wantAll200(t, all[dead+1:]...)
	afterDeath, ok := f.upstream.whole(killed, func(int) bool { return true })
	if !ok || afterDeath > takeover {
		f.missed(t, "three had the whole quota %v after the fourth was killed (%v), want %v at most", afterDeath, ok, takeover)
	}
	afterHalt, ok := f.upstream.whole(haltedAt, func(instance int) bool { return instance != halted })
	if !ok || afterHalt > takeover {
		f.missed(t, "two had the whole quota %v after the third was halted (%v), want %v at most", afterHalt, ok, takeover)
	}
	returned := f.upstream.history().by(halted).between(continued, to)
	if len(returned) == 0 {
		t.Error("the halted instance sent nothing after it went on")
	} else {
		t.Logf("the halted instance sent again after %v", returned[0].came.Sub(continued))
	}
	t.Logf("the whole quota was used %v after a death and %v after a halt; %.1f %% in all",
		afterDeath, afterHalt, 100*f.upstream.usage(from, to))
}

func TestStoreThatIsAwayAtStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFleetWithoutStore(t)
	g := f.gates[0]
	c := newClient(t)
	g.waitFor(t, `level=ERROR msg="store not reached; calls wait until it is"`)
	if a := get(t, c, g.admin+"/readyz"); a.status != 503 {
		t.Errorf("readyz without a store = %v, want 503", a)
	}
	wantProblem(t, get(t, c, g.url+"/", "Headgate-Max-Wait", "1s"), 504, "deadline")
	waits := begin(t, c, g.url+"/")
	f.redis.Restart()
	if got := receive(t, "the call that waited is answered", waits); got != "200 " {
		t.Errorf("the call that waited for the store = %s, want 200", got)
	}
	g.waitFor(t, `level=INFO msg="store reached"`)
	if a := get(t, c, g.admin+"/readyz"); a.status != 200 {
		t.Errorf("readyz with a store = %v, want 200", a)
	}
}

func TestStoreThatIsLostAsConfigured(t *testing.T) {
	for _, s := range []struct {
		loss   string
		status int
		name   string
	}{
		{"wait", http.StatusGatewayTimeout, "deadline"},
		{"fail", http.StatusServiceUnavailable, "store-lost"},
	} {
		t.Run(s.loss, func(t *testing.T) {
			t.Parallel()
			f := newFleetWithoutStore(t, "--on-store-loss", s.loss)
			f.redis.Restart()
			g := f.gates[0]
			c := newClient(t)
			g.waitFor(t, `msg="store reached"`)
			if a := get(t, c, g.url+"/"); a.status != 200 {
				t.Fatalf("call with a store = %v, want 200", a)
			}
			f.redis.Kill()
			g.waitFor(t, `level=ERROR msg="store lost" on_store_loss=`+s.loss)
			var a answer
			eventually(t, "calls are held back", func() bool {
				a = get(t, c, g.url+"/", "Headgate-Max-Wait", "300ms")
				return a.status != 200
			})
			wantProblem(t, a, s.status, s.name)
			if a := get(t, c, g.admin+"/readyz"); a.status != 503 {
				t.Errorf("readyz without a store = %v, want 503", a)
			}
			if s.loss == "wait" {
				waits := begin(t, c, g.url+"/")
				defer func() {
					if got := receive(t, "the call that waited is answered", waits); got != "200 " {
						t.Errorf("the call that waited for the store = %s, want 200", got)
					}
				}()
			}
			f.redis.Restart()
			eventually(t, "calls go on", func() bool { return get(t, c, g.url+"/", "Headgate-Max-Wait", "1s").status == 200 })
		})
	}
}
