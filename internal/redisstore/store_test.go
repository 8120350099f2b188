package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/redistest"
)

// patience is for how long a test waits for what must come.
const patience = 20 * time.Second

// report is the seq-th of an instance that holds nothing and wants 1 of 50.
func report(instance string, seq int64) lease.Report {
	return lease.Report{
		Instance: instance, Host: "host-" + instance, Seq: seq,
		Claims: []lease.Claim{{Limit: "requests/1m", N: 50, Window: time.Minute, Linger: time.Minute, Want: [lease.Classes]int64{3: 1}}},
	}
}

// mustSync syncs, and fails the test if it can't.
func mustSync(t *testing.T, s *Store, account string, r lease.Report) lease.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reply, err := s.Sync(ctx, account, r)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Seq != r.Seq || len(reply.Grants) != len(r.Claims) {
		t.Fatalf("reply to %+v = %+v", r, reply)
	}
	return reply
}

// eventually calls f until it is content.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("after %v still: %v", patience, err)
}

// eventuallySyncs syncs as the fleet does, each time by a fresh report, until
// it is answered.
func eventuallySyncs(t *testing.T, s *Store, account, instance string) {
	t.Helper()
	seq := time.Now().UnixNano() / 1e6
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), lease.SyncTimeout)
		defer cancel()
		seq++
		_, err := s.Sync(ctx, account, report(instance, seq))
		return err
	})
}

func TestStepIsLoadedAgainWhenItIsLost(t *testing.T) {
	server := redistest.Start(t)
	for _, way := range []string{"function", "script"} {
		s := open(t, Options{Addrs: []string{server.Addr}, Namespace: way}, nil)
		s.scripted.Store(way == "script")
		mustSync(t, s, "a", report("one", 1))
		for seq, lose := range []func(){
			func() { server.CLI("SCRIPT", "FLUSH") },
			func() { server.CLI("FUNCTION", "FLUSH") },
			server.FlushAll,
			func() { server.CLI("SCRIPT", "FLUSH"); server.CLI("FUNCTION", "FLUSH"); server.FlushAll() },
		} {
			lose()
			mustSync(t, s, "a", report("one", int64(seq+2)))
		}
		server.Restart()
		eventuallySyncs(t, s, "a", "one")
		if s.scripted.Load() != (way == "script") {
			t.Errorf("by %s: scripted = %v at the end", way, s.scripted.Load())
		}
	}
}

func TestStoreUsesScriptsWhereItMayNotLoadFunctions(t *testing.T) {
	for _, line := range []string{
		"user app on >secret ~* &* +@all -fcall",
		"user app on >secret ~* &* +@all -function",
		`rename-command FCALL ""`, // as before Redis 7
		`rename-command FUNCTION ""`,
	} {
		server := redistest.Start(t, redistest.WithConfig(line))
		o := Options{Addrs: []string{server.Addr}}
		if strings.HasPrefix(line, "user") {
			o.Username, o.Password = "app", "secret"
		}
		s := open(t, o, nil)
		mustSync(t, s, "a", report("one", 1))
		if !s.scripted.Load() {
			t.Errorf("with %s: not scripted", line)
		}
		if f, err := s.Probe(t.Context()); err != nil || strings.HasSuffix(line, "-fcall") && f.Mode != "script" {
			t.Errorf("with %s: Probe = %+v, %v; want mode script", line, f, err)
		}
	}
}

// The rights are those that the package comment lists.
func TestStoreNeedsNoMoreRightsThanItSays(t *testing.T) {
	const keys = "~headgate:1:* &headgate:1:* +@hash +pexpire +time +publish +subscribe +ping "
	for _, rights := range []string{keys + "+fcall +function", keys + "+eval +evalsha"} {
		server := redistest.Start(t, redistest.WithConfig("user app on >secret "+rights))
		s := open(t, Options{Addrs: []string{server.Addr}, Username: "app", Password: "secret"}, nil)
		r := report("one", 1)
		mustSync(t, s, "a", r)
		heard := listen(t, s, server)
		r = report("two", 1)
		r.Pause = time.Second
		mustSync(t, s, "a", r)
		wait(t, heard)
	}
}

func TestStoreAsksForTheTimeWhereTheStepMayNot(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addrs: []string{server.Addr}}, timeless(t))
	mustSync(t, s, "a", report("one", 1))
	if !s.clockless.Load() {
		t.Fatal("a server that refuses TIME was not noticed")
	}
	r := report("one", 2)
	r.Pause = time.Minute
	mustSync(t, s, "a", r)
	if got := mustSync(t, s, "a", report("one", 3)).Pause; got <= 50*time.Second || got > time.Minute {
		t.Errorf("pause = %v, want what is left of 1m", got)
	}
}

func TestRepeatedReportChangesNothing(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addrs: []string{server.Addr}}, nil)
	r := report("one", 1)
	r.Claims[0].Keep = 7
	first := mustSync(t, s, "a", r)
	again := mustSync(t, s, "a", r)
	late := r
	late.Seq, late.Claims = 0, []lease.Claim{r.Claims[0]}
	late.Claims[0].Keep = 3
	mustSync(t, s, "a", late)
	if first.Grants[0].Hold != 7 || again.Grants[0] != first.Grants[0] {
		t.Errorf("grants = %+v, repeated %+v; want a hold of 7 twice", first.Grants[0], again.Grants[0])
	}
	if got := mustSync(t, s, "a", r).Grants[0]; got != first.Grants[0] {
		t.Errorf("after a late report: %+v, want %+v", got, first.Grants[0])
	}
}

