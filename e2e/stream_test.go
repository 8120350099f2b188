package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	large = 100 << 20 // bytes of a body that must not be kept in memory
	spare = 48 << 20  // bytes that the gate's memory may grow meanwhile
)

// zeroes is a body without an end.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestEventsPassOneByOne(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select { // the next one leaves only when the caller has this one
			case <-seen:
			case <-r.Context().Done():
				return
			}
		}
	})
	g := serve(t, "--upstream", up.URL)
	resp, err := newClient(t).Do(newRequest(t, "GET", g.url+"/", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 5 {
		event, err := r.ReadString('\n')
		if _, blank := r.ReadString('\n'); err != nil || blank != nil || event != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d = %q, %v, %v", i, event, err, blank)
		}
		seen <- struct{}{}
	}
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Errorf("after the last event: %q, %v, want the end", rest, err)
	}
}

func TestLargeUploadsAreStreamed(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	})
	g := serve(t, "--upstream", up.URL)
	c := newClient(t)
	before := g.mostResident(t)
	for _, length := range []int64{large, -1} { // announced, and not
		req := newRequest(t, "POST", g.url+"/", "")
		req.Body = io.NopCloser(io.LimitReader(zeroes{}, large))
		req.ContentLength = length
		if a := do(t, c, req); a.String() != fmt.Sprintf("200 %d <nil>", large) {
			t.Errorf("upload with length %d = %v, want all %d bytes", length, a, large)
		}
	}
	if grown := g.mostResident(t) - before; grown > spare {
		t.Errorf("the gate grew by %d MiB during uploads of %d MiB, want at most %d", grown>>20, large>>20, spare>>20)
	}
}

func TestLargeDownloadsAreStreamed(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(zeroes{}, large))
	})
	g := serve(t, "--upstream", up.URL)
	before := g.mostResident(t)
	resp, err := newClient(t).Do(newRequest(t, "GET", g.url+"/", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != large || err != nil {
		t.Errorf("download = %d bytes, %v, want %d", n, err, large)
	}
	if grown := g.mostResident(t) - before; grown > spare {
		t.Errorf("the gate grew by %d MiB during a download of %d MiB, want at most %d", grown>>20, large>>20, spare>>20)
	}
}

func TestSlowReaderHoldsTheUpstreamBack(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		buf := make([]byte, 64<<10)
		for written.Load() < large {
			n, err := w.Write(buf)
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	})
	g := serve(t, "--upstream", up.URL)
	before := g.mostResident(t)
	resp, err := newClient(t).Do(newRequest(t, "GET", g.url+"/", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	// Nothing is read: the upstream goes on until all buffers of sockets are full.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	stopped := func() int64 {
		last, still := int64(-1), 0
		for range 400 {
			<-tick.C
			if n := written.Load(); n != last {
				last, still = n, 0
			} else if still++; still == 8 {
				return n
			}
		}
		t.Fatal("the upstream is not held back")
		return 0
	}
	if n := stopped(); n == 0 || n >= large/2 {
		t.Errorf("the upstream could write %d MiB that nobody reads, want some buffers full", n>>20)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != large || err != nil {
		t.Errorf("what was held back = %d bytes, %v, want all %d", n, err, large)
	}
	if grown := g.mostResident(t) - before; grown > spare {
		t.Errorf("the gate grew by %d MiB, want at most %d", grown>>20, spare>>20)
	}
}

func TestBrokenStreamIsNotPassedAsWhole(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("half", 1000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	g := serve(t, "--upstream", up.URL)
	if a, err := try(newClient(t), newRequest(t, "GET", g.url+"/", "")); err == nil {
		t.Errorf("answer = %d with %d bytes and a clean end, want it broken off", a.status, len(a.body))
	}
}
