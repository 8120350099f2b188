package headgate

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/limit"
)

// account keeps this instance's parts of the limits of one credential in step
// with the store, or of those that all credentials of a quota share. Its
// goroutine is the only one that syncs; everything else is guarded by the
// desk's lock.
type account struct {
	fleet *fleet
	desk  *desk
	id    string // of this instance, here: an account that is opened again is somebody else
	name  string
	book  *ledger.Book // nil: the limits that all share
	rests bool         // gives everything back when nobody uses it
	nudge chan struct{}
	ended chan struct{} // closed: nobody needs it any more

	holder *lease.Holder
	parts  ledger.Parts
	seats  []*seat
	until  time.Time // until when the parts in force are in force

	inForce atomic.Int64 // the same, for those without the lock: nanoseconds since fleet.began; now, if they are none

	due    time.Time // of the next sync; zero: none
	asked  time.Time // of the last one
	out    bool      // its answer has not come
	again  bool      // somebody wanted another one since
	credit float64   // syncs that may be made out of turn
	tries  int       // since the store answered last
	leaves bool      // the report that is out is the last one
	over   bool      // more is held than should be, and goes back as it falls free
	told   time.Time // until when this instance's upstream told it to pause, if the store is to hear of it
	lifted time.Time // a pause until then was ended by hand here, whatever the store says
	busy   time.Time // when anything was last used or wanted
	class  int       // of the most urgent call that the store knows of
}

// Bounds of syncs that are made out of turn, because calls wait. What the store
// or the upstream tells is never held up.
const (
	syncGap     = 5 * time.Millisecond
	syncsPerSec = 20
	syncBurst   = 5
	restAfter   = 10 * time.Second
)

// wayOfWakes is how late what the store tells everybody may come: a pause that
// is repeated is not extended by it.
const wayOfWakes = 50 * time.Millisecond

func newAccount(d *desk, name string, book *ledger.Book) *account {
	f, id := d.fleet, rand.Text()
	return &account{
		fleet: f, desk: d, id: id, name: name, book: book,
		nudge:  make(chan struct{}, 1),
		ended:  make(chan struct{}),
		holder: lease.NewHolder(id, f.host, f.loss),
		credit: syncBurst,
		busy:   time.Now(),
	}
}

// configureLocked puts the limits in force that the ledger has now.
func (a *account) configureLocked(now time.Time) {
	if a.book != nil {
		a.parts = a.book.Parts()
	} else {
		a.parts = a.desk.mu.ledger.Parts()
	}
	limits := make([]lease.Limit, len(a.parts))
	named := make(map[string]int)
	for i := range limits {
		limits[i] = limitOf(a.parts, i)
		name := limits[i].Limit
		if named[name]++; named[name] > 1 {
			limits[i].Limit += " #" + strconv.Itoa(named[name])
		}
	}
	a.holder.Configure(limits, a.fleet.loss)
	a.enforceLocked(now)
	a.syncLocked(now, now)
}

// limitOf returns a limit as the store knows it: what differs in nothing but
// its number is one limit to it.
func limitOf(p ledger.Parts, i int) lease.Limit {
	r := p.Rule(i)
	l := lease.Limit{
		Limit:  r.Limit.Dimension + " " + kinds[r.Limit.Kind] + " " + r.Limit.Window.String() + " " + scopeText(r),
		N:      p.Known(i),
		Window: r.Limit.Window,
		Linger: p.Linger(i),
	}
	if r.Limit.Kind == limit.Bucket {
		l.Refill = time.Duration(float64(r.Limit.Window) * float64(r.Limit.Burst) / float64(r.Limit.N)).Truncate(time.Microsecond)
	}
	return l
}

var kinds = [...]string{limit.Sliding: "sliding", limit.Fixed: "fixed", limit.Bucket: "bucket", limit.Concurrent: "concurrent"}

// run syncs whenever one is due, until the fleet ends or nobody needs the
// account.
func (a *account) run() {
	for !a.unneeded() {
		wait := a.turn()
		if wait == 0 {
			continue
		}
		select {
		case <-time.After(wait):
		case <-a.nudge:
		case <-a.ended:
		case <-a.fleet.ctx.Done():
		}
	}
	a.leave()
}

// unneeded says whether the fleet has ended or nobody needs the account.
func (a *account) unneeded() bool {
	select {
	case <-a.ended:
		return true
	case <-a.fleet.ctx.Done():
		return true
	default:
		return false
	}
}

