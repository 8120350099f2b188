package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// itemCounter is an upstream that counts calls by the n of their body.
type itemCounter struct {
	mu   sync.Mutex
	seen map[int]int
}

func (c *itemCounter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ N int }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	io.Copy(io.Discard, r.Body)
	c.mu.Lock()
	c.seen[body.N]++
	c.mu.Unlock()
	time.Sleep(10 * time.Millisecond) // a service time, so that calls are in flight when the kill comes
	fmt.Fprintf(w, `{"n": %d}`, body.N)
}

// batchLines writes n calls, of which one is broken (0: none).
func batchLines(t *testing.T, file string, n, broken int) {
	t.Helper()
	var b bytes.Buffer
	for i := 1; i <= n; i++ {
		if i == broken {
			fmt.Fprintf(&b, `{"custom_id": "r-%d", "method": "POST", "url": `+"\n", i)
			continue
		}
		fmt.Fprintf(&b, `{"custom_id": "r-%d", "method": "POST", "url": "/v1/items", "body": {"n": %d}}`+"\n", i, i)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// batchResults counts the results of an output by custom_id. Whole lines are
// results, whenever the file is read.
func batchResults(t *testing.T, file string) map[string]int {
	t.Helper()
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	results := make(map[string]int)
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return results // a torn line, or none
		}
		var result struct {
			ID       string          `json:"id"`
			CustomID string          `json:"custom_id"`
			Response json.RawMessage `json:"response"`
			Error    json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal([]byte(line), &result); err != nil || result.ID == "" || result.Response == nil || result.Error == nil {
			t.Fatalf("line of output %q: %v", line, err)
		}
		results[result.CustomID]++
	}
}

func TestKilledBatchGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	const n, broken, kills, inFlight = 1000, 502, 3, 16
	up := &itemCounter{seen: make(map[int]int)}
	url := newUpstream(t, up.ServeHTTP).URL
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	batchLines(t, in, n, broken)
	args := []string{"batch", in, "-o", out, "--upstream", url, "--limit", fmt.Sprintf("concurrent:%d", inFlight)}
	for range kills {
		before := len(batchResults(t, out))
		p := start(t, headgate(args))
		some := before + 50 + rand.IntN(150)
		eventually(t, "results have come", func() bool { return len(batchResults(t, out)) >= some })
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait(t)
	}
	r := run(t, headgate(args))
	if r.status != 3 || !strings.Contains(r.stderr, fmt.Sprintf("line %d: not JSON", broken)) {
		t.Errorf("the last run = %d\n%s\nwant 3 and line %d named", r.status, r.stderr, broken)
	}
	results := batchResults(t, out)
	if len(results) != n || results[fmt.Sprintf("line-%d", broken)] != 1 {
		t.Errorf("%d results, want %d and one of line-%d", len(results), n, broken)
	}
	for id, times := range results {
		if times != 1 {
			t.Errorf("%s has %d results, want 1", id, times)
		}
	}
	twice := 0
	for i := 1; i <= n; i++ {
		if up.seen[i] == 0 && i != broken {
			t.Errorf("call %d never came", i)
		}
		twice += max(up.seen[i]-1, 0)
	}
	// One that has its answer makes room for the next before its result is
	// written.
	if most := kills * 2 * inFlight; twice > most {
		t.Errorf("%d calls were made twice, want at most the %d that were in flight or had just been answered", twice, most)
	}
	t.Logf("%d calls were made twice", twice)
}

func TestStoppedBatchEndsWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	up := newHolding(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	batchLines(t, in, 10, 0)
	args := []string{"batch", in, "-o", out, "--upstream", up.URL, "--limit", "concurrent:1"}
	p := start(t, headgate(args))
	up.next(t)
	if r := run(t, headgate(args)); r.status != 1 || !strings.Contains(r.stderr, out+": another batch writes it") {
		t.Errorf("a second batch = %d\n%s\nwant 1 and the reason", r.status, r.stderr)
	}
	p.signal(t, os.Interrupt)
	p.waitFor(t, "stopping: waiting for the calls on their way")
	close(up.release)
	if status := p.wait(t); status != 1 || !strings.Contains(p.stderr.String(), "headgate: stopped with 1 of 10 done; the same command goes on from here\n") {
		t.Errorf("stopped batch = %d\n%s\nwant 1 and how to go on", status, p.stderr)
	}
	if got := batchResults(t, out); len(got) != 1 {
		t.Errorf("results %v, want that of the call on its way", got)
	}
	if r := run(t, headgate(args)); r.status != 0 || len(batchResults(t, out)) != 10 {
		t.Errorf("the next run = %d\n%s\nwant 0 and 10 results", r.status, r.stderr)
	}
}

func TestBatchOnAFullDiskGoesOnWithRoom(t *testing.T) {
	t.Parallel()
	up := &itemCounter{seen: make(map[int]int)}
	url := newUpstream(t, up.ServeHTTP).URL
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	batchLines(t, in, 1000, 0)
	args := []string{"batch", in, "-o", out, "--upstream", url, "--limit", "concurrent:8"}
	// A file may not be longer than 8 KiB: to a program that is a full disk.
	limited := headgate([]string{"-c", `ulimit -f 8; trap '' XFSZ; exec "$0" "$@"`, binary})
	limited.Path, limited.Args = "/bin/bash", append(append([]string{"bash"}, limited.Args[1:]...), args...)
	if _, err := os.Stat(limited.Path); err != nil {
		t.Skipf("needs bash: %v", err)
	}
	r := run(t, limited)
	if r.status != 1 || !strings.Contains(r.stderr, "headgate: write "+out+": file too large") {
		t.Errorf("batch on a full disk = %d\n%s\nwant 1 and the reason", r.status, r.stderr)
	}
	text, err := os.ReadFile(out)
	if err != nil || len(text) == 0 || text[len(text)-1] != '\n' {
		t.Errorf("output after that ends in %q: %v, want whole lines", text[max(len(text)-40, 0):], err)
	}
	was := len(batchResults(t, out))
	if r := run(t, headgate(args)); r.status != 0 || len(batchResults(t, out)) != 1000 {
		t.Errorf("with room = %d\n%s\nwant 0 and 1000 results", r.status, r.stderr)
	}
	twice := 0
	for _, times := range up.seen {
		twice += times - 1
	}
	t.Logf("%d results on the full disk, %d calls made twice", was, twice)
}
