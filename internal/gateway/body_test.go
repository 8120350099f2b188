package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

func TestBodyReachesEachAttempt(t *testing.T) {
	cfg := file()
	api := cfg.Upstreams["api"]
	api.Retry = config.Retry{Body: 1000, BodyFile: 100000}
	cfg.Upstreams["api"] = api
	bothProtocols(t, func(t *testing.T, h2 bool) {
		for _, size := range []int{1, 1000, 1001, 99999} {
			for _, known := range []bool{true, false} {
				want := pattern(size)
				var attempts int
				door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
					got, err := io.ReadAll(r.Body)
					if err != nil || !bytes.Equal(got, want) || known != (r.ContentLength == int64(size)) {
						t.Errorf("%d bytes, known %v: attempt got %d, ContentLength %d, %v", size, known, len(got), r.ContentLength, err)
					}
					if attempts++; attempts < 3 {
						w.WriteHeader(503)
					}
				}, h2)
				door.again = func(attempt int, res *http.Response, err error) bool { return err == nil && res.StatusCode == 503 }
				_, base := start(t, door, cfg, Options{})
				var body io.Reader = bytes.NewReader(want)
				if !known {
					body = struct{ io.Reader }{body}
				}
				res, err := newClient(t, h2).Post(base+"/api/", "", body)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != 200 || attempts != 3 {
					t.Errorf("%d bytes, known %v: %d after %d attempts, want 200 after 3", size, known, res.StatusCode, attempts)
				}
			}
		}
	})
}

func TestBodyBeyondWhatIsKeptIsOneAttempt(t *testing.T) {
	cfg := file()
	api := cfg.Upstreams["api"]
	api.Retry = config.Retry{Body: 1000, BodyFile: 100000}
	cfg.Upstreams["api"] = api
	for _, known := range []bool{true, false} {
		door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		}, false)
		var again error
		check := doorFunc(func(req *http.Request) (*http.Response, error) {
			res, err := door.RoundTrip(req)
			if req.GetBody == nil {
				again = errNotKept
			} else {
				_, again = req.GetBody()
			}
			return res, err
		})
		_, base := start(t, check, cfg, Options{})
		var body io.Reader = bytes.NewReader(pattern(300000))
		if !known {
			body = struct{ io.Reader }{body}
		}
		res, err := newClient(t, false).Post(base+"/api/", "", body)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(text) != "300000" || !errors.Is(again, errNotKept) {
			t.Errorf("known %v: upstream got %s bytes, another attempt = %v, want 300000 and errNotKept", known, text, again)
		}
	}
}

func TestBodyTooLargeIsRefused(t *testing.T) {
	cfg := file()
	api := cfg.Upstreams["api"]
	api.MaxBody = 5000
	cfg.Upstreams["api"] = api
	bothProtocols(t, func(t *testing.T, h2 bool) {
		door := newThrough(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }, h2)
		_, base := start(t, door, cfg, Options{})
		for _, c := range []struct {
			body   io.Reader
			status int
		}{
			{bytes.NewReader(pattern(5000)), 200},
			{bytes.NewReader(pattern(5001)), 413},
			{struct{ io.Reader }{bytes.NewReader(pattern(5000))}, 200},
			{struct{ io.Reader }{bytes.NewReader(pattern(5001))}, 413},
			{struct{ io.Reader }{bytes.NewReader(pattern(200000))}, 413},
		} {
			res, err := newClient(t, h2).Post(base+"/api/", "", c.body)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != c.status || c.status == 413 && !strings.Contains(string(text), "/body-too-large") {
				t.Errorf("%T = %d %s, want %d", c.body, res.StatusCode, text, c.status)
			}
		}
	})
}

func TestCallerWhoStillSendsGetsItsAnswer(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		door := doorFunc(func(req *http.Request) (*http.Response, error) {
			io.ReadFull(req.Body, make([]byte, 3))
			req.Body.Close()
			return answer(403, "enough"), nil
		})
		_, base := start(t, door, file(), Options{})
		pr, pw := io.Pipe()
		defer pw.Close()
		go io.WriteString(pw, "abcdef")
		client := newClient(t, h2)
		res, err := client.Post(base+"/api/", "", pr)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 403 || string(text) != "enough" || err != nil {
			t.Errorf("answer = %d %q, %v, want 403 enough", res.StatusCode, text, err)
		}
		if !h2 && !res.Close {
			t.Errorf("the connection stays open, although there is no telling where the next request begins")
		}
		pw.Close()
		if res, _ := do(t, client, "GET", base+"/api/nobody", ""); res.StatusCode != 403 {
			t.Errorf("next call = %d", res.StatusCode)
		}
	})
}

