package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestMalformedRequestsAreRefused sends what no client of good will sends. The
// upstream must see nothing of it.
func TestMalformedRequestsAreRefused(t *testing.T) {
	sent := make(chan string, 16)
	door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the gateway broke off
		}
		sent <- fmt.Sprintf("%s %s %d %v %q", r.Method, r.URL.Path, r.ContentLength, r.TransferEncoding, body)
	}, false)
	_, base := start(t, door, file(), Options{})
	own := base[len("http://"):]
	const smuggled = "GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct {
		name, text string
		status     int
		sent       string // by the gateway, if status is 200
	}{
		{"CL and TE", "POST /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, ""},
		{"TE and CL", "POST /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\nab\r\n0\r\n\r\n", 400, ""},
		{"folded field", "GET /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n", 400, ""},
		{"bare LF", "GET /api/ HTTP/1.1\nHost: x\nConnection: close\n\n", 400, ""},
		{"TE twice", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400, ""},
		{"TE unknown", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"TE with a control character", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"two CLs", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400, ""},
		{"CL list", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nabcd", 400, ""},
		{"CL signed", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd", 400, ""},
		{"CL negative", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\nabcd", 400, ""},
		{"CL empty", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400, ""},
		{"CL huge", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, ""},
		{"space before colon", "GET /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n", 400, ""},
		{"space in front", "GET /api/ HTTP/1.1\r\n X-A: 1\r\nHost: x\r\n\r\n", 400, ""},
		{"no colon", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n", 400, ""},
		{"NUL in a value", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", 400, ""},
		{"CR in a value", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n", 400, ""},
		{"no Host", "GET /api/ HTTP/1.1\r\n\r\n", 400, ""},
		{"two Hosts", "GET /api/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, ""},
		{"bad method", "G@T /api/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"bad version", "GET /api/ HTTP/9.9\r\nHost: x\r\n\r\n", 505, ""},
		{"bad escape", "GET /api/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"no slash", "GET api HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"long path", "GET /api/" + strings.Repeat("a", 200_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, ""},
		{"long field", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 200_000) + "\r\n\r\n", 431, ""},
		{"many fields", "GET /api/ HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: 1\r\n", 20_000) + "\r\n", 431, ""},
		{"CONNECT", "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n", 405, ""},
		{"CONNECT a path", "CONNECT /api/ HTTP/1.1\r\nHost: x\r\n\r\n", 405, ""},
		{"TRACE", "TRACE /api/ HTTP/1.1\r\nHost: x\r\n\r\n", 405, ""},
		{"absolute form", "GET http://other/api/ HTTP/1.1\r\nHost: " + own + "\r\n\r\n", 400, ""},
		{"absolute form of ours", "GET http://" + own + "/api/a HTTP/1.1\r\nHost: " + own + "\r\nConnection: close\r\n\r\n", 200, `GET /a 0 [] ""`},
		{"absolute form with a user", "GET http://a:b@" + own + "/api/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"scheme alone", "GET http:/api/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"asterisk", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"asterisk of OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 204, ""},
		{"unknown expectation", "POST /api/ HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\na", 417, ""},
		{"bad chunk size", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, ""},
		{"chunk too long", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcdef\r\n0\r\n\r\n", 400, ""},
		{"bare LF in a chunk", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\nab\r\n0\r\n\r\n", 400, ""},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""},
	} {
		status, body := raw(t, base, c.text)
		if status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, status, body, c.status)
		}
		if c.status == 200 {
			select {
			case got := <-sent:
				if got != c.sent {
					t.Errorf("%s: the upstream got %s, want %s", c.name, got, c.sent)
				}
			default:
				t.Errorf("%s: the upstream got nothing", c.name)
			}
		}
		if res, _ := do(t, newClient(t, false), "GET", base+"/api/next", ""); res.StatusCode != 200 {
			t.Errorf("%s: the next request = %d, want 200", c.name, res.StatusCode)
		}
		for len(sent) > 0 {
			if got := <-sent; !strings.HasPrefix(got, "GET /next ") {
				t.Errorf("%s: the upstream got %s", c.name, got)
			}
		}
	}
}

func TestBodyShorterThanAnnouncedIsNotSent(t *testing.T) {
	var calls atomic.Int32
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		calls.Add(1)
		return answer(200, ""), nil
	})
	_, base := start(t, door, file(), Options{})
	conn := dialRaw(t, base, "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	conn.CloseWrite()
	io.ReadAll(conn) // an answer, or the end
	if n := calls.Load(); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// TestAmbiguousRequestsLeaveTLSFramedAnew sends what net/http takes where
// nothing stands in front of it: the upstream must get the one request that
// net/http saw, without what made it ambiguous.
func TestAmbiguousRequestsLeaveTLSFramedAnew(t *testing.T) {
	sent := make(chan string, 16)
	door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- fmt.Sprintf("%s %s %d %v %q %q", r.Method, r.URL.Path, r.ContentLength, r.TransferEncoding, body, r.Header["X-A"])
	}, false)
	cfg := file()
	cfg.TLS = writeCert(t, t.TempDir(), 1)
	_, base := start(t, door, cfg, Options{})
	for _, c := range []struct{ name, text, sent string }{
		{"CL and TE", "POST /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", `POST / -1 [chunked] "" []`},
		{"TE and CL", "POST /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\nab\r\n0\r\n\r\n", `POST / -1 [chunked] "ab" []`},
		{"folded field", "GET /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n", `GET / 0 [] "" ["1 Transfer-Encoding: chunked"]`},
		{"bare LF", "GET /api/ HTTP/1.1\nHost: x\nConnection: close\n\n", `GET / 0 [] "" []`},
	} {
		conn, err := tls.Dial("tcp", base[len("http://"):], &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		statuses, _, _ := answers(t, exchange(conn, c.text, pieces(1<<20)))
		if len(statuses) != 1 || statuses[0] != 200 || len(sent) != 1 {
			t.Fatalf("%s: answers %v, the upstream got %d requests, want one of each", c.name, statuses, len(sent))
		}
		if got := <-sent; got != c.sent {
			t.Errorf("%s: the upstream got %s, want %s", c.name, got, c.sent)
		}
	}
}
