package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// outcome is all that two calls left behind.
type outcome struct {
	Received []string // by the server
	Conns    int
	Calls    []heard
}

// heard is what a caller got.
type heard struct {
	Failed, BodyFailed bool
	Status, Proto      string
	Header, Trailer    http.Header
	Length             int64
	Encoding           []string
	Close              bool
	Uncompressed       bool
	Body               string
	BodyClosed         bool // the request's
}

// closing is a request's body that remembers whether it was closed.
type closing struct {
	io.Reader
	closed chan struct{} // of room 2
}

func (c *closing) Close() error { c.closed <- struct{}{}; return nil }

// hear makes a call and returns what came of it.
func hear(t *testing.T, rt http.RoundTripper, req *http.Request) (h heard, err error) {
	var body *closing
	if req.Body != nil && req.Body != http.NoBody {
		body = &closing{req.Body, make(chan struct{}, 2)}
		req.Body = body
	}
	before := fmt.Sprintf("%+v", *req)
	resp, err := rt.RoundTrip(req)
	if after := fmt.Sprintf("%+v", *req); after != before {
		t.Errorf("%T changed the request to %s, was %s", rt, after, before)
	}
	if (resp == nil) == (err == nil) {
		t.Fatalf("%T returned %v and %v, want one of them", rt, resp, err)
	}
	if body != nil {
		<-body.closed // hangs if it is not closed
		h.BodyClosed = true
	}
	if err != nil {
		h.Failed = true
		return h, err
	}
	if resp.Request != req {
		t.Errorf("%T: Response.Request = %p, want %p", rt, resp.Request, req)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return heard{
		BodyFailed: err != nil, Status: resp.Status, Proto: resp.Proto, Header: resp.Header, Trailer: resp.Trailer,
		Length: resp.ContentLength, Encoding: resp.TransferEncoding, Close: resp.Close, Uncompressed: resp.Uncompressed,
		Body: string(b), BodyClosed: h.BodyClosed,
	}, err
}

// compare makes so many calls by both transports, each against a server of its
// own, and fails if their outcomes differ.
func compare(t *testing.T, calls int, ask func(url string) *http.Request, handle func(*server, net.Conn, int)) {
	t.Helper()
	var last error
	run := func(rt idler) (o outcome) {
		defer rt.CloseIdleConnections()
		s := serve(t, handle)
		for i := range calls {
			var h heard
			h, last = hear(t, rt, ask(s.url))
			o.Calls = append(o.Calls, h)
			if errors.Is(last, context.DeadlineExceeded) {
				t.Errorf("%T: call %d hangs", rt, i)
			}
		}
		o.Received, o.Conns = s.requests()
		return o
	}
	want := run(newPeer(t))
	got := run(newTransport(t))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %.3000v, %v\nwant %.3000v", fmt.Sprintf("%+v", got), last, fmt.Sprintf("%+v", want))
	}
}