// TestUnreadBodyIsNotTakenForARequest sends a request in the body of another
// whose upstream answers early, after the header of the answer has gone out.
func TestUnreadBodyIsNotTakenForARequest(t *testing.T) {
	var calls int
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		calls++
		io.ReadFull(req.Body, make([]byte, 1))
		return answer(200, "ok"), nil
	})
	_, base := start(t, door, file(), Options{})
	conn, err := net.Dial("tcp", base[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	io.WriteString(conn, "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if rest, _ := io.ReadAll(r); len(rest) != 0 || calls != 1 {
		t.Errorf("%d calls, and after the answer came %q", calls, rest)
	}
}

func TestExpectContinueIsAnsweredOnceBodyIsWanted(t *testing.T) {
	key, hash := NewKey()
	_, base := start(t, echoDoor(nil), file(config.Client{Name: "web", Key: hash}), Options{})
	for _, c := range []struct{ key, framing, body, want string }{
		{"none", "Content-Length: 4", "", "HTTP/1.1 401"},
		{key, "Content-Length: 4", "body", "HTTP/1.1 100"},
		{key, "Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n", "HTTP/1.1 100"},
	} {
		conn, err := net.Dial("tcp", base[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(conn, "POST /api/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nHeadgate-Key: %s\r\n%s\r\n\r\n", c.key, c.framing)
		r := bufio.NewReader(conn)
		line, err := r.ReadString('\n')
		if !strings.HasPrefix(line, c.want) {
			t.Errorf("%s with key %s: %q, %v, want %s", c.framing, c.key, line, err, c.want)
		}
		if c.body != "" {
			r.ReadString('\n')
			io.WriteString(conn, c.body)
			if line, err := r.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 200") {
				t.Errorf("%s: after the body: %q, %v, want 200", c.framing, line, err)
			}
		}
		conn.Close()
	}
}

func TestShortBodyTakesMemoryAsItComes(t *testing.T) {
	want := pattern(300 << 10)
	got, err := readShort(bytes.NewReader(want), int64(len(want)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("readShort = %d bytes, %v, want %d", len(got), err, len(want))
	}
	if _, err := readShort(strings.NewReader("abc"), 4); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("readShort of 3 bytes for 4 = %v, want io.ErrUnexpectedEOF", err)
	}
	allocated := testing.AllocsPerRun(1, func() { readShort(strings.NewReader("abc"), 1<<40) })
	if allocated > 2 {
		t.Errorf("%v allocations for a promise of 1 TiB", allocated)
	}
}

// TestUnannouncedTrailersDoNotDisturbTheCall is for the race detector: net/http
// reads the body's end while the call is on its way.
func TestUnannouncedTrailersDoNotDisturbTheCall(t *testing.T) {
	seen := make(chan *http.Request, 1)
	_, base := start(t, echoDoor(seen), file(), Options{})
	for range 100 {
		status, _ := raw(t, base, "POST /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
		if req := <-seen; status != 200 || len(req.Trailer) != 0 {
			t.Fatalf("got %d with trailer %v at the door, want 200 with none", status, req.Trailer)
		}
	}
}

// TestShortBodyIsAsNewRequestMakesIt: what sends knows by the types that head
// and body can go out in one piece.
func TestShortBodyIsAsNewRequestMakesIt(t *testing.T) {
	seen := make(chan *http.Request, 1)
	_, base := start(t, echoDoor(seen), file(), Options{})
	do(t, newClient(t, false), "POST", base+"/api/", "text")
	req := <-seen
	want, err := http.NewRequest("POST", "/", bytes.NewReader([]byte("text")))
	if err != nil {
		t.Fatal(err)
	}
	again, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	if req.ContentLength != 4 || reflect.TypeOf(req.Body) != reflect.TypeOf(want.Body) || reflect.TypeOf(again) != reflect.TypeOf(want.Body) {
		t.Errorf("body is %T of %d bytes, and %T again, want %T of 4", req.Body, req.ContentLength, again, want.Body)
	}
	if text, err := io.ReadAll(again); string(text) != "text" || err != nil {
		t.Errorf("read %q and %v again, want text", text, err)
	}
}