// turn syncs if it is time, and returns how long it is until the next.
func (a *account) turn() time.Duration {
	d := a.desk
	d.mu.Lock()
	now := time.Now()
	if !now.Before(a.until) {
		a.enforceLocked(now)
		d.serveLocked(now)
	}
	if a.due.IsZero() || a.due.After(now) {
		next := a.until
		if !a.due.IsZero() && a.due.Before(next) {
			next = a.due
		}
		d.mu.Unlock()
		return max(next.Sub(now), 0)
	}
	report := a.reportLocked(now)
	d.mu.Unlock()

	ctx, cancel := context.WithTimeout(a.fleet.ctx, lease.SyncTimeout)
	reply, err := a.fleet.store.Sync(ctx, a.name, report)
	cancel()

	d.mu.Lock()
	answered := time.Now()
	var told []func()
	if err == nil {
		told = a.answerLocked(answered, now, reply)
	} else {
		a.failLocked(answered)
	}
	tries := a.tries
	d.mu.Unlock()
	a.fleet.synced(a, answered.Sub(now), err, tries)
	for _, tell := range told {
		tell()
	}
	return 0
}

// reportLocked makes the report that is sent now.
func (a *account) reportLocked(now time.Time) lease.Report {
	for i := range a.parts {
		n, refusals := a.parts.Lesson(i)
		a.holder.Learn(i, a.parts.Known(i), lease.Lesson{Learned: n, Refusals: refusals})
	}
	demands := a.demandsLocked(now)
	a.out, a.asked, a.again, a.leaves, a.due = true, now, false, false, time.Time{}
	if a.rests && now.Sub(a.busy) >= restAfter {
		a.leaves = true
		report := a.holder.Leave(now)
		a.enforceLocked(now)
		return report
	}
	report := a.holder.Report(now, demands)
	report.Pause = max(a.told.Sub(now), 0)
	for _, s := range a.seats {
		report.Breakers = append(report.Breakers, s.fleetwide.report(now, s))
	}
	a.enforceLocked(now) // it holds itself to what it says
	return report
}

// answerLocked takes in a reply to the report that was sent at a moment. It
// returns what is to be told without the lock.
func (a *account) answerLocked(now, asked time.Time, r lease.Reply) (told []func()) {
	a.out = false
	if !a.holder.Answer(r) { // it has left, or its limits have changed meanwhile
		a.tries = 0
		if a.again {
			a.syncLocked(now, now)
		}
		return nil
	}
	a.tries = 0
	for i, g := range r.Grants {
		a.parts.Adopt(now, i, g.Learned, g.Refusals)
	}
	a.enforceLocked(now)
	for i, g := range r.Grants {
		if g.Tokens > 0 {
			a.parts.Refill(now, i, float64(g.Tokens)/1000)
		}
	}
	for _, s := range a.seats {
		if !a.rests { // those of callers come and go
			a.desk.mu.upstreams[s.upstream].budget.among(r.Alive)
		}
	}
	rtt := now.Sub(asked)
	if r.Pause+rtt+wayOfWakes >= a.told.Sub(now) {
		a.told = time.Time{} // it knows: said again, it would come to be longer each time
	}
	if r.Pause > 0 && a.book != nil {
		told = append(told, a.pauseLocked(now, now.Add(r.Pause), rtt)...)
	}
	for i, b := range r.Breakers {
		if i < len(a.seats) && a.seats[i].upstream == b.Upstream {
			told = append(told, a.seats[i].hearBreakerLocked(now, b)...)
		}
	}
	a.dueLocked(asked.Add(lease.Beat))
	if a.holder.Asks() {
		a.dueLocked(asked.Add(syncGap))
	}
	a.givesBackLocked(now)
	if a.again {
		a.syncLocked(now, now)
	}
	a.desk.serveLocked(now)
	return told
}

// givesBackLocked sees to it that what should go back does so when it falls
// free.
func (a *account) givesBackLocked(now time.Time) {
	a.over = false
	for i := range a.parts {
		if !a.holder.Over(i) {
			continue
		}
		a.over = true
		if at := a.parts.Frees(now, i); !at.IsZero() { // else it is known when something ends
			a.dueLocked(later(at, a.asked.Add(4*syncGap)))
		}
	}
}

// endedLocked is told that an attempt has ended, or weighs less: something may
// be free that should go back.
func (a *account) endedLocked(now time.Time) {
	if a.over {
		a.syncLocked(now, later(now, a.asked.Add(syncGap)))
	}
}

// dueLocked has the next sync no later than at a moment.
func (a *account) dueLocked(at time.Time) {
	if a.due.IsZero() || at.Before(a.due) {
		a.due = at
	}
}

// failLocked takes in that the store did not answer.
func (a *account) failLocked(now time.Time) {
	a.out = false
	a.holder.Failed(now)
	a.tries++
	if a.leaves && !a.again {
		a.tries = 0
		return // it holds nothing, and nobody wants any
	}
	a.due = now.Add(min(50*time.Millisecond<<min(a.tries, 4), lease.Beat))
	a.enforceLocked(now)
	if a.refuses(now) {
		a.refuseAllLocked()
	}
	a.desk.serveLocked(now)
}

