package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is an upstream that keeps what it was asked for.
type recorder struct {
	url string
	mu  sync.Mutex
	got []string // method, path and body of each request
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	rec := &recorder{}
	rec.url = newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // broke off: no request
		}
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.got = append(rec.got, fmt.Sprintf("%s %s %q", r.Method, r.URL.Path, body))
		fmt.Fprint(w, "ok")
	}).URL
	return rec
}

// take returns what came since it was last asked.
func (rec *recorder) take() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	defer func() { rec.got = nil }()
	return rec.got
}

// smuggled is a request that nobody made if the bytes around it are one.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

// hostile is what no client of good will sends.
var hostile = []struct{ name, sent string }{
	{"TE.TE", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + smuggled},
	{"TE in disguise", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\nab" + smuggled},
	{"chunked not last", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + smuggled},
	{"two lengths", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 37\r\n\r\nab" + smuggled},
	{"list of lengths", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 37\r\n\r\nab" + smuggled},
	{"signed length", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nab" + smuggled},
	{"space before colon", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\nab" + smuggled},
	{"folded field", "GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n"},
	{"folded first field", "GET /a HTTP/1.1\r\n Host: x\r\n\r\n"},
	{"bare LF", "GET /a HTTP/1.1\nHost: x\n\n"},
	{"bare LF in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\nGET /smuggled HTTP/1.1\r\n\r\n"},
	{"bare CR in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\rGET /smuggled HTTP/1.1\r\n\r\n"},
	{"NUL in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX-A: \x00\r\n\r\n"},
	{"line break in a chunk extension", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\nab\r\n0\r\n\r\n" + smuggled},
	{"bare LF after a chunk size", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n" + smuggled},
	{"endless chunk extension", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("a", 100_000) + "\r\nab\r\n0\r\n\r\n"},
	{"more extension than body", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("a", 3000)+"\r\nx\r\n", 100) + "0\r\n\r\n"},
	{"chunk longer than said", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcdef\r\n0\r\n\r\n" + smuggled},
	{"negative chunk size", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n"},
	{"huge chunk size", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nab\r\n0\r\n\r\n"},
	{"no Host", "GET /a HTTP/1.1\r\n\r\n"},
	{"two Hosts", "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"},
	{"absolute form of another host", "GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n"},
	{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"},
	{"TRACE", "TRACE /a HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"path of 200 kB", "GET /" + strings.Repeat("a", 200_000) + " HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"field of 200 kB", "GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 200_000) + "\r\n\r\n"},
	{"100,000 fields", "GET /a HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: 1\r\n", 100_000) + "\r\n"},
	{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"},
	{"HTTP/0.9", "GET /a\r\n\r\n"},
	{"CL.TE", fmt.Sprintf("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", 5+len(smuggled), smuggled)},
	{"TE.CL", fmt.Sprintf("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n%s\r\n0\r\n\r\n%[2]s", len(smuggled), smuggled)},
}

func TestHostileRequestsReachNobody(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	g := serve(t, "--upstream", rec.url)
	c := newClient(t)
	for _, s := range hostile {
		statuses := exchange(t, g.addr, s.sent)
		got := rec.take()
		refused := len(statuses) == 1 && statuses[0] >= 400 && statuses[0] < 500
		if !refused || len(got) > 0 {
			t.Errorf("%s: the caller got %v, the upstream %q, want one 4xx and nothing", s.name, statuses, got)
		}
		if a := get(t, c, g.url+"/next"); a.status != 200 {
			t.Errorf("%s: the next call = %v, want 200", s.name, a)
		}
		rec.take()
	}
}

func TestBodyThatBreaksOffIsNoCall(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	g := serve(t, "--upstream", rec.url)
	c := newClient(t)
	for _, head := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
		conn := dial(t, g.addr)
		fmt.Fprintf(conn, "POST /a HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n5\r\nab", head)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(conn) // an answer, or the end
		if a := get(t, c, g.url+"/next"); a.status != 200 {
			t.Errorf("%s: the next call = %v, want 200", head, a)
		}
		if got := rec.take(); !slices.Equal(got, []string{`GET /next ""`}) {
			t.Errorf("%s: the upstream got %q, want the next call alone", head, got)
		}
	}
}

func TestSlowHeadsDoNotKeepOthersWaiting(t *testing.T) {
	t.Parallel()
	rec := newRecorder(t)
	g := serve(t, "--upstream", rec.url, "--limit", "concurrent:1")
	for range 200 {
		conn := dial(t, g.addr)
		if _, err := io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: x\r\nX-A: "); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t)
	began := time.Now()
	for range 10 {
		if a := get(t, c, g.url+"/quick"); a.status != 200 {
			t.Errorf("call beside slow heads = %v, want 200", a)
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("ten calls beside slow heads took %v", took)
	}
}

// exchange sends bytes and returns the statuses of all answers, until the gate
// closes the connection or has nothing more to say.
func exchange(t *testing.T, addr, sent string) []int {
	t.Helper()
	conn := dial(t, addr)
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, sent) }() // the gate may close before all was sent
	r := bufio.NewReader(conn)
	var statuses []int
	for {
		// The first answer may take its time; another one would follow at once.
		if len(statuses) > 0 {
			if err := conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			if len(statuses) == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("no answer to %.200q, and the connection is open", sent)
			}
			return statuses
		}
		statuses = append(statuses, resp.StatusCode)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return statuses
		}
	}
}
