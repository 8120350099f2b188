package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/job/jobtest"
)

// BenchmarkProxy is what the gateway itself costs a call, without sockets.
func BenchmarkProxy(b *testing.B) {
	for _, size := range []int{0, 1900} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			text := bytes.Repeat([]byte("x"), 1024)
			g, err := New(doorFunc(func(req *http.Request) (*http.Response, error) {
				io.Copy(io.Discard, req.Body)
				return &http.Response{
					StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {"1024"}},
					Body: io.NopCloser(bytes.NewReader(text)), ContentLength: 1024,
				}, nil
			}), file(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			in := bytes.Repeat([]byte("y"), size)
			r := &http.Request{
				Method: "POST", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(size), Body: http.NoBody,
				URL:    &url.URL{Path: "/api/v1/chat"},
				Header: http.Header{"Authorization": {"Bearer sk"}, "Content-Type": {"application/json"}, "Accept": {"*/*"}},
			}
			w := &nullWriter{h: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				if size > 0 {
					r.Body = io.NopCloser(bytes.NewReader(in))
				}
				clear(w.h)
				g.ServeHTTP(w, r)
			}
		})
	}
}

// nullWriter is an http.ResponseWriter that costs nothing.
type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             {}

// BenchmarkHeldCall is the memory of a call that is held at the door, with its
// connection: KB/call, with as many calls as -benchtime says (1000x).
func BenchmarkHeldCall(b *testing.B) {
	for _, body := range []string{"", "Content-Length: 1900\r\n\r\n" + strings.Repeat("x", 1900), "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		b.Run(fmt.Sprintf("body=%.14q", body), func(b *testing.B) {
			entered, hold := make(chan struct{}), make(chan struct{})
			_, base := start(b, doorFunc(func(req *http.Request) (*http.Response, error) {
				entered <- struct{}{}
				<-hold
				return answer(200, ""), nil
			}), file(), Options{})
			method := "POST"
			if body == "" {
				method, body = "GET", "\r\n"
			}
			before := memory()
			for range b.N {
				dialRaw(b, base, method+" /api/ HTTP/1.1\r\nHost: x\r\n"+body)
				<-entered
			}
			b.ReportMetric(float64(memory()-before)/float64(b.N)/1024, "KB/call")
			close(hold)
		})
	}
}

// BenchmarkHeldPoll is the memory of a caller who waits for a job, with its
// connection: KB/poll, with as many polls as -benchtime says (1000x).
func BenchmarkHeldPoll(b *testing.B) {
	jobs := jobtest.NewMemory(time.Now)
	g, base := start(b, echoDoor(nil), file(), Options{Jobs: jobs})
	j, _, err := jobs.Put(b.Context(), job.New{Job: job.Job{Queue: "q"}, Request: job.Request{Method: "GET", Path: "/"}})
	if err != nil {
		b.Fatal(err)
	}
	before := memory()
	for range b.N {
		dialRaw(b, base, "GET /jobs/"+j.ID+" HTTP/1.1\r\nHost: x\r\nPrefer: wait=600\r\n\r\n")
	}
	for g.watch.Waiting() < b.N {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(memory()-before)/float64(b.N)/1024, "KB/poll")
}

// memory returns what the process holds, after a collection.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
