package tracing_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/tracing"
)

// A program gives its own provider; here one that keeps spans in memory.
func ExampleNew() {
	spans := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	upstream := httptest.NewServer(http.NotFoundHandler())
	defer upstream.Close()

	client := &http.Client{Transport: headgate.Transport(
		headgate.Limit("50/1m"),
		headgate.WithTracer(tracing.New(provider, tracing.Options{})),
	)}
	resp, err := client.Get(upstream.URL)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name, s.SpanKind, s.Status.Code)
	}
	// Output:
	// GET client Error
	// GET default internal Error
}
