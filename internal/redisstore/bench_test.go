package redisstore

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// BenchmarkSync measures what a sync under three limits costs, in the server
// (µs/step, by its own statistics) and in all. Every instance wants more than
// there is, the dearest case.
func BenchmarkSync(b *testing.B) {
	server := redistest.Start(b)
	for _, way := range []string{"function", "script"} {
		for _, instances := range []int{1, 4, 50} {
			b.Run(fmt.Sprintf("%s/instances=%d", way, instances), func(b *testing.B) {
				s := open(b, Options{Addrs: []string{server.Addr}, Namespace: fmt.Sprint(way, instances)}, nil)
				s.scripted.Store(way == "script")
				seq := time.Now().UnixNano() / 1000
				sync := func(i int) {
					seq++
					if _, err := s.Sync(b.Context(), "a", bigReport(i%instances, seq, 1)); err != nil {
						b.Fatal(err)
					}
				}
				for i := range instances {
					sync(i)
				}
				server.CLI("CONFIG", "RESETSTAT")
				for i := 0; b.Loop(); i++ {
					sync(i)
				}
				stats := server.CLI("INFO", "commandstats")
				per := regexp.MustCompile(`cmdstat_(?:fcall|evalsha):.*usec_per_call=([0-9.]+)`).FindStringSubmatch(stats)
				if per == nil {
					b.Fatalf("no statistics of the step: %s", stats)
				}
				us, _ := strconv.ParseFloat(per[1], 64)
				b.ReportMetric(us, "µs/step")
			})
		}
	}
}
