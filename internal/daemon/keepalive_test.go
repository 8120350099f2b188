package daemon

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"syscall"
	"testing"
)

func TestBothPlanesKeepConnections(t *testing.T) {
	up := newUpstream(t)
	r := start(t, Options{Load: one(up.URL), RootMount: true, Grace: deadline})
	client := &http.Client{Transport: &http.Transport{}}
	for plane, path := range map[string]string{Data: "/x", Admin: "/healthz"} {
		for i := range 3 {
			reused := false
			req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused },
			}), "GET", "http://"+r.addrs[plane]+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if reused != (i > 0) {
				t.Errorf("request %d to the %s plane: connection reused = %v, want %v", i, plane, reused, i > 0)
			}
		}
	}
	client.CloseIdleConnections()
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}
