package lease

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

const ms = time.Millisecond

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fleet is instances, a store, and what lies between them, in virtual time: a
// list of events and no goroutine. What counts at the upstream is counted by
// brute force, and may never exceed a limit.
type fleet struct {
	*rand.Rand
	limits    []Limit
	now       time.Duration
	queue     events
	order     int // breaks ties between events
	steps     int
	instances []*instance
	born      int
	account   *Account
	leapt     time.Duration // by the store's clock
	down      bool          // the store, for everybody
	net       network
	counting  []int64 // at the upstream, by limit
	keen      bool    // everybody wants all there is
	violation string
	log       func(format string, args ...any)
}

// network is how messages fare. A late one comes after its sender gave it up.
type network struct{ drop, twice, late float64 }

// instance is a process, with a holder and what the door does with it.
type instance struct {
	f       *fleet
	id      string
	holder  *Holder
	used    []int64 // counts at the upstream, by limit
	want    []int64 // waits, by limit
	report  int64   // Seq of the one that is out; 0: none is
	due     time.Duration
	checked int  // guards against two events for one due
	busy    bool // wants all there is
	cut     bool
	dead    bool
	stopped bool
	missed  []func() // while it was stopped
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func newFleet(seed uint64, limits ...Limit) *fleet {
	f := &fleet{
		Rand:     rand.New(rand.NewPCG(seed, 0)),
		limits:   limits,
		account:  NewAccount(),
		counting: make([]int64, len(limits)),
		log:      func(string, ...any) {},
	}
	return f
}

// after has something happen later.
func (f *fleet) after(d time.Duration, do func()) {
	f.order++
	heap.Push(&f.queue, event{f.now + d, f.order, do})
}

// run lets time pass. It ends early if a limit was exceeded.
func (f *fleet) run(d time.Duration) {
	end := f.now + d
	for f.violation == "" && len(f.queue) > 0 && f.queue[0].at <= end {
		e := heap.Pop(&f.queue).(event)
		f.now = e.at
		f.steps++
		e.do()
	}
	f.now = end
}

func (f *fleet) time() time.Time { return t0.Add(f.now) }

// upTo returns a random span.
func (f *fleet) upTo(d time.Duration) time.Duration { return time.Duration(f.Int64N(int64(d) + 1)) }

// alive returns those that have not been killed.
func (f *fleet) alive() []*instance {
	return slices.DeleteFunc(slices.Clone(f.instances), func(in *instance) bool { return in.dead })
}

func (f *fleet) bear(loss Loss) *instance {
	f.born++
	id := fmt.Sprintf("i%d", f.born)
	in := &instance{
		f: f, id: id,
		holder: NewHolder(id, id, loss),
		used:   make([]int64, len(f.limits)),
		want:   make([]int64, len(f.limits)),
	}
	in.holder.Configure(f.limits, loss)
	f.instances = append(f.instances, in)
	f.log("%s is born", id)
	in.call()
	in.sync(f.upTo(20 * ms))
	return in
}

// after has an instance do something later, when it is not stopped then.
func (in *instance) after(d time.Duration, do func()) {
	in.f.after(d, func() { in.now(do) })
}

func (in *instance) now(do func()) {
	switch {
	case in.dead:
	case in.stopped:
		in.missed = append(in.missed, do)
	default:
		do()
	}
}

func (in *instance) stop(d time.Duration) {
	in.f.log("%s is stopped for %v", in.id, d)
	in.stopped = true
	in.f.after(d, func() {
		in.f.log("%s goes on", in.id)
		in.stopped = false
		missed := in.missed
		in.missed = nil
		in.f.Shuffle(len(missed), func(i, j int) { missed[i], missed[j] = missed[j], missed[i] })
		for _, do := range missed {
			in.now(do)
		}
	})
}

func (in *instance) kill() {
	in.f.log("%s is killed", in.id)
	in.dead = true
}

// call makes calls every now and then, and starts what it may. It is busy for
// some time, and then it is not.
func (in *instance) call() {
	f := in.f
	if f.IntN(10) == 0 {
		in.busy = !in.busy
	}
	for i, l := range f.limits {
		in.want[i] = f.Int64N(3) * f.Int64N(2)
		if in.busy || f.keen {
			in.want[i] = 2 * l.N
		}
	}
	in.start()
	for i := range f.limits {
		if in.want[i] > 0 && in.holder.Satisfied(i) || in.holder.Standing(f.time()) != Leased {
			in.sync(5 * ms)
		}
	}
	in.after(f.upTo(200*ms), in.call)
}

// start takes of each limit what is wanted and may be taken.
func (in *instance) start() {
	f := in.f
	for i := range f.limits {
		if in.want[i] == 0 {
			continue
		}
		free := in.holder.Part(f.time(), i).Target - in.used[i]
		if free <= 0 {
			continue
		}
		w := min(in.want[i], free)
		in.want[i] -= w
		in.use(i, w)
	}
}

// use counts at the upstream for a time that is no longer than the instance
// believes: it knows when what is in flight ends, and a window's latest end.
func (in *instance) use(i int, w int64) {
	f := in.f
	l := &f.limits[i]
	d := l.Linger - f.upTo(l.Linger-l.Window)
	believed := l.Linger
	if l.Window == 0 {
		believed = d
	}
	in.used[i] += w
	f.counting[i] += w
	f.log("%s uses %d more of %s: %d of %d, all %d", in.id, w, l.Limit, in.used[i], in.holder.Part(f.time(), i).Hold, f.counting[i])
	if f.counting[i] > l.N {
		f.violation = fmt.Sprintf("%d of %s count at once, want %d at most", f.counting[i], l.Limit, l.N)
	}
	f.after(d, func() { f.counting[i] -= w })
	in.after(believed, func() {
		in.used[i] -= w
		if in.holder.Over(i) {
			in.sync(20 * ms)
		}
		in.start()
	})
}

// sync has the instance sync after d, unless it does so before.
func (in *instance) sync(d time.Duration) {
	if at := in.f.now + d; in.due <= in.f.now || at < in.due {
		in.due = at
		in.checked++
		mine := in.checked
		in.after(d, func() {
			if mine == in.checked && in.report == 0 {
				in.due = 0
				in.send()
			}
		})
	}
}

func (in *instance) send() {
	f := in.f
	demands := make([]Demand, len(f.limits))
	for i, l := range f.limits {
		demands[i].Used = in.used[i]
		demands[i].Want[3] = min(in.used[i]+in.want[i], l.N)
		if in.want[i] > 0 {
			demands[i].Need = 1
		}
	}
	r := in.holder.Report(f.time(), demands)
	if f.violation == "" {
		for i, c := range r.Claims {
			if c.Keep < in.used[i] {
				f.violation = fmt.Sprintf("%s keeps %d of %s and uses %d", in.id, c.Keep, c.Limit, in.used[i])
			}
		}
	}
	in.report = r.Seq
	f.log("%s reports %d, seen %d: %s", in.id, r.Seq, r.Seen, claims(r))
	in.carry(func() { in.arrive(r) })
	in.after(SyncTimeout, func() {
		if in.report == r.Seq {
			in.fail()
		}
	})
}

// carry brings a message over, or does not, or twice.
func (in *instance) carry(deliver func()) {
	f := in.f
	if in.cut || f.Float64() < f.net.drop {
		return
	}
	copies := 1
	if f.Float64() < f.net.twice {
		copies = 2
	}
	for range copies {
		d := ms/4 + f.upTo(2*ms)
		if f.Float64() < f.net.late {
			d += f.upTo(2 * time.Second)
		}
		f.after(d, deliver)
	}
}

// arrive is what happens at the store.
func (in *instance) arrive(r Report) {
	f := in.f
	if f.down {
		return
	}
	reply := f.account.Sync(f.time().Add(f.leapt), r)
	f.log("store answers %s %d: %v, alive %d of %d, repair %v, wakes %v", in.id, r.Seq, reply.Grants, reply.Alive, reply.Members, reply.Repair, reply.Wake)
	for _, other := range f.instances {
		if slices.Contains(reply.Wake, other.id) {
			other.carry(func() { other.now(func() { other.sync(0) }) })
		}
	}
	in.carry(func() {
		in.now(func() {
			if !in.holder.Answer(reply) {
				return
			}
			in.report = 0
			in.sync(Beat)
			in.start()
		})
	})
}

func (in *instance) fail() {
	in.report = 0
	in.holder.Failed(in.f.time())
	in.sync(in.f.upTo(Beat))
	in.start()
}

func claims(r Report) string {
	s := ""
	for _, c := range r.Claims {
		s += fmt.Sprintf("%s keeps %d wants %d; ", c.Limit, c.Keep, c.Want[3])
	}
	return s
}

// held returns what all may use of a limit now.
func (f *fleet) held(i int) int64 {
	var sum int64
	for _, in := range f.alive() {
		sum += in.holder.Part(f.time(), i).Target
	}
	return sum
}

// clone returns a copy of an account, as a store has it that goes back to an
// older state.
func clone(a *Account) *Account {
	c := *a
	c.members, c.pools, c.records = make(map[string]*member), make(map[string]*pool), make(map[string]*record)
	for id, m := range a.members {
		copied := *m
		copied.holds, copied.facts = make(map[string]*stake), maps.Clone(m.facts)
		for limit, s := range m.holds {
			stake := *s
			copied.holds[limit] = &stake
		}
		c.members[id] = &copied
	}
	for limit, p := range a.pools {
		pool := *p
		c.pools[limit] = &pool
	}
	for upstream, r := range a.records {
		rec := *r
		c.records[upstream] = &rec
	}
	return &c
}
