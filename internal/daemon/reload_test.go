package daemon

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

func TestSignalReloadsTheFile(t *testing.T) {
	first, second := newUpstream(t), newUpstream(t)
	first.name, second.name = "first", "second"
	file := filepath.Join(t.TempDir(), "headgate.yaml")
	write(t, file, fileFor(first.URL, "127.0.0.1:0", "info"))
	r := start(t, Options{Load: load(file), File: file, Grace: deadline})
	if got := r.get(t, Data, "/api/x"); got != "200 first GET /x" {
		t.Errorf("call = %s, want the first upstream", got)
	}

	write(t, file, "upstreams: {api: {url: nowhere, limts: []}}")
	r.signals <- syscall.SIGHUP
	r.log.waitFor(t, `level=ERROR msg="reload refused; the old configuration stays in force"`)
	r.log.waitFor(t, `limts: unknown key; did you mean \"limits\"?`)
	if got := r.get(t, Data, "/api/x"); got != "200 first GET /x" {
		t.Errorf("call after a bad file = %s, want the first upstream", got)
	}

	write(t, file, fileFor(second.URL, "127.0.0.1:1", "info"))
	r.signals <- syscall.SIGHUP
	r.log.waitFor(t, `level=WARN msg="reloaded, but for what needs a restart" file=`+file+` restart=listen`)
	if got := r.get(t, Data, "/api/x"); got != "200 second GET /x" {
		t.Errorf("call after a reload = %s, want the second upstream", got)
	}

	write(t, file, fileFor(first.URL, "127.0.0.1:0", "error"))
	r.signals <- syscall.SIGHUP
	eventually(t, "the first upstream is back", func() bool { return r.get(t, Data, "/api/x") == "200 first GET /x" })
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if text := r.log.String(); strings.Contains(text, "msg=stopping") {
		t.Errorf("log at level error has\n%s", text)
	}
}

func TestChangeOfTheFileReloadsIt(t *testing.T) {
	first, second := newUpstream(t), newUpstream(t)
	first.name, second.name = "first", "second"
	file := filepath.Join(t.TempDir(), "headgate.yaml")
	write(t, file, fileFor(first.URL, "127.0.0.1:0", "info"))
	r := start(t, Options{Load: load(file), File: file, Grace: deadline})
	// Nobody can tell when watching has begun, so the change is repeated.
	eventually(t, "the change is in force", func() bool {
		write(t, file, fileFor(second.URL, "127.0.0.1:0", "info"))
		return r.log.has("msg=reloaded", 300*time.Millisecond)
	})
	if got := r.get(t, Data, "/api/x"); got != "200 second GET /x" {
		t.Errorf("call = %s, want the second upstream", got)
	}
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestReloadWithoutAFileSaysSo(t *testing.T) {
	up := newUpstream(t)
	r := start(t, Options{Load: one(up.URL), Grace: deadline})
	r.signals <- syscall.SIGHUP
	r.log.waitFor(t, `msg="nothing to reload: the configuration is not from a file"`)
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestKeepFixedNamesWhatNeedsARestart(t *testing.T) {
	inForce := config.Config{Listen: "a", Admin: "b", TLS: config.TLS{Cert: "c", Key: "k"}}
	next := config.Config{Listen: "x", Admin: "b", Log: config.Log{Format: "json"}}
	got, fixed := keepFixed(inForce, next)
	if names := strings.Join(fixed, ","); names != "listen,log.format,tls" {
		t.Errorf("needs a restart: %s, want listen,log.format,tls", names)
	}
	if got.Listen != "a" || got.Log.Format != "" || got.TLS != inForce.TLS {
		t.Errorf("in force after a reload: %+v, want listen, log.format and tls as before", got)
	}
	renewed := inForce
	renewed.TLS.Cert = "moved"
	if got, fixed := keepFixed(inForce, renewed); len(fixed) != 0 || got.TLS.Cert != "moved" {
		t.Errorf("a moved certificate: %v and %q, want it taken up", fixed, got.TLS.Cert)
	}
}
