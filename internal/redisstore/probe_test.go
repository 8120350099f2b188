package redisstore

import (
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

func TestProbeSaysWhatAServerIs(t *testing.T) {
	server := redistest.Start(t, redistest.WithAOF(), redistest.WithConfig("maxmemory 64mb", "maxmemory-policy allkeys-lru", "save 900 1"))
	s := open(t, Options{Addrs: []string{server.Addr}}, nil)
	f, err := s.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := f
	want.Addr, want.Role, want.Mode = server.Addr, "master", "function"
	want.Save, want.AppendOnly, want.Fsync = "900 1", true, "always"
	want.MaxMemory, want.Eviction, want.Cluster = 64<<20, "allkeys-lru", ""
	if f != want || f.Version == "" || f.Server != "redis" && f.Server != "valkey" {
		t.Errorf("Probe = %+v, want %+v", f, want)
	}
	if ahead := max(f.Ahead, -f.Ahead); f.RoundTrip <= 0 || ahead > f.RoundTrip+time.Millisecond {
		t.Errorf("on one machine: ahead by %v, round trip %v", f.Ahead, f.RoundTrip)
	}
}

func TestProbeTellsAReplica(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, Options{Addrs: []string{server.Addr}}, nil)
	server.CLI("REPLICAOF", "127.0.0.1", "1")
	if f, err := s.Probe(t.Context()); err != nil || f.Role != "replica" || f.Mode != "" {
		t.Errorf("Probe = %+v, %v; want a replica without a mode", f, err)
	}
}

func TestProbeLeavesOutWhatItMayNotAsk(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("user app on >secret ~* &* +@all -config -function"))
	s := open(t, Options{Addrs: []string{server.Addr}, Username: "app", Password: "secret"}, nil)
	f, err := s.Probe(t.Context())
	if err != nil || f.Save != "" || f.Fsync != "" || f.Mode != "script" || f.Eviction != "noeviction" {
		t.Errorf("Probe = %+v, %v; want what INFO says, and mode script", f, err)
	}
}

func TestProbeNamesTheServerThatIsAway(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	s := open(t, Options{Addrs: []string{server.Addr}}, nil)
	if f, err := s.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), server.Addr) {
		t.Errorf("Probe = %+v, %v; want an error that names %s", f, err, server.Addr)
	}
}
