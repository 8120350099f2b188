package redistest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

// MasterName is what the sentinels call the master they watch.
const MasterName = "mymaster"

// The sentinels' times, in milliseconds: short, because tests wait for them.
const (
	downAfter       = 500
	failoverTimeout = 2000
)

// Sentinel is a master with one replica, watched by three sentinels of which
// two must agree.
type Sentinel struct {
	// Addrs are where the sentinels listen.
	Addrs []string

	tb        testing.TB
	sentinels []*Server
	data      []*Server // master and replica, whichever is which
}

// StartSentinel returns when the replica has caught up and the sentinels know
// it and each other. Options hold for master and replica; the sentinels
// themselves ask for no password.
func StartSentinel(tb testing.TB, opts ...Option) *Sentinel {
	tb.Helper()
	s := &Sentinel{tb: tb}
	base := newSettings(opts)
	base.lines = append(base.lines, "repl-diskless-sync-delay 0")
	base.lines = append(base.lines, base.login("masteruser", "masterauth")...)
	master := launch(tb, base)
	host, port, _ := net.SplitHostPort(master.Addr)
	base.lines = append(base.lines, "replicaof "+host+" "+port)
	replica := launch(tb, base)
	s.data = []*Server{master, replica}
	await(tb, "replication to "+replica.Addr, replica.inSync)

	watch := settings{sentinel: true}
	watch.lines = []string{
		fmt.Sprintf("sentinel monitor %s %s %s 2", MasterName, host, port),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", MasterName, downAfter),
		fmt.Sprintf("sentinel failover-timeout %s %d", MasterName, failoverTimeout),
	}
	watch.lines = append(watch.lines, base.login("sentinel auth-user "+MasterName, "sentinel auth-pass "+MasterName)...)
	for range 3 {
		sentinel := launch(tb, watch)
		// They meet within 0.1 s rather than 2. Redis 6.2 cannot be told.
		sentinel.run([]string{"SENTINEL", "DEBUG", "publish-period", "100", "info-period", "500"})
		s.sentinels = append(s.sentinels, sentinel)
		s.Addrs = append(s.Addrs, sentinel.Addr)
	}
	for _, sentinel := range s.sentinels {
		await(tb, "sentinel "+sentinel.Addr, sentinel.knowsAll)
	}
	return s
}

// CurrentMaster returns the server that the sentinels call the master. It
// fails the test if they do not agree within the wait, as while a failover
// is under way.
func (s *Sentinel) CurrentMaster() *Server {
	s.tb.Helper()
	var master *Server
	await(s.tb, "one master for all sentinels", func() (err error) {
		master, err = s.agreed()
		return err
	})
	return master
}

// Failover kills the master and returns when its replica has been promoted and
// all sentinels say so. The dead one may be restarted: it is a second master
// for 1 or 2 s, until the sentinels make it a replica.
func (s *Sentinel) Failover() {
	s.tb.Helper()
	old := s.CurrentMaster()
	old.Kill()
	await(s.tb, "failover from "+old.Addr, func() error {
		master, err := s.agreed()
		switch {
		case err != nil:
			return err
		case master == old:
			return errors.New("the dead server is still the master")
		}
		return master.isMaster()
	})
}

// agreed returns the master if all sentinels name the same.
func (s *Sentinel) agreed() (*Server, error) {
	var addr string
	for _, sentinel := range s.sentinels {
		answer, err := sentinel.run([]string{"SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName})
		if err != nil {
			return nil, err
		}
		host, port, _ := strings.Cut(answer, "\n")
		named := net.JoinHostPort(host, port)
		if addr != "" && named != addr {
			return nil, fmt.Errorf("one sentinel names %s, another %s", addr, named)
		}
		addr = named
	}
	for _, server := range s.data {
		if server.Addr == addr {
			return server, nil
		}
	}
	return nil, fmt.Errorf("the sentinels name %s, which is none of ours", addr)
}

func (s *Server) inSync() error {
	info, err := s.run([]string{"INFO", "replication"})
	if err == nil && field(info, "master_link_status") != "up" {
		err = fmt.Errorf("INFO says\n%s", info)
	}
	return err
}

func (s *Server) isMaster() error {
	info, err := s.run([]string{"INFO", "replication"})
	if err == nil && field(info, "role") != "master" {
		err = fmt.Errorf("INFO says\n%s", info)
	}
	return err
}

// knowsAll asks a sentinel whether it has found the replica and its peers.
func (s *Server) knowsAll() error {
	info, err := s.run([]string{"INFO", "sentinel"})
	if err == nil && !strings.HasSuffix(strings.TrimSpace(info), "slaves=1,sentinels=3") {
		err = fmt.Errorf("INFO says\n%s", info)
	}
	return err
}
