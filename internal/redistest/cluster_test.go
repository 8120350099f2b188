package redistest_test

import (
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/redistest"
)

func TestClusterSpreadsKeysAndOutlivesANode(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	if len(c.Addrs) != 3 {
		t.Fatalf("addresses %q, want 3", c.Addrs)
	}
	// Slots by CRC16: {b} is 3300, {c} is 7365, {a} is 15495.
	for i, key := range []string{"{b}", "{c}", "{a}"} {
		if got := c.Node(i).CLI("SET", key, "v"); got != "OK" {
			t.Errorf("SET %s on node %d = %q, want OK", key, i, got)
		}
		other := c.Node((i + 1) % 3)
		if got := say(t, dial(t, other.Addr), "GET "+key); !strings.HasPrefix(got, "-MOVED") || !strings.HasSuffix(got, c.Addrs[i]) {
			t.Errorf("GET %s on %s = %q, want -MOVED … %s", key, other.Addr, got, c.Addrs[i])
		}
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: c.Addrs[:1], DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, key := range []string{"{b}", "{c}", "{a}"} {
		if got, err := client.Do(t.Context(), client.B().Get().Key(key).Build()).ToString(); got != "v" {
			t.Errorf("GET %s by a client that knows one address = %q, %v, want v", key, got, err)
		}
	}
	c.Node(1).Restart()
	c.WaitOK()
	if got := c.Node(1).CLI("SET", "{c}", "again"); got != "OK" {
		t.Errorf("SET {c} on the restarted node = %q, want OK", got)
	}
}
