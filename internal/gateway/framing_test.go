package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAmbiguousRequestsNeverReachTheDoor(t *testing.T) {
	seen := make(chan *http.Request, 64)
	door := echoDoor(seen)
	_, base := start(t, door, file(), Options{})
	ln := startPipes(t, door)
	for _, c := range ambiguous {
		for way, sent := range map[string]string{
			"at once":      exchange(dialRaw(t, base, ""), c.text, pieces(1<<20)),
			"byte by byte": exchange(ln.dial(), c.text, pieces(1)),
		} {
			wantRefusal(t, c.name+", "+way, sent, c.clean, c.why)
		}
		if len(seen) != 2*c.clean {
			t.Errorf("%s: the door saw %d requests, want %d", c.name, len(seen), 2*c.clean)
		}
		for len(seen) > 0 {
			<-seen
		}
		if status, _ := raw(t, base, "GET /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); status != 200 {
			t.Errorf("%s: the next connection got %d, want 200", c.name, status)
		}
		<-seen
	}
}

func TestBrokenChunksNeverMakeABody(t *testing.T) {
	var mu sync.Mutex // the door is still there when the caller is not
	whole := 0
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		whole++
		return answer(200, "ok"), nil
	})
	_, base := start(t, door, file(), Options{})
	ln := startPipes(t, door)
	for _, c := range badChunks {
		text := chunkedHead + c.text + "GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
		wantRefusal(t, c.name+", at once", exchange(dialRaw(t, base, ""), text, pieces(1<<20)), 0, c.why)
		wantRefusal(t, c.name+", byte by byte", exchange(ln.dial(), text, pieces(1)), 0, c.why)
	}
	mu.Lock()
	defer mu.Unlock()
	if whole != 0 {
		t.Errorf("the door read %d bodies to their end, want none", whole)
	}
}

func TestBrokenChunkBehindAnswerBreaksItOff(t *testing.T) {
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		res := answer(200, "")
		res.Body, res.ContentLength = req.Body, -1
		return res, nil
	})
	_, base := start(t, door, file(), Options{})
	conn := dialRaw(t, base, chunkedHead+"5\r\nhello\r\n")
	r := bufio.NewReader(conn)
	for line := ""; line != "hello\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(conn, "5\nhello\r\n0\r\n\r\n")
	if rest, _ := io.ReadAll(r); len(rest) != 0 {
		t.Errorf("the answer went on with %q, want it broken off", rest)
	}
}

func TestAmbiguousHeadWaitsForTheAnswerBeforeIt(t *testing.T) {
	entered, hold := make(chan struct{}), make(chan struct{})
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		close(entered)
		select {
		case <-hold:
			return answer(200, "ok"), nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	})
	_, base := start(t, door, file(), Options{})
	conn := dialRaw(t, base, "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	io.WriteString(conn, "GET /api/smuggled HTTP/1.1\nHost: x\n\n")
	close(hold)
	wantRefusal(t, "behind a call in flight", exchange(conn, "", nil), 1, errBareLF)
}

// TestRefusalIsTheOnlyAnswer has net/http find fault with what came before: an
// empty line is not for a first request.
func TestRefusalIsTheOnlyAnswer(t *testing.T) {
	ln := startPipes(t, echoDoor(nil))
	for _, size := range []int{1, 2, 100} {
		sent := exchange(ln.dial(), "\r\nGET /api/ HTTP/1.1\nHost: x\n\n", pieces(size))
		wantRefusal(t, fmt.Sprintf("in pieces of %d", size), sent, 0, errBareLF)
	}
}

func TestPrefaceBehindARequestOpensNothing(t *testing.T) {
	c := &framedConn{Conn: endless{text: preface}, maxHead: 1 << 16, used: true}
	if n, err := c.Read(make([]byte, 100)); n != len("PRI * HTTP/2.0\r\n\r\n") || err != nil || c.raw {
		t.Errorf("Read = %d, %v, raw %v, want the first head alone", n, err, c.raw)
	}
}

func TestDeclinedUpgradeIsStillJudged(t *testing.T) {
	door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {}, false)
	_, base := start(t, door, file(), Options{})
	const upgrade = "GET /api/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for _, behind := range []string{"GET /api/smuggled HTTP/1.1\nHost: x\n\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		statuses, last, _ := answers(t, exchange(dialRaw(t, base, ""), upgrade+behind, pieces(1<<20)))
		if len(statuses) < 2 || statuses[0] != 200 || last.StatusCode != 400 {
			t.Errorf("%q behind an upgrade that was declined: answers %v, want 200 and 400", behind, statuses)
		}
	}
}

func TestUpgradedConnectionPassesAnything(t *testing.T) {
	door := switchingUpstream(t, func(conn net.Conn, rw *bufio.ReadWriter) { io.Copy(conn, rw) })
	_, base := start(t, door, file(), Options{})
	const early = "GET /\nTransfer-Encoding: chunked\nContent-Length: 1\n\n"
	noise := early + strings.Repeat("\x00\r\r\n\n \xff", 10_000)
	conn, r, _ := dialUpgrade(t, base, "websocket", early)
	go func() {
		io.WriteString(conn, noise[len(early):])
		conn.CloseWrite()
	}()
	if got, err := io.ReadAll(r); string(got) != noise || err != nil {
		t.Errorf("%d bytes came back, %v, want the %d that were sent", len(got), err, len(noise))
	}
}

