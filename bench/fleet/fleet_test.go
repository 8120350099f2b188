//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStrictCountsAnyWindow(t *testing.T) {
	ms := time.Millisecond
	s := newStrict(2)
	for _, step := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true}, {500 * ms, true}, {999 * ms, false},
		{1000 * ms, true}, // the first is a window old; what was refused does not count
		{1400 * ms, false}, {1500 * ms, true}, {1999 * ms, false}, {2000 * ms, true},
	} {
		a := &arrival{at: step.at}
		s.expectLocked(a)
		if got := s.count(a); got != step.want {
			t.Errorf("at %v = %v, want %v", step.at, got, step.want)
		}
	}
}

func TestStrictAgreesWithAnOracleWhateverWakesFirst(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := newStrict(1 + random.IntN(5))
		var all history
		for range 100 {
			a := &arrival{at: time.Duration(random.IntN(5_000_000)) * time.Microsecond}
			s.expectLocked(a)
			all = append(all, a)
		}
		for _, i := range random.Perm(len(all)) {
			s.count(all[i])
		}
		slices.SortStableFunc(all, func(a, b *arrival) int { return int(a.at - b.at) })
		var in []time.Duration
		for _, a := range all {
			last := 0
			for _, at := range in {
				if a.at-at < window {
					last++
				}
			}
			if want := last < s.n; a.ok != want {
				t.Fatalf("seed %d: at %v of %d/1s = %v, want %v", seed, a.at, s.n, a.ok, want)
			}
			if a.ok {
				in = append(in, a.at)
			}
		}
	}
}

func TestServeTakesSpreadAndService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrict(1)
		for i, want := range []bool{true, false} {
			began := time.Now()
			got := s.serve(i)
			took := time.Since(began)
			if got != want || took < spreadLeast || !want && took > spreadMost {
				t.Errorf("request %d = %v after %v, want %v after the spread of %v to %v", i, got, took, want, spreadLeast, spreadMost)
			}
		}
		accepted, refused := s.histories()
		if len(accepted) != 1 || len(refused) != 1 || refused[0].instance != 1 {
			t.Errorf("accepted %d and refused %d, want one each", len(accepted), len(refused))
		}
	})
}

func TestSharesAreCountedByInstance(t *testing.T) {
	h := history{{at: 1, instance: 0}, {at: 2, instance: 2}, {at: 3, instance: 2}, {at: 4, instance: 0}}
	if got, want := fmt.Sprint(h.shares(3, 2, 4)), "[0 0 2]"; got != want {
		t.Errorf("shares from 2 until before 4 = %s, want %s", got, want)
	}
	if got := h.between(2, 4); got != 2 {
		t.Errorf("between 2 and 4 = %d, want 2", got)
	}
}

func TestUpstreamAnswersCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrict(1)
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			defer there.Close()
			_ = s.answer(there, bufio.NewReader(there))
		}()
		r := bufio.NewReader(here)
		for i, request := range []string{
			"GET / HTTP/1.1\r\nbench-instance: 3\r\n\r\n",
			"GET / HTTP/1.1\r\nBench-Instance: 3\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
		} {
			if ok, err := call(here, r, []byte(request)); err != nil || ok != (i == 0) {
				t.Errorf("call(%q) = %v, %v, want %v", request, ok, err, i == 0)
			}
		}
		if _, err := call(here, r, []byte("GET / HTTP/1.1\r\n\r\n")); err == nil {
			t.Error("the upstream went on after a request that it cannot read")
		}
	})
}

func TestCallRefusesABrokenAnswer(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"} {
		if _, err := call(io.Discard, bufio.NewReader(strings.NewReader(answer)), nil); err == nil {
			t.Errorf("call answered by %q: no error", answer)
		}
	}
}

func TestReadSpentSumsStepsAndCPU(t *testing.T) {
	for _, test := range []struct {
		text  string
		steps int64
		cpu   time.Duration
		ok    bool
	}{
		{"# CPU\r\nused_cpu_sys:0.5\r\nused_cpu_user:1.25\r\nused_cpu_sys_children:9\r\n" +
			"cmdstat_fcall:calls=7,usec=70\r\ncmdstat_evalsha:calls=2,usec=1\r\ncmdstat_get:calls=99,usec=1\r\n", 9, 1750 * time.Millisecond, true},
		{"used_cpu_sys:0.5\r\nused_cpu_user:1\r\n", 0, 1500 * time.Millisecond, true},
		{"used_cpu_sys:0.5\r\n", 0, 0, false},
		{"used_cpu_sys:x\r\nused_cpu_user:1\r\n", 0, 0, false},
		{"used_cpu_sys:1\r\nused_cpu_user:1\r\ncmdstat_fcall:x\r\n", 0, 0, false},
	} {
		got, err := readSpent(test.text)
		if got.steps != test.steps || got.cpu != test.cpu || (err == nil) != test.ok {
			t.Errorf("readSpent(%q) = %d, %v, %v, want %d, %v, ok %v", test.text, got.steps, got.cpu, err, test.steps, test.cpu, test.ok)
		}
	}
}

func TestPaceTakesEachPermitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []int{500, 5000} {
			var n int
			for part := range processes {
				took, err := task{Rate: rate, Part: part}.pace(t.Context(), func(context.Context) error {
					time.Sleep(time.Millisecond)
					return nil
				}, time.Second)
				if err != nil {
					t.Fatal(err)
				}
				n += len(took)
				if slices.Min(took) != 1000 || slices.Max(took) != 1000 {
					t.Errorf("permits took %v to %v µs, want 1000", slices.Min(took), slices.Max(took))
				}
			}
			if n != rate {
				t.Errorf("%d permits in a second, want %d", n, rate)
			}
		}
	})
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	sorted := []float64{1, 2, 3, 4}
	for share, want := range map[float64]float64{0: 1, 0.25: 1, 0.26: 2, 0.5: 2, 0.99: 4, 1: 4} {
		if got := quantile(sorted, share); got != want {
			t.Errorf("quantile(%v, %v) = %v, want %v", sorted, share, got, want)
		}
	}
}

func TestSummaryShowsTheRangeOfSeveral(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   string
	}{
		{[]float64{3}, "3.0"},
		{[]float64{3, 1}, "2.0 (1.0 – 3.0)"},
		{[]float64{9, 1, 2}, "2.0 (1.0 – 9.0)"},
	} {
		if got := summary("%.1f", test.values); got != test.want {
			t.Errorf("summary(%v) = %q, want %q", test.values, got, test.want)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range []string{"-only all", "-limit 7", "-rounds 0", "-duration 1s", "-paced 0s", "-long 1s", "x"} {
		if _, err := readFlags(strings.Fields(args)); err == nil {
			t.Errorf("%s was taken", args)
		}
	}
	if s, err := readFlags([]string{"-quick", "-only", "many"}); err != nil || s.rounds != 1 {
		t.Errorf("-quick -only many = %+v, %v", s, err)
	}
}