func TestRequestsAreThoseOfNetHTTP(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"plain":               func(*http.Request) {},
		"no method":           func(r *http.Request) { r.Method = "" },
		"own method":          func(r *http.Request) { r.Method = "PURGE" },
		"query":               func(r *http.Request) { r.URL.RawQuery = "a=b&c=%20d" },
		"bare question mark":  func(r *http.Request) { r.URL.ForceQuery = true },
		"no path":             func(r *http.Request) { r.URL.Path = "" },
		"escaped path":        func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a/b c", "/a%2Fb%20c" },
		"odd path":            func(r *http.Request) { r.URL.Path = "/ä\r\n?x" },
		"opaque":              func(r *http.Request) { r.URL.Opaque = "//" + r.URL.Host + "/%2F/x" },
		"asterisk":            func(r *http.Request) { r.Method, r.URL.Path, r.URL.Opaque = "OPTIONS", "", "*" },
		"user in the URL":     func(r *http.Request) { r.URL.User = url.UserPassword("a", "b") },
		"fragment":            func(r *http.Request) { r.URL.Fragment = "x" },
		"own host":            func(r *http.Request) { r.Host = "Example.com:81" },
		"host of the URL":     func(r *http.Request) { r.Host = "" },
		"own agent":           func(r *http.Request) { r.Header["User-Agent"] = []string{" me \t"} },
		"no agent":            func(r *http.Request) { r.Header["User-Agent"] = []string{""} },
		"agent without value": func(r *http.Request) { r.Header["User-Agent"] = nil },
		"fields": func(r *http.Request) {
			r.Header = http.Header{
				"A": {"1", "2", ""}, "B": {"  trimmed\t "}, "lower-case": {"kept"}, "Empty": {}, "Utf8": {"ä"}, "Te": {"trailers"},
				"Accept-Encoding": {"br"}, "Idempotency-Key": {"x"},
			}
		},
		"fields of the frame": func(r *http.Request) {
			r.Header = http.Header{"Host": {"x"}, "Content-Length": {"77"}, "Transfer-Encoding": {"chunked"}, "Trailer": {"A"}}
		},
		"method with a space":  func(r *http.Request) { r.Method = "GET /" },
		"field name with CR":   func(r *http.Request) { r.Header["A\r\nB"] = []string{"x"} },
		"empty field name":     func(r *http.Request) { r.Header[""] = []string{"x"} },
		"field value with LF":  func(r *http.Request) { r.Header["A"] = []string{"x\nB: y"} },
		"field value with CR":  func(r *http.Request) { r.Header["A"] = []string{"x", "y\rB: z"} },
		"field value with NUL": func(r *http.Request) { r.Header["A"] = []string{"x\x00"} },
		"agent with CRLF":      func(r *http.Request) { r.Header["User-Agent"] = []string{"x\r\nB: y"} },
		"host field with CRLF": func(r *http.Request) { r.Header["Host"] = []string{"x\r\nB: y"} },
		"query with CRLF":      func(r *http.Request) { r.URL.RawQuery = "x HTTP/1.1\r\nB: y" },
		"opaque with CRLF":     func(r *http.Request) { r.URL.Opaque = "/x HTTP/1.1\r\nB: y" },
		"body breaks off":      func(r *http.Request) { r.Body = io.NopCloser(&broken{}) },
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"} {
			for _, size := range []int{0, 1, 5000, maxBody} {
				if size == 0 && strings.HasPrefix(name, "body ") {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", name, method, size), func(t *testing.T) {
					received := make(map[string][]string)
					ask := func(u string) *http.Request {
						req := request(t, method, u+"/a", strings.Repeat("b", size))
						change(req)
						return req
					}
					for _, rt := range []idler{newPeer(t), newTransport(t)} {
						s := serve(t, answering("HTTP/1.1 204 No Content\r\n\r\n"))
						_, err := hear(t, rt, ask(s.url))
						rt.CloseIdleConnections()
						got, conns := s.requests()
						if _, ours := rt.(*Transport); ours && err != nil && conns > 0 {
							t.Errorf("%v, and yet it connected and sent %q", err, got)
						}
						if err != nil {
							got = nil // http.Transport finds out while it sends
						}
						received[fmt.Sprintf("%T", rt)] = append(got, fmt.Sprint(err != nil))
					}
					if got, want := received["*http1.Transport"], received["*http.Transport"]; !reflect.DeepEqual(got, want) {
						t.Errorf("got  %.300q\nwant %.300q", got, want)
					}
				})
			}
		}
	}
}

// broken is a body that breaks off before its first byte.
type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

