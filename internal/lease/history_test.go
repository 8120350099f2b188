package lease

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// faults are what happens to a fleet in a random history.
type faults struct {
	*fleet
	loss      Loss
	kinds     []func() // of faults
	ends      time.Duration
	snapshots []*Account    // of the last seconds
	calm      time.Duration // until when nothing else may go wrong
	steady    time.Duration // until when the clock does not leap again
}

func TestRandomHistoriesNeverExceedALimit(t *testing.T) {
	steps, want := 0, 200_000
	if testing.Short() {
		want = 20_000
	}
	for seed := uint64(1); steps < want; seed++ {
		f := history(seed)
		steps += f.steps
		if f.violation != "" {
			t.Fatalf("seed %d, after %v: %s\n%s", seed, f.now, f.violation, lastEvents(seed))
		}
	}
}

// lastEvents repeats a history and returns what came before its end.
func lastEvents(seed uint64) string {
	var log []string
	f := begin(seed)
	f.log = func(format string, args ...any) {
		if log = append(log, fmt.Sprintf("%10v ", f.now)+fmt.Sprintf(format, args...)); len(log) > 100 {
			log = log[1:]
		}
	}
	f.play()
	return strings.Join(log, "\n")
}

func history(seed uint64) *faults {
	f := begin(seed)
	f.play()
	return f
}

// begin makes a fleet that waits while the store is away from one or all, or
// one that goes on with shares and loses it together.
func begin(seed uint64) *faults {
	f := &faults{fleet: newFleet(seed), loss: Wait, ends: 20 * time.Second}
	if seed%3 == 0 {
		f.loss = Share
	}
	sizes := []int64{1, 3, 10, 47, 200}
	windows := []time.Duration{200 * ms, time.Second, 3 * time.Second}
	for i := range 1 + f.IntN(2) {
		w := windows[f.IntN(len(windows))]
		f.limits = append(f.limits, Limit{
			Limit:  fmt.Sprintf("limit %d", i),
			N:      sizes[f.IntN(len(sizes))],
			Window: w,
			Linger: w + 25*ms,
		})
	}
	if f.IntN(2) == 0 {
		f.limits = append(f.limits, Limit{Limit: "concurrent", N: sizes[f.IntN(len(sizes))], Linger: 500 * ms})
	}
	f.counting = make([]int64, len(f.limits))
	f.net = network{twice: 0.02}
	if f.loss == Wait {
		f.net.drop, f.net.late = 0.05*float64(f.IntN(3)), 0.03
	}
	kinds := []func(){f.comes, f.dies, f.leap, f.newbornMeetsLeap, f.goAway, f.forget, f.goBack}
	if f.loss == Wait {
		kinds = append(kinds, f.stops, f.isCutOff)
	}
	for range 1 + f.IntN(4) { // a few kinds, so that they meet often
		f.kinds = append(f.kinds, kinds[f.IntN(len(kinds))])
	}
	return f
}

// play runs the history: some time with faults, then some to recover in.
func (f *faults) play() {
	for range 2 + f.IntN(5) {
		f.bear(f.loss)
	}
	f.snapshot()
	f.after(2*time.Second, f.fault)
	f.run(f.ends)
	f.recover()
}

// snapshot keeps what a store may go back to.
func (f *faults) snapshot() {
	f.snapshots = append(f.snapshots, clone(f.account))
	if len(f.snapshots) > 10 {
		f.snapshots = f.snapshots[1:]
	}
	f.after(500*ms, f.snapshot)
}

// fault has something go wrong, and something else later.
func (f *faults) fault() {
	if f.now > f.ends {
		return
	}
	f.after(f.upTo(1500*ms), f.fault)
	if f.now >= f.calm {
		f.kinds[f.IntN(len(f.kinds))]()
	}
}

func (f *faults) any() *instance {
	alive := f.alive()
	return alive[f.IntN(len(alive))]
}

