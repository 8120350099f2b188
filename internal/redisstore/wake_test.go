package redisstore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/lease"
	"github.com/headgate/headgate/internal/redistest"
)

// listen runs s until the test ends, and returns when it has subscribed.
func listen(t *testing.T, s *Store, server *redistest.Server) <-chan lease.Wake {
	t.Helper()
	heard := make(chan lease.Wake, 100)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	over := errors.New("the test is over")
	go func() { ended <- s.Run(ctx, func(w lease.Wake) { heard <- w }) }()
	t.Cleanup(func() {
		cancel(over)
		if err := <-ended; err != over {
			t.Errorf("Run = %v, want the cause of its context", err)
		}
	})
	subscribed(t, server, s)
	return heard
}

// subscribed returns when the server has a subscriber.
func subscribed(t *testing.T, server *redistest.Server, s *Store) {
	t.Helper()
	eventually(t, func() error {
		if got := server.CLI("PUBSUB", "NUMSUB", s.channel); !strings.HasSuffix(got, "\n1") {
			return fmt.Errorf("subscribers: %q", got)
		}
		return nil
	})
}

func wait(t *testing.T, heard <-chan lease.Wake) lease.Wake {
	t.Helper()
	select {
	case w := <-heard:
		return w
	case <-time.After(patience):
		t.Fatalf("nothing heard in %v", patience)
		return lease.Wake{}
	}
}

func TestPauseIsHeardByAll(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addrs: []string{server.Addr}}, nil)
	heard := listen(t, s, server)
	for _, instance := range []string{"one", "two", "three"} {
		mustSync(t, s, "a", report(instance, 1))
	}
	r := report("two", 2)
	r.Pause = 3 * time.Second
	reply := mustSync(t, s, "a", r)
	w := wait(t, heard)
	want := lease.Wake{Account: "a", From: "two", Instances: []string{"one", "three"}, Pause: 3 * time.Second}
	if !reflect.DeepEqual(w, want) {
		t.Errorf("heard %+v, want %+v", w, want)
	}
	if !slices.Equal(reply.Wake, want.Instances) {
		t.Errorf("reply.Wake = %v, want %v", reply.Wake, want.Instances)
	}
	r.Seq, r.Pause = 3, time.Second
	mustSync(t, s, "a", r)
	if len(heard) != 0 {
		t.Errorf("a shorter pause was told: %+v", <-heard)
	}
}

// Channels belong to no database; accounts do.
func TestPauseStaysInItsDatabase(t *testing.T) {
	server := redistest.Start(t)
	zero := open(t, Options{Addrs: []string{server.Addr}}, nil)
	two := open(t, Options{Addrs: []string{server.Addr}, DB: 2}, nil)
	heard := listen(t, two, server)
	for _, s := range []*Store{zero, two} { // in this order
		r := report("in "+s.channel, 1)
		r.Pause = time.Second
		mustSync(t, s, "a", r)
	}
	if w := wait(t, heard); w.From != "in "+two.channel {
		t.Errorf("heard %+v, want what was said in database 2 alone", w)
	}
}

func TestSubscriptionComesBack(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr)
	s := open(t, Options{Addrs: []string{proxy.Addr}}, nil)
	heard := listen(t, s, server)
	pause := time.Second
	for name, spoil := range map[string]func(){
		"restart":      server.Restart,
		"reset":        proxy.Reset,
		"client kill":  func() { server.CLI("CLIENT", "KILL", "TYPE", "pubsub") },
		"flushed away": server.FlushAll,
	} {
		spoil()
		subscribed(t, server, s)
		eventuallySyncs(t, s, "a", "one")
		pause += 10 * time.Second
		r := report("one", time.Now().UnixMilli()+1_000_000)
		r.Pause = pause
		mustSync(t, s, name, r)
		if w := wait(t, heard); w.Account != name || w.Pause != pause {
			t.Errorf("after %s: heard %+v, want %s paused for %v", name, w, name, pause)
		}
	}
}

// What is published to the channel by others is foreign input.
func FuzzParseWake(f *testing.F) {
	for _, text := range []string{
		`{"account":"a","from":"one","pause_ms":1500,"instances":["two"]}`,
		`{"account":"a","pause_ms":99999999999999999}`, `{"account":"a","pause_ms":-1}`,
		`{"account":"a","instances":{}}`, `{"account":"a","pause_ms":1e99}`, `{}`, `null`, `[`, "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, ok := parseWake(text)
		if ok != (w.Account != "") || w.Pause < 0 {
			t.Errorf("parseWake(%q) = %+v, %v", text, w, ok)
		}
	})
}
