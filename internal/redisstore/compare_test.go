package redisstore

import (
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/lease/leasetest"
	"github.com/headgate/headgate/internal/redistest"
)

// timeless is the step on a server that refuses TIME: it goes by the time that
// it is told.
func timeless(t testing.TB) *script {
	t.Helper()
	const clock = "redis.pcall('TIME') -- the clock"
	if n := strings.Count(stepLua(), clock); n != 1 {
		t.Fatalf("the step holds %q %d times, want once", clock, n)
	}
	return newScript(strings.Replace(stepLua(), clock, "{err = 'ERR refused'}", 1), "sync")
}

// open returns a store for one test. A nil script is the real one.
func open(t testing.TB, o Options, sc *script) *Store {
	t.Helper()
	if sc == nil {
		sc = theScript
	}
	if o.Namespace == "" {
		o.Namespace = "test"
	}
	s := newStore(o, sc)
	t.Cleanup(s.Close)
	return s
}

// syncAt syncs as at a moment of the store's clock. The script is timeless.
func (s *Store) syncAt(ctx context.Context, clock time.Time, account string, r lease.Report) (reply lease.Reply, err error) {
	err = s.do(ctx, func(ctx context.Context, client rueidis.Client) error {
		args := s.arguments(account, &r)
		args[0] = strconv.FormatInt(clock.UnixMicro(), 10)
		m, err := s.run(ctx, client, s.script.name, s.key(account), args)
		if err != nil {
			return err
		}
		fields, err := m.ToArray()
		if err != nil {
			return err
		}
		reply, err = parse(fields, &r)
		return err
	})
	return reply, err
}

// Histories of several accounts run side by side, so that what functions keep
// between calls is mixed up if it can be. By turns, what one way has kept is
// made old by the other.
func TestStoreAnswersAsAccountDoes(t *testing.T) {
	const accounts, steps = 6, 1700
	server := redistest.Start(t)
	for _, way := range []string{"function", "script", "turns"} {
		t.Run(way, func(t *testing.T) {
			s := open(t, Options{Addrs: []string{server.Addr}, Namespace: way}, timeless(t))
			var books [accounts]*lease.Account
			var next [accounts]func() (time.Time, lease.Report, bool)
			for i := range books {
				var stop func()
				books[i] = lease.NewAccount()
				next[i], stop = iter.Pull2(leasetest.Reports(rand.New(rand.NewPCG(uint64(i), 5)), steps))
				defer stop()
			}
			for step := range accounts * steps {
				i := step % accounts
				if way == "turns" {
					s.scripted.Store(step/accounts%3 == 0)
				} else {
					s.scripted.Store(way == "script")
				}
				clock, r, ok := next[i]()
				if !ok {
					t.Fatalf("history %d ended after %d steps", i, step/accounts)
				}
				compare(t, s, fmt.Sprint("account ", i), books[i], clock, r)
				if t.Failed() {
					t.Fatalf("history %d, step %d", i, step/accounts)
				}
			}
		})
	}
}

// compare gives a report to both forms of an account, and returns what it should
// be answered.
func compare(t *testing.T, s *Store, account string, book *lease.Account, clock time.Time, r lease.Report) lease.Reply {
	t.Helper()
	want := book.Sync(clock, r)
	scripted := s.scripted.Load()
	got, err := s.syncAt(t.Context(), clock, account, r)
	if err != nil || !reflect.DeepEqual(got, want) || s.scripted.Load() != scripted {
		t.Errorf("%s at %v, scripted %v, then %v: %v\nreport %+v\n got %+v\nwant %+v",
			account, clock.Sub(leasetest.T0), scripted, s.scripted.Load(), err, r, got, want)
	}
	return want
}

func TestLargestLimitsAreCountedExactly(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addrs: []string{server.Addr}}, timeless(t))
	book, rng, clock := lease.NewAccount(), rand.New(rand.NewPCG(1, 2)), leasetest.T0
	keep := make(map[string][2]int64)
	for step := range int64(300) {
		clock = clock.Add(time.Duration(rng.IntN(200_000)) * time.Microsecond)
		instance := fmt.Sprint("i", rng.IntN(7))
		r := lease.Report{Instance: instance, Host: "h", Seq: step + 1, Claims: []lease.Claim{
			{Limit: "window", N: MaxN, Window: time.Hour, Linger: time.Hour},
			{Limit: "bucket", N: MaxN - 1, Window: time.Hour, Linger: time.Second, Refill: 24 * time.Hour},
		}}
		for i := range r.Claims {
			c := &r.Claims[i]
			c.Keep, c.Need = rng.Int64N(keep[instance][i]+1), rng.Int64N(2)*rng.Int64N(MaxN)
			c.Want[3], c.Want[rng.IntN(lease.Classes)] = 1+rng.Int64N(MaxN/3), math.MaxInt64/8
		}
		reply := compare(t, s, "a", book, clock, r)
		if t.Failed() {
			t.Fatalf("step %d", step)
		}
		keep[instance] = [2]int64{reply.Grants[0].Hold, reply.Grants[1].Hold}
	}
}
