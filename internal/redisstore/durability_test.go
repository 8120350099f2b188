package redisstore

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

func TestDurabilitySaysWhatACrashLoses(t *testing.T) {
	for _, c := range []struct {
		lines    []string
		promise  string
		warnings []string // a part of each
	}{
		{[]string{"appendonly yes", "appendfsync always"}, "a crash loses nothing", nil},
		{[]string{"appendonly yes", "appendfsync everysec"}, "1 to 2 seconds", nil},
		{[]string{"appendonly yes", "appendfsync no"}, "30 seconds", []string{"appendfsync is no"}},
		{[]string{"save 60 1000"}, "since the last snapshot (save 60 1000)", []string{"appendonly yes"}},
		{[]string{"maxmemory-policy allkeys-lru"}, "in memory alone", []string{"appendonly yes", "may delete jobs"}},
		{[]string{"appendonly yes", "maxmemory-policy volatile-ttl"}, "1 to 2 seconds", []string{"deletes responses"}},
	} {
		server := redistest.Start(t, redistest.WithConfig(c.lines...))
		got, err := openJobs(t, Options{Addrs: []string{server.Addr}}).Durability(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.Promise, c.promise) || len(got.Warnings) != len(c.warnings) {
			t.Errorf("with %q: %q, warnings %q; want %q, warnings with %q", c.lines, got.Promise, got.Warnings, c.promise, c.warnings)
			continue
		}
		for i, part := range c.warnings {
			if !strings.Contains(got.Warnings[i], part) {
				t.Errorf("with %q: warning %q, want %q in it", c.lines, got.Warnings[i], part)
			}
		}
	}
}

func TestDurabilityOfAReplicatedServerWarnsOfFailovers(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	got, err := openJobs(t, Options{Addrs: sentinel.Addrs, Master: redistest.MasterName}).Durability(t.Context())
	if err != nil || got.Facts.Replicas != 1 || !strings.Contains(strings.Join(got.Warnings, "\n"), "asynchronous") {
		t.Errorf("Durability = %+v, %v; want one replica and a warning of failovers", got, err)
	}
}