// refuseAllLocked tells everybody who waits for a store that is lost.
func (a *account) refuseAllLocked() {
	for e := range a.desk.mu.line.All() {
		w := e.Value.(*waiter)
		if a.book == nil || w.seat.book == a.book {
			a.desk.refuseLocked(w, &RefusedError{Upstream: w.upstream.name, Err: ErrStoreLost})
		}
	}
}

// refuses says whether calls are refused because the store is lost.
func (a *account) refuses(now time.Time) bool {
	return a.fleet.loss == lease.Fail && a.holder.Standing(now) == lease.Lost && a.holder.Known()
}

// enforceLocked puts in force what the instance may use now.
func (a *account) enforceLocked(now time.Time) {
	for i := range a.parts {
		p := a.holder.Part(now, i)
		a.parts.Set(i, p.Hold, p.Target, p.Most)
	}
	a.until = a.holder.Until(now)
	leased := a.until
	if s := a.holder.Standing(now); s == lease.Lapsed || s == lease.Lost && a.fleet.loss != lease.Share {
		leased = now
		a.desk.closeStockLocked(now)
	}
	a.inForce.Store(int64(leased.Sub(a.fleet.began)))
}

// lapsed reports whether what the instance may use is over. It needs no lock.
func (a *account) lapsed() bool {
	return int64(time.Since(a.fleet.began)) >= a.inForce.Load()
}

// syncLocked has the account sync at a moment, or sooner.
func (a *account) syncLocked(now, at time.Time) {
	if a.out {
		a.again = true
		return
	}
	if a.tries > 0 {
		return // it is trying
	}
	if a.due.IsZero() || at.Before(a.due) {
		a.due = at
		select {
		case a.nudge <- struct{}{}:
		default:
		}
	}
}

// hear takes in what the store told everybody.
func (a *account) hear(w lease.Wake) {
	d := a.desk
	d.mu.Lock()
	now := time.Now()
	var told []func()
	if w.Pause > 0 && a.book != nil {
		told = a.pauseLocked(now, now.Add(w.Pause), wayOfWakes)
	}
	for _, id := range w.Instances {
		if id == a.id {
			a.syncLocked(now, now)
		}
	}
	d.mu.Unlock()
	for _, tell := range told {
		tell()
	}
}

// pauseLocked pauses the credential because another instance was told to. What
// is heard of the own pause is late by the way to the store and back.
func (a *account) pauseLocked(now, until time.Time, rtt time.Duration) (told []func()) {
	if !until.After(a.lifted.Add(rtt + time.Millisecond)) {
		return nil
	}
	if own := a.book.PausedUntil(now); !own.IsZero() && !until.After(own.Add(rtt+time.Millisecond)) {
		return nil
	}
	if !a.book.Hear(now, until) {
		return nil
	}
	a.desk.closeStockLocked(now)
	for _, s := range a.seats {
		a.desk.disperseLocked(now, s)
		told = append(told, s.tellLocked(a.fleet, news{paused: until}))
	}
	return told
}

// instancesLocked returns who shares the account, as last heard.
func (a *account) instancesLocked() []InstanceStatus {
	var all []InstanceStatus
	for _, p := range a.holder.Peers() {
		s := InstanceStatus{Instance: p.Host, Self: p.Instance == a.id, Shares: make(map[string]int64)}
		for i, hold := range p.Hold {
			if i < len(a.parts) {
				s.Shares[shareText(a.parts, i)] = hold
			}
		}
		all = append(all, s)
	}
	return all
}

// shareText is a limit as Status has it, and its scope if that is not the usual
// one.
func shareText(p ledger.Parts, i int) string {
	if r := p.Rule(i); r.Scope != ledger.PerCredential {
		return p.Text(i) + " " + scopeText(r)
	}
	return p.Text(i)
}

// leave gives back what nothing counts for any more; the rest as it ends to
// count.
func (a *account) leave() {
	a.fleet.forget(a)
	d := a.desk
	d.mu.Lock()
	now := time.Now()
	if a.holder.Standing(now) != lease.Leased {
		d.mu.Unlock()
		return // there is nothing to give back, or nobody to tell
	}
	used := make([]int64, len(a.parts))
	for i := range used {
		used[i] = a.parts.Used(now, i)
	}
	report := a.holder.Leave(now, used...)
	a.enforceLocked(now)
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.fleet.ctx), lease.SyncTimeout)
	defer cancel()
	_, _ = a.fleet.store.Sync(ctx, a.name, report) // else the lease ends by itself
}
