package worker

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/internal/source"
)

// through is a door with a limit that is never reached, to an upstream that answers
// at once: without any the door would be learning one.
type through struct{}

func (through) RoundTripper(string) http.RoundTripper {
	return headgate.Transport(headgate.Limit("1000000/1s"), headgate.Base(tripper(func(*http.Request) (*http.Response, error) { return reply(200), nil })))
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// BenchmarkSource drains a list of 100-byte messages into a hash.
func BenchmarkSource(b *testing.B) {
	server := redistest.Start(b)
	queue, err := redisstore.OpenSource(redisstore.SourceOptions{
		Options: redisstore.Options{Addrs: []string{server.Addr}}, Name: "s", Holder: "one", List: "q",
		Results: redisstore.Destination{Hash: "r"}, Dead: redisstore.Destination{List: "d"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer queue.Close()
	template, err := source.ParseTemplate(source.Request{Path: "/", Body: `{"text":{{ json .JSON.text }}}`})
	if err != nil {
		b.Fatal(err)
	}
	server.CLI("EVAL", `for i = 1, tonumber(ARGV[1]) do redis.call('LPUSH', 'q', '{"id":' .. i .. ',"text":"' .. string.rep('x', 80) .. '"}') end`, "0", strconv.Itoa(b.N))
	done := make(chan struct{})
	n := 0
	taking, stop := context.WithCancel(b.Context())
	defer stop()
	left := make(chan int, 1024)
	s := NewSource(SourceOptions{Name: "s", Upstream: "api", Queue: queue, Template: template, Door: through{}, Events: SourceEvents{
		Counted: func(_, outcome string, n int) {
			if outcome == SourceDone {
				left <- n
			}
		},
	}})
	b.ResetTimer()
	go func() { defer close(done); s.Run(taking, b.Context()) }()
	for n < b.N {
		select {
		case k := <-left:
			n += k
		case <-time.After(20 * time.Second):
			b.Fatal(fmt.Sprint(n, " done of ", b.N))
		}
	}
	b.StopTimer()
	stop()
	<-done
}