func TestPrefaceThatComesSlowlyOpensHTTP2(t *testing.T) {
	ln := startPipes(t, echoDoor(nil))
	for _, size := range []int{1, 13, 14, 15, 18, 23, 24, 100} {
		conn := ln.dial()
		settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		go func() {
			for text := string(preface) + settings; text != ""; text = text[min(size, len(text)):] {
				io.WriteString(conn, text[:min(size, len(text))])
			}
		}()
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil || head[3] != 4 {
			t.Errorf("in pieces of %d: frame %x, %v, want SETTINGS", size, head, err)
		}
		conn.Close()
	}
}

func TestContinueIsSaidBeforeTheBodyIsJudged(t *testing.T) {
	_, base := start(t, echoDoor(nil), file(), Options{})
	for body, want := range map[string]int{"3\r\nabc\r\n0\r\n\r\n": 200, "3\nabc\r\n0\r\n\r\n": 400} {
		conn := dialRaw(t, base, "POST /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("got %q, %v, want 100", line, err)
		}
		r.ReadString('\n')
		io.WriteString(conn, body)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != want {
			t.Errorf("%q: answer %v, %v, want %d", body, res, err, want)
			continue
		}
		res.Body.Close()
	}
}

func TestHeadBeyondTheBoundIsNeverTaken(t *testing.T) {
	seen := make(chan *http.Request, 8)
	_, base := start(t, echoDoor(seen), file(), Options{})
	for _, c := range []struct{ size, status int }{
		{maxHeadBytes, 200},
		{maxHeadBytes + headSlack - 1, 431},
		{maxHeadBytes + headSlack, 431},
		{maxHeadBytes + headSlack + 1, 431},
		{maxHeadBytes + 2*headSlack, 431},
	} {
		const around = "GET /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: \r\n\r\n"
		text := around[:len(around)-4] + strings.Repeat("a", c.size-len(around)) + "\r\n\r\n"
		if status, _ := raw(t, base, text); status != c.status {
			t.Errorf("a head of %d bytes = %d, want %d", c.size, status, c.status)
		}
	}
	if len(seen) != 1 {
		t.Errorf("the door saw %d requests, want 1", len(seen))
	}
}

func TestInterruptedReadKeepsWhatItHas(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	c := &framedConn{Conn: theirs, maxHead: 1 << 16}
	text := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	buf := make([]byte, 4096)
	for i := range text {
		go io.WriteString(ours, text[i:i+1])
		if i == len(text)-1 {
			break
		}
		for c.held == nil || len(*c.held) <= i {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, err := c.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Read of %q = %d, %v, want a deadline exceeded", text[:i+1], n, err)
			}
		}
	}
	c.SetReadDeadline(time.Time{})
	if n, err := c.Read(buf); string(buf[:n]) != text || err != nil {
		t.Errorf("Read = %q, %v, want %q", buf[:n], err, text)
	}
	if c.held != nil {
		t.Errorf("a buffer of %d bytes is kept", cap(*c.held))
	}
}

func TestSlowHeadBehindAnotherHasItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := startPipes(t, echoDoor(nil))
		conn := ln.dial()
		defer conn.Close()
		go io.WriteString(conn, "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n")
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		time.Sleep(idleTimeout / 2)
		begun := time.Now()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for _, err := io.WriteString(conn, "G"); err == nil; _, err = io.WriteString(conn, "E") {
				time.Sleep(time.Second)
			}
		}()
		rest, _ := io.ReadAll(r)
		if took := time.Since(begun); took != headTimeout || len(rest) != 0 {
			t.Errorf("closed %v after the first byte with %q, want %v", took, rest, headTimeout)
		}
		<-stopped
	})
}

// endless is a connection on which one text comes again and again.
type endless struct {
	net.Conn
	text []byte
}

func (c endless) Read(p []byte) (int, error) { return copy(p, c.text), nil }

// TestSteadyStateAllocatesNothing reads requests that come whole, and such that
// were held back.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has sync.Pool drop what it is given")
	}
	c := &framedConn{Conn: endless{text: []byte(plainGET)}, maxHead: 1 << 16}
	p, whole := make([]byte, 4096), []byte(plainGET)
	if allocs := testing.AllocsPerRun(1000, func() {
		c.asked = false
		if n, err := c.Read(p); n != len(plainGET) || err != nil {
			t.Fatal(n, err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations for a request that comes whole, want 0", allocs)
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		c.asked = false
		c.hold(whole)
		if n, err := c.Read(p); n != len(plainGET) || err != nil {
			t.Fatal(n, err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations for a request that was held, want 0", allocs)
	}
}

// BenchmarkFramedRead is what a plain GET costs on its way in, the copy from
// the connection included.
func BenchmarkFramedRead(b *testing.B) {
	conn := endless{text: []byte(plainGET)}
	p := make([]byte, 4096)
	b.Run("without", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			conn.Read(p)
		}
	})
	b.Run("framed", func(b *testing.B) {
		c := &framedConn{Conn: conn, maxHead: 1 << 16}
		b.ReportAllocs()
		for b.Loop() {
			followState(c, http.StateIdle)
			if n, err := c.Read(p); n != len(plainGET) || err != nil {
				b.Fatal(n, err)
			}
		}
	})
}
