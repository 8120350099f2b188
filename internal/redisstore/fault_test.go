package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/redistest"
)

// slack is by how much a test lets a call be late on a busy machine: with it, a
// call still ends before a silent connection is given up.
const slack = 700 * time.Millisecond

// mustFailInTime syncs with no answer to come, and checks that it returns when
// its context ends.
func mustFailInTime(t *testing.T, name string, s *Store) {
	t.Helper()
	const bound = 150 * time.Millisecond
	cause := errors.New("time is over")
	ctx, cancel := context.WithTimeoutCause(t.Context(), bound, cause)
	defer cancel()
	start := time.Now()
	_, err := s.Sync(ctx, "a", report("one", time.Now().UnixMicro()))
	if took := time.Since(start); err == nil || took > bound+slack {
		t.Errorf("%s: Sync = %v after %v, want an error within %v", name, err, took, bound)
	}
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cause) {
		t.Errorf("%s: Sync = %v, want the cause of its context", name, err)
	}
}

func TestSyncReturnsWithinItsContextAndWorksAgainAfterFaults(t *testing.T) {
	for name, fault := range map[string]func(*redistest.Server, *redistest.Proxy){
		"latency":    func(_ *redistest.Server, p *redistest.Proxy) { p.Latency(2 * time.Second) },
		"black hole": func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole() },
		"half open":  func(_ *redistest.Server, p *redistest.Proxy) { p.HalfOpen() },
		"stopped":    func(s *redistest.Server, _ *redistest.Proxy) { s.Stop() },
		"gone":       func(s *redistest.Server, _ *redistest.Proxy) { s.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr)
			s := open(t, Options{Addrs: []string{proxy.Addr}}, nil)
			late := open(t, Options{Addrs: []string{proxy.Addr}}, nil) // has no connection yet
			heard := listen(t, s, server)
			mustSync(t, s, "a", report("one", 1))

			fault(server, proxy)
			for range 3 {
				mustFailInTime(t, name, s)
				mustFailInTime(t, name+", unconnected", late)
			}
			switch name {
			case "stopped":
				server.Continue()
			case "gone":
				server.Restart()
			default:
				proxy.Heal()
			}
			eventuallySyncs(t, s, "a", "one")
			eventuallySyncs(t, late, "a", "two")

			subscribed(t, server, s)
			eventually(t, func() error { // what was published before may have been lost
				r := report("two", time.Now().UnixMicro())
				r.Pause = time.Hour + time.Duration(r.Seq)*time.Microsecond
				mustSync(t, late, fmt.Sprint("b", r.Seq), r)
				select {
				case <-heard:
					return nil
				case <-time.After(100 * time.Millisecond):
					return errors.New("nothing heard")
				}
			})
		})
	}
}

func TestCloseDoesNotWaitForASilentServer(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr)
	s := open(t, Options{Addrs: []string{proxy.Addr}}, nil)
	mustSync(t, s, "a", report("one", 1))
	proxy.Blackhole()
	result := make(chan error, 1)
	go func() {
		_, err := s.Sync(context.Background(), "a", report("one", 2))
		result <- err
	}()
	start := time.Now()
	s.Close()
	if took := time.Since(start); took > slack {
		t.Errorf("Close took %v", took)
	}
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("the sync under way = %v, want ErrClosed", err)
	}
}

func TestAccountsOfAClusterAreOnAllItsNodes(t *testing.T) {
	cluster := redistest.StartCluster(t)
	for _, way := range []string{"function", "script"} {
		s := open(t, Options{Addrs: cluster.Addrs[:1], Cluster: true, Namespace: way}, nil)
		s.scripted.Store(way == "script")
		for i := range 12 {
			mustSync(t, s, fmt.Sprint("account ", i), report("one", 1))
		}
	}
	for i := range cluster.Addrs {
		if keys := cluster.Node(i).CLI("KEYS", "headgate:1:*"); keys == "" {
			t.Errorf("node %d holds no account", i)
		}
	}

	s := open(t, Options{Addrs: cluster.Addrs[1:], Cluster: true}, nil)
	heard := make(chan lease.Wake, 100)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(w lease.Wake) { heard <- w }) }()
	defer func() { cancel(); <-ended }()
	pause := func(account string) {
		r := report("one", time.Now().UnixMicro())
		r.Pause = time.Hour
		mustSync(t, s, account, r)
	}
	eventually(t, func() error { // whichever node publishes, it is heard
		pause(fmt.Sprint(time.Now().UnixNano()))
		select {
		case <-heard:
			return nil
		case <-time.After(100 * time.Millisecond):
			return errors.New("nothing heard")
		}
	})
	for i := range 12 {
		pause(fmt.Sprint("other ", i))
		for want := fmt.Sprint("other ", i); wait(t, heard).Account != want; {
		}
	}

	f, err := s.Probe(t.Context())
	if err != nil || f.Cluster != "ok" || f.Mode != "function" {
		t.Errorf("Probe = %+v, %v; want cluster ok", f, err)
	}
	cluster.Node(2).Restart() // empty, and without the function
	cluster.WaitOK()
	for i := range 12 {
		eventuallySyncs(t, s, fmt.Sprint("account ", i), "one")
	}
}

func TestStoreFollowsTheMaster(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := open(t, Options{Addrs: sentinel.Addrs, Master: redistest.MasterName}, nil)
	old := sentinel.CurrentMaster()
	heard := listen(t, s, old)
	mustSync(t, s, "a", report("one", 1))
	sentinel.Failover()
	eventuallySyncs(t, s, "a", "one")
	master := sentinel.CurrentMaster()
	if master.Addr == old.Addr {
		t.Fatalf("the master is still %s", old.Addr)
	}
	subscribed(t, master, s)
	r := report("two", 1)
	r.Pause = time.Minute
	mustSync(t, s, "a", r)
	if w := wait(t, heard); w.From != "two" {
		t.Errorf("heard %+v, want that of two", w)
	}
}

func TestErrorsOfTheServerAreReturned(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addrs: []string{server.Addr}}, nil)
	mustSync(t, s, "a", report("one", 1))
	for want, commands := range map[string][2][]string{
		"OOM":        {{"CONFIG", "SET", "maxmemory", "1"}, {"CONFIG", "SET", "maxmemory", "0"}},
		"NOREPLICAS": {{"CONFIG", "SET", "min-replicas-to-write", "1"}, {"CONFIG", "SET", "min-replicas-to-write", "0"}},
		"READONLY":   {{"REPLICAOF", "127.0.0.1", "1"}, {"REPLICAOF", "NO", "ONE"}},
		"WRONGTYPE":  {{"SET", s.key("a"), "x"}, {"DEL", s.key("a")}},
	} {
		server.CLI(commands[0]...)
		_, err := s.Sync(t.Context(), "a", report("one", 2))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Sync = %v, want %s", err, want)
		}
		server.CLI(commands[1]...)
		eventuallySyncs(t, s, "a", "one")
		if s.scripted.Load() {
			t.Fatalf("%s was taken for a server without functions", want)
		}
	}
}
