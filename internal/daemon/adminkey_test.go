package daemon

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAdminKeyFollowsTheFileAndChangesAreLogged(t *testing.T) {
	up := newUpstream(t)
	file := filepath.Join(t.TempDir(), "headgate.yaml")
	content := fileFor(up.URL, "127.0.0.1:0", "info")
	write(t, file, content)
	r := start(t, Options{Load: load(file), File: file, Grace: deadline})
	resume := func() int {
		resp, err := http.Post("http://"+r.addrs[Admin]+"/api/v1/upstreams/api/resume", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := resume(); got != http.StatusNoContent {
		t.Errorf("resume without a key = %d, want 204: the listener is on loopback", got)
	}
	r.log.waitFor(t, `msg="change by the admin plane" request="POST /api/v1/upstreams/api/resume" from=127.0.0.1:`)
	write(t, file, content+"\nadmin_key: \"sha256:"+strings.Repeat("0", 64)+"\"\n")
	r.signals <- syscall.SIGHUP
	eventually(t, "the key is asked for", func() bool { return resume() == http.StatusForbidden })
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}
