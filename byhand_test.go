package headgate

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

func TestPauseByHandHoldsUntilItEndsOrIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		var seen collect
		g := openGate(t, f, config.Upstream{}, seen.option())
		start := time.Now()
		if err := g.Pause("api", time.Minute); err != nil {
			t.Fatal(err)
		}
		c := g.Status().Upstreams[0].Credentials
		if len(c) != 1 || c[0].PausedUntil == nil || !c[0].PausedUntil.Equal(start.Add(time.Minute)) {
			t.Fatalf("credentials = %+v, want one paused for a minute before anybody called", c)
		}
		get(t, g, "Authorization", "Bearer a caller's own")
		if at := f.since(start)[0]; at < time.Minute {
			t.Errorf("a call of a credential that came later left after %v, want a minute", at)
		}
		if err := g.Pause("api", time.Minute); err != nil {
			t.Fatal(err)
		}
		done := make(chan time.Duration)
		again := time.Now()
		go func() { get(t, g); done <- time.Since(again) }()
		time.Sleep(10 * time.Second)
		if err := g.Resume("api"); err != nil {
			t.Fatal(err)
		}
		if took := <-done; took < 10*time.Second || took > 11*time.Second {
			t.Errorf("a call took %v, want it to leave when the pause was lifted after 10s", took)
		}
		if len(seen.paused) != 3 || seen.paused[0].Reason != "by hand" || seen.paused[2].Reason != "lifted by hand" {
			t.Errorf("told of %+v, want two pauses and the end of one", seen.paused)
		}
	})
}

func TestResumeLiftsAPauseThatWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: sequence(429, 200)}
		g := openGate(t, f, config.Upstream{Retry: config.Retry{Base: config.Duration(time.Hour), Jitter: "none", Cap: config.Duration(time.Hour)}, Line: config.Line{MaxWait: config.Duration(3 * time.Hour)}})
		start := time.Now()
		go func() {
			time.Sleep(time.Minute)
			if err := g.Resume("api"); err != nil {
				t.Error(err)
			}
		}()
		go get(t, g)
		time.Sleep(time.Second)
		get(t, g)
		if took := time.Since(start); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("the second call ended after %v, want just after the pause was lifted", took)
		}
		time.Sleep(time.Hour)
	})
}

func TestBreakerByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen collect
		g := openGate(t, &fake{}, config.Upstream{Breaker: config.Breaker{OpenFor: config.Duration(time.Minute)}}, seen.option())
		if err := g.OpenBreaker("api"); err != nil {
			t.Fatal(err)
		}
		_, err := try(t.Context(), g)
		refused(t, err, ErrBreakerOpen)
		c := g.Status().Upstreams[0].Credentials[0]
		if c.Breaker != "open" || c.BreakerWhy != "by hand" || c.OpenUntil == nil || !c.OpenUntil.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("status = %+v, want it open by hand for a minute", c)
		}
		if err := g.CloseBreaker("api"); err != nil {
			t.Fatal(err)
		}
		get(t, g)
		if len(seen.changed) != 2 || seen.changed[0].Reason != "by hand" || seen.changed[1].State.String() != "closed" {
			t.Errorf("told of %+v, want open, then closed, by hand", seen.changed)
		}
	})
}

func TestWhatIsDoneByHandReachesOtherInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := openFleetOf(t, 2, newSharedStore(), &fake{}, config.Upstream{Limits: limits("100/1s"), Breaker: config.Breaker{OpenFor: config.Duration(time.Hour)}})
		defer closeAll(gates)
		other := func() CredentialStatus {
			time.Sleep(2 * time.Second)
			return gates[1].Status().Upstreams[0].Credentials[0]
		}
		if err := gates[0].Pause("api", time.Minute); err != nil {
			t.Fatal(err)
		}
		if c := other(); c.PausedUntil == nil {
			t.Errorf("the other instance = %+v, want it paused", c)
		}
		if err := gates[0].Resume("api"); err != nil {
			t.Fatal(err)
		}
		if c := other(); c.PausedUntil == nil {
			t.Errorf("the other instance = %+v, want it paused still: the store keeps pauses", c)
		}
		if until := gates[0].Status().Upstreams[0].Credentials[0].PausedUntil; until != nil {
			t.Errorf("paused until %v, want it resumed here", until)
		}
		time.Sleep(time.Minute)
		if err := gates[0].OpenBreaker("api"); err != nil {
			t.Fatal(err)
		}
		if c := other(); c.Breaker != "open" || c.BreakerWhy != "by hand" {
			t.Errorf("the other instance = %+v, want its breaker open by hand", c)
		}
		if err := gates[0].CloseBreaker("api"); err != nil {
			t.Fatal(err)
		}
		if c := other(); c.Breaker != "closed" {
			t.Errorf("the other instance = %+v, want its breaker closed", c)
		}
	})
}

func TestByHandRefusesWhatMakesNoSense(t *testing.T) {
	g := openGate(t, &fake{}, config.Upstream{})
	for name, err := range map[string]error{
		"pause": g.Pause("nope", time.Second), "resume": g.Resume("nope"),
		"open": g.OpenBreaker("nope"), "close": g.CloseBreaker("nope"),
	} {
		if !errors.Is(err, ErrUnknownUpstream) {
			t.Errorf("%s of an unknown upstream = %v, want ErrUnknownUpstream", name, err)
		}
	}
	if err := g.Pause("api", 0); err == nil {
		t.Error("Pause for 0 = nil, want an error")
	}
}
