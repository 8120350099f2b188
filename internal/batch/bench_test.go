package batch

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// nowhere answers at once, and sends nothing.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	const text = `{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Fine."}}],"usage":{"total_tokens":29}}`
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	return &http.Response{
		StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}, nil
}

// writeLines writes so many calls of some 200 bytes.
func writeLines(t testing.TB, path string, n int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	defer w.Flush()
	for i := range n {
		fmt.Fprintf(w, `{"custom_id": "request-%d", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is %d times seven?"}]}}`+"\n", i, i)
	}
}

// resident is the most memory that this process has held, in MiB; 0 where that
// is not told.
func resident() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		return 0
	}
	kb, _ := strconv.Atoi(string(match[1]))
	return float64(kb) / 1024
}

// BenchmarkLines is a batch whose calls nothing limits and no network slows; N of
// them: -benchtime 1000000x is a batch of a million.
func BenchmarkLines(b *testing.B) {
	x := newBench(b, "", nowhere{})
	writeLines(b, x.In, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	x.done(b)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(resident(), "MiB-resident")
}

func TestMemoryDoesNotGrowWithTheInput(t *testing.T) {
	const n, size = 5_000, 8 << 10
	x := newBench(t, strings.Repeat(`{"url": "/", "body": "`+strings.Repeat("x", size)+"\"}\n", n), nil)
	x.InFlight = 100
	var calls atomic.Int64
	var most atomic.Uint64
	x.Base = tripper(func(r *http.Request) (*http.Response, error) {
		if calls.Add(1)%(n/10) == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			for was := most.Load(); m.HeapAlloc > was && !most.CompareAndSwap(was, m.HeapAlloc); was = most.Load() {
			}
		}
		return nowhere{}.RoundTrip(r)
	})
	if p := x.done(t); p.Done != n || p.Failed != 0 {
		t.Fatalf("%+v, want %d done", p, n)
	}
	if most.Load() > n*size/3 {
		t.Errorf("the heap held up to %d bytes, want less than a third of the %d of the input", most.Load(), n*size)
	}
}
