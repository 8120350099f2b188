package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/lease"
)

// MaxN is the highest number of a limit that a store counts exactly.
const MaxN = 1 << 40

// wantMost is above all that can be held. The sum of what is wanted in all
// classes must be exact: below 2^53.
const wantMost = 1 << 44

// Sync takes a report to an account and returns the answer, as lease.Account
// does. It returns when ctx ends; the report may have arrived then, or may yet.
func (s *Store) Sync(ctx context.Context, account string, r lease.Report) (lease.Reply, error) {
	reply, err := s.sync(ctx, account, &r)
	if err != nil {
		return lease.Reply{}, fmt.Errorf("sync %s with %s: %w", account, s.addr, err)
	}
	return reply, nil
}

func (s *Store) sync(ctx context.Context, account string, r *lease.Report) (lease.Reply, error) {
	if err := check(account, r); err != nil {
		return lease.Reply{}, err
	}
	var reply lease.Reply
	err := s.do(ctx, func(ctx context.Context, client rueidis.Client) error {
		fields, err := s.call(ctx, client, s.script.name, s.key(account), s.arguments(account, r))
		if err != nil {
			return err
		}
		got, err := parse(fields, r)
		if err != nil {
			return err
		}
		reply = got
		return nil
	})
	if err != nil {
		return lease.Reply{}, err // reply may still be written to
	}
	return reply, nil
}

func (s *Store) key(account string) string {
	return "headgate:1:{" + s.namespace + "/" + account + "}"
}

// check refuses what the account has no room for.
func check(account string, r *lease.Report) error {
	if r.Instance == "" || r.Instance == "account" || r.Instance == "lessons" {
		return fmt.Errorf("%q is no name for an instance", r.Instance)
	}
	names := []string{account, r.Instance, r.Host}
	for _, c := range r.Claims {
		if c.N > MaxN {
			return fmt.Errorf("limit %s: %d is above %d, the most that can be shared", c.Limit, c.N, int64(MaxN))
		}
		if c.Learned > MaxN || c.Refusals > MaxN {
			return fmt.Errorf("limit %s: %d learned from %d refusals is above %d, the most that can be shared", c.Limit, c.Learned, c.Refusals, int64(MaxN))
		}
		names = append(names, c.Limit)
	}
	for _, b := range r.Breakers {
		names = append(names, b.Upstream)
	}
	for _, name := range names {
		if strings.ContainsRune(name, 0) {
			return fmt.Errorf("name %q holds a zero byte", name)
		}
	}
	return nil
}

// arguments returns the report as the step takes it.
func (s *Store) arguments(account string, r *lease.Report) []string {
	args := make(arguments, 0, 12+17*len(r.Claims)+9*len(r.Breakers))
	args.text("") // the time
	args.text(r.Instance)
	args.text(r.Host)
	args.numbers(r.Seq, r.Seen, r.Since.Microseconds(), int64(r.Members), flag(r.Leaves), r.Pause.Microseconds())
	args.text(account)
	args.text(s.channel)
	args.numbers(int64(len(r.Claims)))
	for i := range r.Claims {
		c := &r.Claims[i]
		args.text(c.Limit)
		args.numbers(c.N, c.Window.Microseconds(), c.Linger.Microseconds(), c.Refill.Microseconds(), c.Keep, c.Need)
		for _, want := range c.Want {
			args.numbers(min(want, wantMost))
		}
		args.numbers(c.Learned, c.Refusals)
	}
	for i := range r.Breakers {
		b := &r.Breakers[i]
		args.text(b.Upstream)
		args.numbers(b.Generation, flag(b.Open), int64(b.Cause), b.Left.Microseconds(), b.Throttled, b.Failed, b.Succeeded, flag(b.Probing))
	}
	return args
}

type arguments []string

func (a *arguments) text(s string) { *a = append(*a, s) }

func (a *arguments) numbers(ns ...int64) {
	for _, n := range ns {
		*a = append(*a, strconv.FormatInt(n, 10))
	}
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// parse reads the answer to a report.
func parse(fields []rueidis.RedisMessage, r *lease.Report) (lease.Reply, error) {
	f := &reader{fields: fields}
	reply := lease.Reply{Seq: f.number(), Pause: f.micros(), Repair: f.flag(), Members: int(f.number()), Alive: int(f.number())}
	for range r.Claims {
		reply.Grants = append(reply.Grants, lease.Grant{
			Hold: f.number(), Target: f.number(), Most: f.number(), Tokens: f.number(),
			Lesson: lease.Lesson{Learned: f.number(), Refusals: f.number()},
		})
	}
	for _, b := range r.Breakers {
		reply.Breakers = append(reply.Breakers, lease.Breaker{
			Upstream:   b.Upstream,
			Generation: f.number(),
			Open:       f.flag(),
			Cause:      int(f.number()),
			Left:       f.micros(),
			Throttled:  f.number(),
			Failed:     f.number(),
			Succeeded:  f.number(),
			Probing:    f.flag(),
		})
	}
	for i := 0; i < reply.Alive && f.err == nil; i++ {
		p := lease.Peer{Instance: f.text(), Host: f.text(), Hold: make([]int64, len(r.Claims))}
		for k := range p.Hold {
			p.Hold[k] = f.number()
		}
		reply.Peers = append(reply.Peers, p)
	}
	for f.err == nil && len(f.fields) > 0 {
		reply.Wake = append(reply.Wake, f.text())
	}
	if f.err != nil {
		return lease.Reply{}, fmt.Errorf("read the answer: %w", f.err)
	}
	return reply, nil
}

// reader takes fields one after the other. After an error it returns zeros.
type reader struct {
	fields []rueidis.RedisMessage
	err    error
}

func (r *reader) next() *rueidis.RedisMessage {
	if r.err != nil {
		return nil
	}
	if len(r.fields) == 0 {
		r.err = errors.New("it is too short")
		return nil
	}
	m := &r.fields[0]
	r.fields = r.fields[1:]
	return m
}

func (r *reader) number() (n int64) {
	if m := r.next(); m != nil {
		n, r.err = m.AsInt64()
	}
	return n
}

func (r *reader) text() (s string) {
	if m := r.next(); m != nil {
		s, r.err = m.ToString()
	}
	return s
}

func (r *reader) flag() bool { return r.number() == 1 }

func (r *reader) micros() time.Duration { return time.Duration(r.number()) * time.Microsecond }