func TestAccountsOfNamespacesAreApart(t *testing.T) {
	server := redistest.Start(t)
	for _, namespace := range []string{"red", "blue"} {
		s := open(t, Options{Addrs: []string{server.Addr}, Namespace: namespace}, nil)
		if got := mustSync(t, s, "a", report(namespace, 1)).Alive; got != 1 {
			t.Errorf("alive in %s = %d, want 1", namespace, got)
		}
	}
	keys := strings.Fields(server.CLI("KEYS", "*"))
	if len(keys) != 2 || !strings.Contains(strings.Join(keys, " "), "headgate:1:{red/a}") {
		t.Errorf("keys = %q, want headgate:1:{red/a} and headgate:1:{blue/a}", keys)
	}
	if ttl := server.CLI("TTL", keys[0]); ttl < "90000" || len(ttl) != 5 {
		t.Errorf("TTL of %s = %s s, want 25 h or a little more", keys[0], ttl)
	}
}

func TestSizeOfAnAccountIsIndependentOfN(t *testing.T) {
	server := redistest.Start(t)
	const most = 64 << 10 // bytes, for 50 instances and 3 limits
	sizes := make(map[int64]int)
	for _, times := range []int64{1, 100} {
		s := open(t, Options{Addrs: []string{server.Addr}}, nil)
		account := strconv.FormatInt(times+100, 10)
		for round := range int64(2) {
			for i := range 50 {
				mustSync(t, s, account, bigReport(i, round+1, times))
			}
		}
		bytes, err := strconv.Atoi(server.CLI("MEMORY", "USAGE", s.key(account), "SAMPLES", "0"))
		if err != nil || bytes > most {
			t.Errorf("%d times the limits: %d bytes, %v; want at most %d", times, bytes, err, most)
		}
		sizes[times] = bytes
	}
	t.Logf("bytes by factor: %v", sizes)
	if sizes[1] != sizes[100] {
		t.Errorf("bytes by factor = %v, want the same", sizes)
	}
}

// bigReport is of one of 50 instances, under the limits of a usual credential.
func bigReport(i int, seq, times int64) lease.Report {
	r := lease.Report{
		Instance: fmt.Sprintf("k4q7zr2vj6hd3mws5xta%02d", i), Host: "worker-7d9c5b8f6-x2x4q:7", Seq: seq,
		Claims: []lease.Claim{
			{Limit: "requests/1m0s sliding", N: 500 * times, Window: time.Minute, Linger: time.Minute + 250*time.Millisecond},
			{Limit: "tokens/1m0s sliding", N: 2_000_000 * times, Window: time.Minute, Linger: time.Minute + 250*time.Millisecond},
			{Limit: "concurrent", N: 64 * times},
		},
		Breakers: []lease.Breaker{{Upstream: "openai", Generation: 3, Throttled: 2, Succeeded: 4711}},
	}
	for k := range r.Claims {
		c := &r.Claims[k]
		c.Keep, c.Want, c.Need = c.N/100, [lease.Classes]int64{1: c.N / 50, 3: c.N}, 1
	}
	return r
}

func TestOpenDoesNotNeedTheServer(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	s, err := Open(Options{Addrs: []string{server.Addr}, Password: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	start := time.Now()
	_, err = s.Sync(t.Context(), "a", report("one", 1))
	if err == nil || time.Since(start) > lease.SyncTimeout {
		t.Errorf("with nobody there: %v after %v, want an error at once", err, time.Since(start))
	}
	if text := fmt.Sprint(err); !strings.Contains(text, server.Addr) || strings.Contains(text, "hunter2") {
		t.Errorf("error = %q, want the address in it and no password", text)
	}
}

func TestOpenRefusesWhatCanNeverWork(t *testing.T) {
	for _, o := range []Options{
		{},
		{Addrs: []string{"a:1"}, Cluster: true, Master: "m"},
		{Addrs: []string{"a:1"}, Cluster: true, DB: 1},
		{Addrs: []string{"a:1", "b:1"}},
	} {
		if s, err := Open(o); err == nil {
			s.Close()
			t.Errorf("Open(%+v) succeeded, want an error", o)
		}
	}
}

func TestWrongPasswordIsNotShown(t *testing.T) {
	server := redistest.Start(t, redistest.WithPassword("app", "right"))
	s := open(t, Options{Addrs: []string{server.Addr}, Username: "app", Password: "hunter2"}, nil)
	_, err := s.Sync(t.Context(), "a", report("one", 1))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v, want one without the password", err)
	}
}

func TestSyncRefusesWhatAnAccountHasNoRoomFor(t *testing.T) {
	s := open(t, Options{Addrs: []string{"127.0.0.1:1"}}, nil)
	for name, change := range map[string]func(*lease.Report){
		"number":   func(r *lease.Report) { r.Claims[0].N = MaxN + 1 },
		"no name":  func(r *lease.Report) { r.Instance = "" },
		"its name": func(r *lease.Report) { r.Instance = "account" },
		"zero":     func(r *lease.Report) { r.Host = "a\x00b" },
	} {
		r := report("one", 1)
		change(&r)
		if _, err := s.Sync(t.Context(), "a", r); err == nil || strings.Contains(err.Error(), "connect") {
			t.Errorf("%s: Sync(%+v) = %v, want it refused", name, r, err)
		}
	}
}

func TestClosedStoreSaysSo(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addrs: []string{server.Addr}}, nil)
	mustSync(t, s, "a", report("one", 1))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background(), func(lease.Wake) {}) }()
	subscribed(t, server, s)
	s.Close()
	s.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("Run = %v, want ErrClosed", err)
	}
	if _, err := s.Sync(t.Context(), "a", report("one", 2)); !errors.Is(err, ErrClosed) {
		t.Errorf("Sync = %v, want ErrClosed", err)
	}
}
