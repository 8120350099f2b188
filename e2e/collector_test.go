package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector receives traces as any that speaks OTLP does.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	mu      sync.Mutex
	spans   []span
	service string
}

// span is what a collector was told of one.
type span struct {
	name, trace, id, parent, kind string
	attributes                    map[string]string
	failed                        bool
	from, to                      uint64 // ns
}

// overHTTP serves the collector at a URL, for protobuf over HTTP.
func (c *collector) overHTTP(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collectorpb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s %s was sent: %v", r.Method, r.URL, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		c.take(&req)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// overGRPC serves the collector at a URL, for gRPC.
func (c *collector) overGRPC(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(s, c)
	go s.Serve(l) // until Stop
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String()
}

// Export is as in the OTLP protocol.
func (c *collector) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.take(r)
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

func (c *collector) take(r *collectorpb.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				c.service = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, spanOf(s))
			}
		}
	}
}

func spanOf(s *tracepb.Span) span {
	x := span{
		name: s.Name, trace: hex.EncodeToString(s.TraceId), id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
		kind:       strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")),
		attributes: map[string]string{}, failed: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR,
		from: s.StartTimeUnixNano, to: s.EndTimeUnixNano,
	}
	for _, a := range s.Attributes {
		x.attributes[a.Key] = a.Value.GetStringValue()
		if n := a.Value.GetIntValue(); n != 0 {
			x.attributes[a.Key] = fmt.Sprint(n)
		}
	}
	return x
}

// named returns the spans of a name, the earliest first.
func (c *collector) named(name string) (all []span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.name == name {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b span) int { return int(int64(a.from) - int64(b.from)) })
	return all
}
