package headgate_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// api is the upstream of the examples.
func api() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("Authorization"))
	}))
}

func ExampleTransport() {
	upstream := api()
	defer upstream.Close()

	client := &http.Client{Transport: headgate.Transport(headgate.Limit("50/1m"), headgate.Limit("concurrent:8"))}
	resp, err := client.Get(upstream.URL + "/v1/models")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, "after", resp.Header.Get("Headgate-Attempts"), "attempt")
	// Output: 200 OK after 1 attempt
}

func ExampleOpen() {
	upstream := api()
	defer upstream.Close()

	gate, err := headgate.Open(context.Background(), config.Config{
		Upstreams: map[string]config.Upstream{"openai": {
			URL:         upstream.URL,
			Credentials: []config.Credential{{Header: "Authorization", Value: config.NewSecret("Bearer key")}},
			Limits:      []config.Limit{{Limit: "500/1m"}, {Limit: "tokens:200000/1m"}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()

	resp, err := gate.Client("openai").Get("/v1/models")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

func ExampleGate_Acquire() {
	gate, err := headgate.Open(context.Background(), config.Config{
		Upstreams: map[string]config.Upstream{"openai": {
			URL:    "https://api.openai.com",
			Limits: []config.Limit{{Limit: "tokens:200000/1m"}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()

	permit, err := gate.Acquire(context.Background(), "openai", headgate.Cost{"tokens": 1200})
	if err != nil {
		log.Fatal(err)
	}
	// Call the upstream by any means, then say what it really cost.
	permit.Settle(headgate.Cost{"tokens": 950})
	permit.Done(headgate.OK)
	fmt.Println("used", gate.Status().Upstreams[0].Credentials[0].Limits[0].Used)
	// Output: used 950
}
