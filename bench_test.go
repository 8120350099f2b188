package headgate

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"testing"

	"github.com/headgate/headgate/config"
)

// BenchmarkRoundTrip is what the door itself costs a call: an upstream that
// answers at once, and a caller that reads the answer and closes it.
func BenchmarkRoundTrip(b *testing.B) {
	answer := bytes.Repeat([]byte("x"), 1024)
	sent := bytes.Repeat([]byte("y"), 1900)
	base := roundTrips(func(req *http.Request) (*http.Response, error) {
		trace := httptrace.ContextClientTrace(req.Context())
		trace.GetConn("api.test:80")
		trace.GotConn(gotConn)
		if req.Body != nil {
			io.Copy(io.Discard, req.Body)
			req.Body.Close()
		}
		trace.WroteRequest(wrote)
		return &http.Response{
			StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Request: req,
			Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {"1024"}},
			Body:   io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer)),
		}, nil
	})
	for _, method := range []string{"GET", "POST"} {
		for _, credentials := range [][]config.Credential{nil, {{Header: "Authorization", Value: config.NewSecret("Bearer ours")}}} {
			b.Run(fmt.Sprintf("%s/credentials=%d", method, len(credentials)), func(b *testing.B) {
				g, err := Open(b.Context(), config.Config{Upstreams: map[string]config.Upstream{"api": {
					URL: "http://api.test", Limits: limits("100000000/1s", "concurrent:100"), Credentials: credentials,
				}}}, Base(base))
				if err != nil {
					b.Fatal(err)
				}
				defer g.Close()
				rt := g.RoundTripper("api")
				body := ""
				if method == "POST" {
					body = string(sent)
				}
				req := request(b.Context(), method, "/v1/chat", body, "Authorization", "Bearer sk", "Content-Type", "application/json")
				b.ReportAllocs()
				for b.Loop() {
					if req.GetBody != nil {
						req.Body, _ = req.GetBody()
					}
					resp, err := rt.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
	}
}
