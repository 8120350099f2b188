package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests measure a fleet under load for some time, so that they do not run
// beside others. That the upstream refuses nothing is a promise; the figures
// have room for a busy machine.

func TestFourInstancesShareAQuota(t *testing.T) {
	for _, s := range []struct {
		n, callers int
		d          time.Duration
		long       bool
	}{
		{n: 50, callers: 10, d: 9 * time.Second},
		{n: 500, callers: 50, d: 5 * time.Second, long: true},
	} {
		t.Run(fmt.Sprintf("%d/1s", s.n), func(t *testing.T) {
			if s.long && testing.Short() {
				t.Skip("takes long")
			}
			f := newFleet(t, s.n)
			all := f.saturateAll(t, s.callers)
			time.Sleep(window) // the first window begins with a burst
			from := time.Now()
			syncs := f.syncs()
			time.Sleep(s.d - window)
			to := time.Now()
			syncs = f.syncs() - syncs
			endAll(all...)

			f.wantNoneRefused(t)
			wantAll200(t, all...)
			shares := f.shares(from, to)
			usage := f.upstream.usage(from, to)
			t.Logf("usage %.1f %%, shares %v: max/min %.2f, %.3f syncs per call",
				100*usage, shares, float64(shares[instances-1])/float64(max(shares[0], 1)),
				float64(syncs)/float64(len(f.upstream.history().between(from, to))))
			if usage < 0.9 {
				f.missed(t, "usage = %.1f %%, want 90 %% or more", 100*usage)
			}
			if least, most := shares[0], shares[instances-1]; float64(most) > 1.3*float64(least) {
				f.missed(t, "shares = %v, want them nearly equal", shares)
			}
		})
	}
}

// syncs returns how often the store was asked.
func (f *fleet) syncs() int {
	var n int
	for line := range strings.Lines(f.redis.CLI("INFO", "commandstats")) {
		for _, name := range []string{"fcall", "evalsha", "eval"} {
			var calls int
			if _, err := fmt.Sscanf(line, "cmdstat_"+name+":calls=%d,", &calls); err == nil {
				n += calls
			}
		}
	}
	return n
}

func TestOneBusyInstanceUsesWhatThreeQuietOnesLeave(t *testing.T) {
	f := newFleet(t, 50)
	busy := f.saturate(t, 0, 20)
	var quiet []*callers
	for i := 1; i < instances; i++ { // mostly not at the same moment
		quiet = append(quiet, f.call(t, i, 1, time.Duration(1400+300*i)*time.Millisecond))
	}
	time.Sleep(window)
	from := time.Now()
	time.Sleep(7 * time.Second)
	to := time.Now()
	endAll(append(quiet, busy)...)

	f.wantNoneRefused(t)
	wantAll200(t, append(quiet, busy)...)
	usage := f.upstream.usage(from, to)
	var worst time.Duration
	for _, c := range quiet {
		worst = max(worst, c.worst)
	}
	t.Logf("usage %.1f %%, quiet calls waited %v at worst", 100*usage, worst)
	if usage < 0.9 {
		f.missed(t, "usage = %.1f %%, want 90 %% or more", 100*usage)
	}
	if worst > 300*time.Millisecond {
		f.missed(t, "a quiet call waited %v, want at most 300 ms", worst)
	}
}

func TestStatusShowsInstancesAndTheirShares(t *testing.T) {
	const limit = "50/1s"
	f := newFleet(t, 50)
	all := f.saturateAll(t, 10)
	c := newClient(t)
	names := make(map[string]bool)
	for i, g := range f.gates {
		var s standing
		var sum int64
		eventually(t, "nearly all of the quota is shared out", func() bool {
			s, sum = g.standing(t, c), 0
			for _, p := range s.peers() {
				sum += p.Shares[limit]
			}
			return sum > 40
		})
		if len(s.peers()) != instances || sum > 50 {
			t.Errorf("instance %d shows %v, want %d that share 50", i, s.peers(), instances)
		}
		for _, p := range s.peers() {
			names[p.Instance] = true
			if p.Self != (p.Instance == s.Store.Instance) {
				t.Errorf("instance %d, which is %s, says of %s that it is itself: %v", i, s.Store.Instance, p.Instance, p.Self)
			}
		}
		t.Logf("instance %d shows %v", i, s.peers())
		if n := g.metric(t, c, `headgate_instances{upstream="default"}`); n != instances {
			t.Errorf("headgate_instances of instance %d = %v, want %d", i, n, instances)
		}
	}
	if len(names) != instances {
		t.Errorf("instances are called %v, want %d names", names, instances)
	}
	endAll(all...)
	f.wantNoneRefused(t)
	wantAll200(t, all...)
}

func TestInstanceThatStopsHandsOver(t *testing.T) {
	f := newFleet(t, 100)
	all := f.saturateAll(t, 15)
	time.Sleep(1500 * time.Millisecond)
	stopped := time.Now()
	f.gates[0].signal(t, syscall.SIGTERM)
	time.Sleep(3500 * time.Millisecond)
	if status := f.gates[0].wait(t); status != 0 {
		t.Errorf("exit status %d, want 0:\n%s", status, f.gates[0].stderr)
	}
	endAll(all...)

	f.wantNoneRefused(t)
	wantAll200(t, all[1:]...)
	// Calls that were accepted are answered; new ones find nobody there.
	for _, err := range all[0].broken {
		if !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("a call to the instance that stopped: %v, want an answer, or nobody there", err)
		}
	}
	if n := len(all[0].statuses); n > 1 || n == 1 && all[0].statuses[http.StatusOK] == 0 {
		t.Errorf("callers of the instance that stopped got %v, want 200", all[0].statuses)
	}
	sent := f.upstream.history().by(0)
	last := sent[len(sent)-1].at
	took, ok := f.upstream.whole(last, func(instance int) bool { return instance != 0 })
	t.Logf("its last attempt came %v after the signal; %v later the others used the whole quota", last.Sub(stopped), took)
	// Its attempts count for a window; then it takes a beat until somebody looks.
	if most := window + 750*time.Millisecond; !ok || took > most {
		f.missed(t, "the others used the whole quota %v after the last attempt of the one that stopped (%v), want %v at most", took, ok, most)
	}
}
