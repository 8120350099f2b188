package headgate

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
)

func TestReplayLetsARestartGoOnWhereTheProcessStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := time.Now()
		time.Sleep(time.Second)
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("10/1s")})
		var sent []Sent
		for i := range 10 { // one each 50 ms, the last one half a second ago
			sent = append(sent, Sent{Upstream: "api", At: before.Add(time.Duration(i) * 50 * time.Millisecond)})
		}
		sent = append(sent, Sent{Upstream: "gone", At: before})
		g.Replay(sent)
		start := time.Now()
		var came []time.Duration
		for range 10 {
			get(t, g)
			came = append(came, time.Since(start).Round(10*time.Millisecond))
		}
		for i, at := range came {
			least := time.Duration(i) * 50 * time.Millisecond
			if at < least || at > least+150*time.Millisecond {
				t.Errorf("call %d went after %v, want it a window after attempt %d of the process before: %v and a spread", i, at, i, least)
			}
		}
	})
}

func TestReplayForgetsWhatIsLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := time.Now()
		time.Sleep(time.Hour)
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("10/1s")})
		var sent []Sent
		for range 100 {
			sent = append(sent, Sent{Upstream: "api", At: before})
		}
		g.Replay(sent)
		start := time.Now()
		for range 10 {
			get(t, g)
		}
		if took := time.Since(start); took > 20*time.Millisecond {
			t.Errorf("ten calls took %v, want them at once", took)
		}
	})
}

func TestSpaceKeepsTheFirstWindowApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGate(t, &fake{}, config.Upstream{Limits: limits("10/1s")})
		g.Space()
		start := time.Now()
		for i := range 10 {
			get(t, g)
			least := time.Duration(i)*95*time.Millisecond - 20*time.Millisecond // timers may be late
			if took := time.Since(start); took < least {
				t.Errorf("call %d went after %v, want not before %v", i, took, least)
			}
		}
		time.Sleep(3 * time.Second)
		start = time.Now()
		for range 5 {
			get(t, g)
		}
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("five calls took %v after the first window, want them at once", took)
		}
	})
}
