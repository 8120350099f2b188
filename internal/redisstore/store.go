// Package redisstore is the far ledger's store: package lease's Account, kept in
// Redis or Valkey, where instances share it. Sync answers exactly as Account
// does, in one atomic step of the server, by the server's clock. Package headgate
// decides when to sync, and what to say.
//
// # Keys
//
// An account is one hash, at
//
//	headgate:1:{NAMESPACE/ACCOUNT}
//
// with a field "account" for what belongs to all and one for each instance, named
// by it. It takes some 0.5 KB for each instance with three limits, whatever their
// numbers. It goes away when nobody has synced it for 25 hours and for as long
// beyond that as what was used may count or a pause lasts.
//
// # Messages
//
// Who should sync, and a pause, is published as JSON to
//
//	headgate:1:NAMESPACE
//
// with @DB behind it for another database than 0, since channels know none,
// in the same step that finds it out; see lease.Wake. Messages can be lost: every
// instance syncs soon anyhow, and a reply says all that a message does.
//
// # Versions
//
// The step is written in Lua, in the directory lua: a function where the server
// has Redis Functions and lets us load them (7.0 on), else a script (6.2). It is
// loaded when it turns out to be missing: at first, after a restart, a flush or a
// failover. Its name ends in a digest of its text, so that releases run side by
// side; what their keys and messages look like is numbered by the 1 in their
// names. Functions of old releases stay until FUNCTION DELETE.
//
// The user needs ~headgate:1:* &headgate:1:* +@hash +pexpire +time +publish
// +subscribe +ping, and +fcall +function or +eval +evalsha; for Probe also +info,
// +config|get and +cluster|info. Where TIME is refused inside a function it is
// asked for before each sync, which then takes two round trips.
package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Options say where a store is.
type Options struct {
	Addrs            []string // host:port each: of the server, of Sentinels, or of nodes of a cluster to begin with
	Username         string   // "": the default user
	Password         string   // "": none
	DB               int      // 0 in a cluster
	Master           string   // what Sentinels call it; "": Addrs are no Sentinels
	SentinelPassword string   // "": none
	Cluster          bool
	TLS              *tls.Config // nil: none; its ServerName is the host of each address if it is ""
	Namespace        string      // "": default

	// Retention is how long jobs are kept that were cancelled; 0:
	// job.Retention. Only OpenJobs looks at it.
	Retention time.Duration
}

const (
	dialTimeout = 2 * time.Second // to connect and log in

	// A connection that is silent for so long is asked for a sign of life, and
	// given up after as long again.
	silence = time.Second

	// How often to ask who is the master of what, besides when it shows.
	refresh = 5 * time.Second
)

// ErrClosed is returned by a store that was closed.
var ErrClosed = errors.New("store is closed")

// Store is accounts in Redis. Its methods may be called at once by many
// goroutines.
type Store struct {
	addr      string // for errors
	namespace string
	channel   string
	options   rueidis.ClientOption
	script    *script

	scripted  atomic.Bool // the server has no functions, or none for us
	clockless atomic.Bool // it tells the step no time
	clock     func(context.Context, rueidis.Client) (int64, error)

	ctx     context.Context // ends with the store
	close   context.CancelCauseFunc
	dialing chan struct{} // a lock: one connects, the others wait for it
	client  atomic.Pointer[rueidis.Client]
	mu      sync.Mutex // guards running against Close
	running sync.WaitGroup
	conns   conns
}

// Open returns the store that o says. It connects when it is first used, and
// again whenever it must; a server that is away is no error here.
func Open(o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return newStore(o, theScript), nil
}