var answers = map[string]string{
	"length":              okAnswer,
	"empty":               "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"lines end in LF":     "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
	"no reason":           "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
	"odd reason":          "HTTP/1.1 299  Fine\tby me \r\nContent-Length: 2\r\n\r\nok",
	"not found":           "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX: 1\r\nx: 2\r\n\r\nok",
	"chunked":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n",
	"trailers":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A, B\r\n\r\n2\r\nok\r\n0\r\nA: 1\r\nC: 2\r\n\r\n",
	"chunked and length":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"empty chunked":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"same lengths":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
	"close":               "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
	"close, chunked":      "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"1.0":                 "HTTP/1.0 200 OK\r\n\r\nuntil the end",
	"1.0 kept alive":      "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
	"no length":           "HTTP/1.1 200 OK\r\n\r\nuntil the end",
	"204":                 "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
	"304":                 "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nEtag: \"x\"\r\n\r\n",
	"100":                 "HTTP/1.1 100 Continue\r\n\r\n" + okAnswer,
	"five interim":        strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 5) + okAnswer,
	"gzip":                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
	"pragma":              "HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 2\r\n\r\nok",
	"long body":           "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300000),
	"long head":           "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 100000) + "\r\nContent-Length: 2\r\n\r\nok",
	"many fields":         "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: x\r\n", 5000) + "Content-Length: 2\r\n\r\nok",
	"folded field":        "HTTP/1.1 200 OK\r\nA: x\r\n  y\r\nContent-Length: 2\r\n\r\nok",
	"status 99":           "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok",
	"status 999":          "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok",
	"more than it says":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
	"text after 204":      "HTTP/1.1 204 No Content\r\n\r\nmore",
	"less than it says":   "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nok",
	"nothing":             "",
	"line end":            "\r\n\r\n",
	"no protocol":         "hello there\r\n\r\n",
	"other protocol":      "SSH-2.0-OpenSSH_9.2\r\n",
	"TLS":                 "\x15\x03\x01\x00\x02\x02\x16",
	"HTTP/2":              "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	"bad version":         "HTTP/x.y 200 OK\r\n\r\n",
	"bad status":          "HTTP/1.1 20 OK\r\n\r\n",
	"word for status":     "HTTP/1.1 abc OK\r\n\r\n",
	"negative status":     "HTTP/1.1 -20 OK\r\n\r\n",
	"field without colon": "HTTP/1.1 200 OK\r\nA\r\n\r\n",
	"field with a space":  "HTTP/1.1 200 OK\r\nA : x\r\nContent-Length: 2\r\n\r\nok",
	"field starts folded": "HTTP/1.1 200 OK\r\n A: x\r\n\r\n",
	"NUL in a field":      "HTTP/1.1 200 OK\r\nA: \x00\r\nContent-Length: 2\r\n\r\nok",
	"other lengths":       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
	"length of letters":   "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
	"negative length":     "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
	"signed length":       "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
	"huge length":         "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
	"unknown coding":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
	"two codings":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"bad trailer":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
	"long trailer":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + strings.Repeat("x", 5000) + "\r\n\r\n",
	"bad chunk":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n0\r\n\r\n",
	"chunk of wrong size": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n",
}

func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	for name, answer := range answers {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			t.Run(name+"/"+method, func(t *testing.T) {
				ask := func(u string) *http.Request {
					body := ""
					if method == "POST" {
						body = "asked"
					}
					return request(t, method, u, body)
				}
				answer := answer
				if head, _, ok := strings.Cut(answer, "\r\n\r\n"); ok && method == "HEAD" && strings.HasSuffix(answer, "ok") && !strings.Contains(answer, "HTTP/1.1 10") {
					answer = head + "\r\n\r\n"
				}
				compare(t, 1, ask, once(answer))
				// A body that nobody waits for is seen before the next request is sent, or after: that is chance.
				stray := method == "HEAD" && (strings.HasSuffix(answer, "ok") || strings.HasSuffix(answer, "\r\n0\r\n\r\n"))
				if !stray && (strings.HasSuffix(answer, "ok") && strings.Contains(answer, "Length: 2\r\n") || strings.HasSuffix(answer, "0\r\n\r\n")) {
					compare(t, 2, ask, answering(answer))
				}
			})
		}
	}
}

func TestBrokenAnswersAreThoseOfNetHTTP(t *testing.T) {
	for _, name := range []string{"length", "trailers", "chunked", "1.0", "100", "other lengths"} {
		for cut := range len(answers[name]) {
			compare(t, 1, func(u string) *http.Request { return request(t, "GET", u, "") }, once(answers[name][:cut]))
			if t.Failed() {
				t.Fatalf("after %q", answers[name][:cut])
			}
		}
	}
}