func (f *faults) comes() {
	if len(f.alive()) < 8 {
		f.bear(f.loss)
	}
}

func (f *faults) dies() {
	if len(f.alive()) > 2 {
		f.any().kill()
	}
	if f.IntN(2) == 0 {
		f.comes()
	}
}

func (f *faults) stops() {
	if in := f.any(); !in.stopped {
		in.stop(f.upTo(6 * time.Second))
	}
}

func (f *faults) isCutOff() {
	if in := f.any(); !in.cut {
		d := f.upTo(6 * time.Second)
		f.log("%s is cut off for %v", in.id, d)
		in.cut = true
		f.after(d, func() { in.cut = false })
	}
}

func (f *faults) newbornMeetsLeap() {
	f.dies()
	f.leap()
	f.comes()
}

// leap has the store's clock leap, by much, by little, or in small steps.
func (f *faults) leap() {
	if f.now < f.steady {
		return
	}
	f.steady = f.now + 2*Kept
	switch f.IntN(3) {
	case 0:
		f.leapt += f.upTo(2*time.Hour) - time.Hour
	case 1:
		f.leapt += f.upTo(4*time.Second) - 2*time.Second
	case 2:
		step := f.upTo(500*ms) - 250*ms
		for i := range 10 {
			f.after(time.Duration(i)*500*ms, func() { f.leapt += step })
		}
	}
	f.log("store's clock has leapt by %v in all", f.leapt)
}

// witnessed reports whether what the store may forget now is known to enough
// others: all that live are well.
func (f *faults) witnessed() bool {
	for _, in := range f.alive() {
		if in.stopped || in.cut || in.holder.Standing(f.time()) != Leased {
			return false
		}
	}
	f.calm = f.now + 2*time.Second
	return true
}

func (f *faults) forget() {
	if f.witnessed() {
		f.loses()
	}
}

func (f *faults) loses() {
	f.log("store forgets everything")
	f.account = NewAccount()
}

func (f *faults) goBack() {
	if f.witnessed() {
		f.ages()
	}
}

// ages has the store go back by a second at least: it is away for longer than
// that when another takes its place.
func (f *faults) ages() {
	if len(f.snapshots) < 6 {
		return
	}
	i := f.IntN(len(f.snapshots) - 4)
	f.log("store goes back")
	f.account = clone(f.snapshots[i])
	f.snapshots = f.snapshots[:i+1]
}

// goAway has the store go away for everybody, and come back as it was, empty,
// old, or with another clock.
func (f *faults) goAway() {
	d := f.upTo(12 * time.Second)
	then := []func(){f.loses, f.ages, f.leap, func() {}, func() {}}[f.IntN(5)]
	if !f.witnessed() {
		then = f.leap
	}
	f.log("store goes away for %v", d)
	f.down = true
	f.calm = f.now + d + 2*time.Second
	f.after(d, func() {
		f.log("store comes back")
		f.down = false
		then()
	})
}

// recover lets everybody want all there is, and looks whether all is used.
func (f *faults) recover() {
	if f.violation != "" || f.IntN(4) > 0 {
		return
	}
	f.log("recovery begins")
	f.net = network{}
	f.keen = true
	longest := time.Duration(0)
	for _, l := range f.limits {
		longest = max(longest, l.Linger)
	}
	f.run(12*time.Second + 2*Kept + 2*longest + 4*Beat)
	reached := make([]bool, len(f.limits))
	f.log("recovery ends")
	for range 400 {
		f.run(10 * ms)
		for i, l := range f.limits {
			reached[i] = reached[i] || f.counting[i] == l.N || l.Window == 0 && f.held(i) == l.N
		}
	}
	for i, l := range f.limits {
		if f.violation == "" && !reached[i] {
			f.violation = fmt.Sprintf("%d of %s held, %d used in the end, want %d", f.held(i), l.Limit, f.counting[i], l.N)
		}
	}
}
