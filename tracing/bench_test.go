package tracing_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/tracing"
)

type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// BenchmarkCall is what tracing adds to a call through the door: nothing is sent,
// and spans that are recorded go nowhere.
func BenchmarkCall(b *testing.B) {
	base := headgate.Base(roundTrips(func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: 200, Request: req, Header: http.Header{}, ContentLength: 2, Body: io.NopCloser(strings.NewReader("ok")),
		}, nil
	}))
	traced := func(s sdk.Sampler) headgate.Option {
		return headgate.WithTracer(tracing.New(sdk.NewTracerProvider(sdk.WithSampler(s)), tracing.Options{}))
	}
	for _, test := range []struct {
		name   string
		option headgate.Option
	}{
		{"off", headgate.WithTracer(nil)},
		{"not-sampled", traced(sdk.NeverSample())},
		{"sampled", traced(sdk.AlwaysSample())},
	} {
		b.Run(test.name, func(b *testing.B) {
			rt := headgate.Transport(base, headgate.Limit("100000000/1s"), test.option)
			req, err := http.NewRequest("GET", "http://api.test/", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
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