func TestMalformedAnswerNamesTheHost(t *testing.T) {
	s := serve(t, once("SSH-2.0-OpenSSH_9.2\r\n"))
	_, err := call(newTransport(t), request(t, "GET", s.url, ""))
	if err == nil || !strings.Contains(err.Error(), s.addr) || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("got error %v, want one that says malformed and names %s", err, s.addr)
	}
}

func TestEarlyAnswerIsRead(t *testing.T) {
	for name, answer := range map[string]string{
		"kept":   "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
		"closed": "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
	} {
		t.Run(name, func(t *testing.T) {
			compare(t, 2, func(u string) *http.Request { return request(t, "POST", u, strings.Repeat("x", 60000)) },
				func(s *server, c net.Conn, _ int) {
					for r := bufio.NewReader(c); ; {
						_, n, ok := readHead(r)
						if !ok {
							return
						}
						io.WriteString(c, answer)
						r.Discard(n)
						if name == "closed" {
							return
						}
					}
				})
		})
	}
}

// failingWriter is a connection whose peer takes part of what is written and
// closes.
type failingWriter struct{ net.Conn }

func (f failingWriter) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p[:len(p)/2])
	return n, errors.Join(err, errors.New("broken pipe"))
}

func TestAnswerIsReadAfterAWriteThatFailed(t *testing.T) {
	s := serve(t, func(_ *server, c net.Conn, _ int) {
		bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		io.Copy(io.Discard, c)
	})
	tr := newTransport(t)
	tr.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return failingWriter{c}, err
	}
	got, err := hear(t, tr, request(t, "POST", s.url, strings.Repeat("x", 1000)))
	if err != nil || got.Status != "413 Too Large" || got.Body != "no" {
		t.Errorf("got %+v, %v; want the answer", got, err)
	}
	if c := tr.pool.take(s.addr); c != nil {
		t.Error("the connection was kept")
	}
}

func TestHeadIsBounded(t *testing.T) {
	for name, endless := range map[string]string{
		"line":    "HTTP/1.1 200 OK\r\nA: ",
		"fields":  "HTTP/1.1 200 OK\r\n",
		"interim": "HTTP/1.1 103 Early Hints\r\nA: ",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(s *server, c net.Conn, _ int) {
				s.read(bufio.NewReader(c))
				io.WriteString(c, endless)
				more := strings.Repeat("x", 1<<15)
				if name == "fields" {
					more = strings.Repeat("A: "+more[:1<<12]+"\r\n", 8)
				}
				for {
					if _, err := io.WriteString(c, more); err != nil {
						return
					}
				}
			})
			_, err := call(newTransport(t), request(t, "GET", s.url, ""))
			if err == nil || !strings.Contains(err.Error(), "head exceeds") {
				t.Errorf("got %v, want that the head exceeds its bound", err)
			}
		})
	}
}

func TestInterimAnswersAreBounded(t *testing.T) {
	s := serve(t, once(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", max1xx+1)+okAnswer))
	if got, err := call(newTransport(t), request(t, "GET", s.url, "")); err == nil {
		t.Errorf("%d interim answers: got %q, want an error", max1xx+1, got)
	}
	s = serve(t, once("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
	if got, err := call(newTransport(t), request(t, "GET", s.url, "")); err == nil {
		t.Errorf("101: got %q, want an error", got)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, answer := range answers {
		if len(answer) < 1000 {
			f.Add(answer)
		}
	}
	f.Add(strings.Repeat("HTTP/1.1 103 \r\n\r\n", 7))
	f.Add("HTTP/1.1 101 \r\n\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		for _, method := range []string{"GET", "HEAD"} {
			s := serve(t, once(answer))
			got, err := hear(t, newTransport(t), request(t, method, s.url, ""))
			if errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%s answered by %q hangs", method, answer)
			}
			if err != nil && (strings.Contains(err.Error(), "interim answers") || strings.Contains(err.Error(), "unasked")) {
				continue // stricter than net/http
			}
			want, theirs := hear(t, newPeer(t), request(t, method, s.url, ""))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s answered by %q:\ngot  %+v, %v\nwant %+v, %v", method, answer, got, err, want, theirs)
			}
		}
	})
}