func (o *Options) check() error {
	switch {
	case len(o.Addrs) == 0:
		return errors.New("no address")
	case o.Cluster && o.Master != "":
		return errors.New("a cluster has no Sentinels")
	case o.Cluster && o.DB != 0:
		return errors.New("a cluster has database 0 alone")
	case !o.Cluster && o.Master == "" && len(o.Addrs) > 1:
		return errors.New("one server has one address")
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	return nil
}

func newStore(o Options, script *script) *Store {
	s := &Store{
		addr:      strings.Join(o.Addrs, ","),
		namespace: o.Namespace,
		channel:   channel(o),
		script:    script,
		clock:     clock,
		dialing:   make(chan struct{}, 1),
	}
	s.ctx, s.close = context.WithCancelCause(context.Background())
	s.options = rueidis.ClientOption{
		InitAddress:       o.Addrs,
		Username:          o.Username,
		Password:          o.Password,
		SelectDB:          o.DB,
		TLSConfig:         o.TLS,
		ForceSingleClient: !o.Cluster,
		Dialer:            net.Dialer{Timeout: dialTimeout, KeepAlive: silence},
		ConnWriteTimeout:  silence,
		DialCtxFn:         s.dial,
		PipelineMultiplex: -1,   // one connection to a server is plenty
		AlwaysPipelining:  true, // else an answer is waited for whatever the context says
		DisableRetry:      true, // the next sync is the retry
		DisableCache:      true, // needs CLIENT TRACKING, which not every server has
		RingScaleEachConn: 8,
		// 0.5 MiB by default; a reply to 50 instances has 5 KB.
		ReadBufferEachConn:  32 << 10,
		WriteBufferEachConn: 32 << 10,
	}
	if o.Cluster {
		s.options.PipelineMultiplex = 0 // means the same, in a cluster
		s.options.ClusterOption.ShardsRefreshInterval = refresh
	}
	if o.Master != "" {
		s.options.Sentinel = rueidis.SentinelOption{
			MasterSet:               o.Master,
			Password:                o.SentinelPassword,
			TLSConfig:               o.TLS,
			Dialer:                  s.options.Dialer,
			TopologyRefreshInterval: refresh,
		}
	}
	return s
}

// channel returns where messages go.
func channel(o Options) string {
	name := "headgate:1:" + o.Namespace
	if o.DB != 0 {
		name += "@" + strconv.Itoa(o.DB)
	}
	return name
}

// Close ends what is under way and lets go of all connections. It may be called
// twice.
func (s *Store) Close() {
	s.mu.Lock()
	s.close(ErrClosed)
	s.mu.Unlock()
	s.conns.close() // else a silent server is waited for
	s.running.Wait()
	if c := s.client.Swap(nil); c != nil {
		(*c).Close()
	}
}

// do calls f with a client, and returns at the latest when ctx ends: f may then
// go on for as long as connecting takes.
func (s *Store) do(ctx context.Context, f func(context.Context, rueidis.Client) error) error {
	if !s.enter() {
		return ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		defer s.running.Done()
		client, err := s.connect(ctx)
		if err == nil {
			err = f(ctx, client)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && s.ctx.Err() != nil {
			return ErrClosed
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return ErrClosed
	}
}

// enter notes that somebody is about to use the store, and calls running.Done
// when it does no more. It returns false if the store is closed.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.running.Add(1)
	return true
}

// connect returns the client, which it makes if there is none yet.
func (s *Store) connect(ctx context.Context) (rueidis.Client, error) {
	if c := s.client.Load(); c != nil {
		return *c, nil
	}
	select {
	case s.dialing <- struct{}{}:
		defer func() { <-s.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := s.client.Load(); c != nil {
		return *c, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, err := rueidis.NewClient(s.options)
	if err != nil {
		if client != nil {
			client.Close()
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	s.client.Store(&client)
	return client, nil
}

// dial connects to a server.
func (s *Store) dial(ctx context.Context, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	var conn net.Conn
	var err error
	if conf == nil {
		conn, err = d.DialContext(ctx, "tcp", addr)
	} else {
		conn, err = (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	return s.conns.add(conn)
}

// conns are the connections that are open.
type conns struct {
	mu     sync.Mutex
	open   map[*conn]struct{}
	closed bool
}

type conn struct {
	net.Conn
	conns *conns
}

func (cs *conns) add(c net.Conn) (net.Conn, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		c.Close()
		return nil, ErrClosed
	}
	if cs.open == nil {
		cs.open = make(map[*conn]struct{})
	}
	known := &conn{c, cs}
	cs.open[known] = struct{}{}
	return known, nil
}

// close closes all of them, and those to come.
func (cs *conns) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	for c := range cs.open {
		c.Conn.Close()
	}
}

func (c *conn) Close() error {
	c.conns.mu.Lock()
	delete(c.conns.open, c)
	c.conns.mu.Unlock()
	return c.Conn.Close()
}
