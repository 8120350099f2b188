//go:build unix

package http1

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRoundTrip compares the transports with each other, and with what the
// kernel takes for the same bytes (floor). cpu-ns/op is what a call costs this
// process; the responder is another one, so that it does not count.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{0, 1900} {
		for _, name := range []string{"http1", "net/http", "floor"} {
			b.Run(fmt.Sprintf("%s/body=%d", name, size), func(b *testing.B) {
				addr, body := startResponder(b), bytes.Repeat([]byte("x"), size)
				caller := func() func() error { return bare(b, addr, body) }
				switch name {
				case "http1":
					rt := newTransport(b)
					caller = func() func() error { return through(b, rt, addr, body) }
				case "net/http":
					rt := newPeer(b)
					caller = func() func() error { return through(b, rt, addr, body) }
				}
				b.ReportAllocs()
				b.SetParallelism(8)
				before := processor()
				b.RunParallel(func(pb *testing.PB) {
					for call := caller(); pb.Next(); {
						if err := call(); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(processor()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// through returns a call by way of a transport, under a context of its own.
func through(b *testing.B, rt http.RoundTripper, addr string, body []byte) func() error {
	u := &url.URL{Scheme: "http", Host: addr, Path: "/v1/chat"}
	header := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer x"}}
	return func() error {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		req := (&http.Request{Method: "POST", URL: u, Header: header, ContentLength: int64(len(body))}).WithContext(ctx)
		if len(body) > 0 {
			req.Body = io.NopCloser(bytes.NewReader(body))
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
}

// bare returns a call that is one write and one read.
func bare(b *testing.B, addr string, body []byte) func() error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	head := fmt.Sprintf("POST /v1/chat HTTP/1.1\r\nHost: %s\r\nUser-Agent: Go-http-client/1.1\r\n"+
		"Content-Length: %d\r\nContent-Type: application/json\r\nAuthorization: Bearer x\r\n\r\n", addr, len(body))
	request, answer := append([]byte(head), body...), make([]byte, 4096)
	return func() error {
		if _, err := c.Write(request); err != nil {
			return err
		}
		_, err := io.ReadAtLeast(c, answer, 1024+len(answerHead))
		return err
	}
}

// processor returns the time this process has had of processors.
func processor() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
