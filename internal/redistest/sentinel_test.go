package redistest_test

import (
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/redistest"
)

func TestFailoverPromotesTheReplica(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, redistest.WithPassword("app", "secret"))
	if len(s.Addrs) != 3 {
		t.Fatalf("addresses %q, want 3", s.Addrs)
	}
	old := s.CurrentMaster()
	old.CLI("SET", "k", "v")
	old.CLI("WAIT", "1", "5000")

	s.Failover()
	master := s.CurrentMaster()
	if master == old {
		t.Fatalf("the master is still %s", old.Addr)
	}
	if got := master.CLI("GET", "k"); got != "v" {
		t.Errorf("GET k on the promoted replica = %q, want v", got)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:  s.Addrs,
		Sentinel:     rueidis.SentinelOption{MasterSet: redistest.MasterName},
		Username:     "app",
		Password:     "secret",
		DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if got, err := client.Do(t.Context(), client.B().Get().Key("k").Build()).ToString(); got != "v" {
		t.Errorf("GET k by a client that knows the sentinels = %q, %v, want v", got, err)
	}
	if got := master.CLI("ROLE"); !strings.HasPrefix(got, "master") {
		t.Errorf("ROLE of the promoted replica = %q, want master", got)
	}
}
