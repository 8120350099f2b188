package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

func TestRunServesUntilASignal(t *testing.T) {
	up := newUpstream(t)
	r := start(t, Options{Load: one(up.URL), RootMount: true, Grace: deadline})
	if got := r.get(t, Data, "/v1/items?a=1"); got != "200 GET /v1/items?a=1" {
		t.Errorf("call = %s, want 200 and the path as it was", got)
	}
	if got := r.get(t, Admin, "/readyz"); got != "200 ready\n" {
		t.Errorf("readyz = %s, want 200 ready", got)
	}
	if got := r.get(t, Admin, "/api/v1/status"); !strings.Contains(got, `"name": "default"`) {
		t.Errorf("status = %s, want the upstream default", got)
	}
	if got := r.get(t, Admin, "/metrics"); !strings.Contains(got, `headgate_calls_total{client="",outcome="ok",upstream="default"} 1`) {
		t.Errorf("metrics = %s, want one call", got)
	}
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	for plane, addr := range r.addrs {
		r.log.waitFor(t, fmt.Sprintf("msg=listening plane=%s addr=%s tls=false", plane, addr))
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("the %s plane still listens on %s", plane, addr)
		}
	}
}

func TestContextStopsRun(t *testing.T) {
	up := newUpstream(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := startWith(t, ctx, Options{Load: one(up.URL), Grace: deadline})
	cancel()
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestStopLetsCallsInFlightEnd(t *testing.T) {
	up := newUpstream(t)
	r := start(t, Options{Load: one(up.URL), RootMount: true, Grace: deadline})
	answer := r.hold(t, up)
	r.signals <- syscall.SIGTERM
	r.log.waitFor(t, "msg=stopping grace=20s")
	if got := r.get(t, Admin, "/readyz"); got != "503 stopping\n" {
		t.Errorf("readyz while stopping = %s, want 503 stopping", got)
	}
	eventually(t, "the data plane stops listening", func() bool {
		conn, err := net.Dial("tcp", r.addrs[Data])
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(up.release)
	if got := <-answer; got != "200 GET /hold" {
		t.Errorf("the call in flight = %s, want its answer", got)
	}
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	up := newUpstream(t)
	r := start(t, Options{Load: one(up.URL), RootMount: true, Grace: time.Hour})
	answer := r.hold(t, up)
	r.signals <- os.Interrupt
	r.log.waitFor(t, "msg=stopping")
	r.signals <- syscall.SIGHUP // about the file: not a second one
	r.signals <- os.Interrupt
	if err := r.wait(t); !errors.Is(err, ErrCutOff) || !strings.Contains(err.Error(), "second signal") {
		t.Errorf("Run = %v, want ErrCutOff for a second signal", err)
	}
	if got := <-answer; strings.HasPrefix(got, "200") {
		t.Errorf("the call in flight = %s, want it cut off", got)
	}
}

func TestGracePeriodEnds(t *testing.T) {
	up := newUpstream(t)
	r := start(t, Options{Load: one(up.URL), RootMount: true, Grace: time.Millisecond})
	answer := r.hold(t, up)
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); !errors.Is(err, ErrCutOff) || !strings.Contains(err.Error(), "grace period") {
		t.Errorf("Run = %v, want ErrCutOff for the grace period", err)
	}
	<-answer
}

func TestAdminCanBeOff(t *testing.T) {
	up := newUpstream(t)
	r := start(t, Options{Load: func() (config.Config, error) {
		c, err := one(up.URL)()
		c.Admin = "off"
		return c, err
	}, RootMount: true, Grace: deadline})
	if r.addrs[Admin] != "" {
		t.Errorf("admin listens on %s, want it off", r.addrs[Admin])
	}
	if got := r.get(t, Data, "/"); got != "200 GET /" {
		t.Errorf("call = %s, want 200", got)
	}
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestRunSaysWhyItCannotListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for plane, want := range map[string]string{
		Data:  "listen on " + addr + " for the data plane: address already in use; stop what listens there, or choose another address with --listen, or listen in the file",
		Admin: "listen on " + addr + " for the admin plane: address already in use; stop what listens there, or choose another address with --admin, or admin in the file",
	} {
		err := Run(t.Context(), Options{Load: func() (config.Config, error) {
			c, err := one("http://127.0.0.1:1")()
			if plane == Data {
				c.Listen = addr
			} else {
				c.Admin = addr
			}
			return c, err
		}})
		if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("Run = %v\nwant %s", err, want)
		}
	}
}

func TestRunReturnsTheErrorOfLoad(t *testing.T) {
	want := errors.New("no")
	if err := Run(t.Context(), Options{Load: func() (config.Config, error) { return config.Config{}, want }}); err != want {
		t.Errorf("Run = %v, want %v as it is", err, want)
	}
}
