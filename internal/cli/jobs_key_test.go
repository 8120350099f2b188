package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/admin"
	"github.com/headgate/headgate/internal/gateway"
	"github.com/headgate/headgate/internal/job/jobtest"
)

func TestJobsShowTheAdminKeyWhereOneIsAskedFor(t *testing.T) {
	key, hash := gateway.NewKey()
	jobs := jobtest.NewMemory(time.Now)
	a := admin.New(admin.Options{Listen: "127.0.0.1:0", Jobs: jobs, Gate: newGate(t), Metrics: http.NotFoundHandler(), Key: hash})
	server := httptest.NewServer(a)
	defer server.Close()
	in := instance{jobs, server.URL}
	purge := func(args ...string) (int, string) {
		in.add(t, "done", "")
		status, _, stderr := run(t, "", append([]string{"jobs", "purge", "--state", "done", "--yes", "--server", in.url}, args...)...)
		return status, stderr
	}
	if status, stderr := purge(); status != 1 || !strings.Contains(stderr, "--key") {
		t.Errorf("purge without the key = %d %s, want 1 and how to give it", status, stderr)
	}
	if status, stderr := purge("--key", "hg_wrong"); status != 1 || strings.Contains(stderr, "hg_wrong") {
		t.Errorf("purge with a wrong key = %d %s, want 1 and the key not repeated", status, stderr)
	}
	if status, stderr := purge("--key", key); status != 0 {
		t.Errorf("purge with the key = %d %s, want 0", status, stderr)
	}
	t.Setenv("HEADGATE_ADMIN_KEY", key)
	if status, stderr := purge(); status != 0 {
		t.Errorf("purge with the key of the environment = %d %s, want 0", status, stderr)
	}
}
