package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestWebSocketPassesBothWays(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Key") == "" {
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw) // until the caller leaves
	})
	g := serve(t, "--upstream", up.URL, "--limit", "concurrent:1")
	conn := dial(t, g.addr)
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake = %s with %v, want 101 and the upstream's fields", resp.Status, resp.Header)
	}
	frame := []byte{0x81, 0x85, 1, 2, 3, 4, 'h' ^ 1, 'e' ^ 2, 'l' ^ 3, 'l' ^ 4, 'o' ^ 1}
	for range 3 {
		if _, err := conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("frame came back as %x, %v, want %x", got, err, frame)
		}
	}
	c := newClient(t)
	wantProblem(t, get(t, c, g.url+"/", "Headgate-Max-Wait", "1ms"), 504, "deadline") // it holds its permit
	conn.Close()
	if a := get(t, c, g.url+"/"); a.status != http.StatusUpgradeRequired {
		t.Errorf("call after the socket was closed = %v, want the upstream's 426", a)
	}
}

// newH2C starts an upstream that speaks HTTP/2 in plain text and nothing else,
// and returns its URL, and a client that does so too.
func newH2C(t *testing.T, h http.HandlerFunc) (url string, c *http.Client) {
	t.Helper()
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = only
	s.Start()
	t.Cleanup(s.Close)
	tr := &http.Transport{Protocols: only, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return "h2c://" + strings.TrimPrefix(s.URL, "http://"), &http.Client{Transport: tr, Timeout: deadline}
}

func TestHTTP2OnBothSidesWithTrailers(t *testing.T) {
	t.Parallel()
	url, c := newH2C(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "%s %s %s", r.Proto, body, r.Trailer.Get("X-Asked"))
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	})
	g := serve(t, "--upstream", url)
	req := newRequest(t, "POST", g.url+"/", "")
	req.Body = io.NopCloser(strings.NewReader("body"))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Asked": {"asked"}}
	a := do(t, c, req)
	if a.status != 200 || a.proto != "HTTP/2.0" || a.body != "HTTP/2.0 body asked" {
		t.Errorf("answer = %s %v, want 200 over HTTP/2 to a request with HTTP/2, body and trailer", a.proto, a)
	}
	if a.trailer.Get("X-Sum") != "42" || a.trailer.Get("X-Late") != "unannounced" {
		t.Errorf("trailer = %v, want the upstream's two fields", a.trailer)
	}
}

func TestTrailersPassBetweenVersions(t *testing.T) {
	t.Parallel()
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "short") // HTTP/2 has a length and trailers; HTTP/1.1 has one of them
		w.Header().Set("X-Sum", "42")
	}
	h2c, c2 := newH2C(t, answer)
	for _, s := range []struct {
		name, upstream string
		caller         *http.Client
	}{
		{"1.1 to 1.1", newUpstream(t, answer).URL, newClient(t)},
		{"1.1 to 2", h2c, newClient(t)},
		{"2 to 1.1", newUpstream(t, answer).URL, c2},
		{"2 to 2", h2c, c2},
	} {
		g := serve(t, "--upstream", s.upstream)
		if a := get(t, s.caller, g.url+"/"); a.body != "short" || a.trailer.Get("X-Sum") != "42" {
			t.Errorf("HTTP/%s: answer = %v with trailer %v, want the upstream's", s.name, a, a.trailer)
		}
	}
}

func TestEarlyHintsPassOnHTTP2(t *testing.T) {
	t.Parallel()
	url, c := newH2C(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "answer")
	})
	g := serve(t, "--upstream", url)
	var hints []string
	req := newRequest(t, "GET", g.url+"/", "")
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		},
	}))
	a := do(t, c, req)
	if got := strings.Join(hints, ", "); got != "103 </style.css>; rel=preload" {
		t.Errorf("interim answers: %s, want 103 with the Link", got)
	}
	if a.body != "answer" || a.header.Get("Link") != "" {
		t.Errorf("answer = %v with %v, want the upstream's, without the hint's Link", a, a.header)
	}
}

func TestExpectContinueIsAnswered(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skipf("needs curl: %v", err)
	}
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v %q", n, err, r.Header.Get("Expect"))
	})
	_, hash := newKey(t)
	open := serve(t, "--upstream", up.URL)
	closed, _ := serveFile(t, fmt.Sprintf("upstreams: {api: {url: %q}}\nclients: [{name: a, key: %q}]\n", up.URL, hash))
	for _, size := range []int{1000, 3 << 20} { // kept in memory; and beyond it
		file := filepath.Join(t.TempDir(), "body")
		if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		send := func(url string) result {
			return run(t, exec.Command(curl, "-sv", "-m", "15", "-H", "Expect: 100-continue", "--expect100-timeout", "10", "--data-binary", "@"+file, url))
		}
		r := send(open.url + "/upload")
		if want := fmt.Sprintf(`%d <nil> ""`, size); r.stdout != want || !strings.Contains(r.stderr, "< HTTP/1.1 100 Continue") {
			t.Errorf("upload of %d bytes = %q, want %q after 100 Continue:\n%s", size, r.stdout, want, r.stderr)
		}
		r = send(closed.url + "/api/upload")
		if !strings.Contains(r.stderr, "< HTTP/1.1 401") || strings.Contains(r.stderr, "100 Continue\r") {
			t.Errorf("upload without a key: want 401 and no 100 Continue:\n%s", r.stderr)
		}
	}
}
