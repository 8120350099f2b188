package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// BenchmarkChain is a call from a caller's socket through gateway and gate to an
// upstream's and back. Caller and upstream are bare sockets that allocate
// nothing, so that what is counted is ours and net/http's.
func BenchmarkChain(b *testing.B) {
	upstream := respondRaw(b, "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1024))
	cfg := config.Config{Upstreams: map[string]config.Upstream{"api": {
		URL: "http://" + upstream, Limits: []config.Limit{{Limit: "100000000/1s"}, {Limit: "concurrent:100"}},
	}}}.WithDefaults()
	gate, err := headgate.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer gate.Close()
	_, base := start(b, gate, cfg, Options{})
	for _, size := range []int{0, 1900} {
		head := "GET /api/v1/chat HTTP/1.1\r\n"
		if size > 0 {
			head = fmt.Sprintf("POST /api/v1/chat HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", size)
		}
		request := []byte(head + "Host: gate.test\r\nAuthorization: Bearer sk\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n" + strings.Repeat("y", size))
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			conn := dialRaw(b, base, "")
			conn.SetDeadline(time.Time{})
			buf := make([]byte, 8<<10)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if err := readMessage(conn, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// respondRaw answers every request on its sockets with the same bytes, and
// returns its address.
func respondRaw(t testing.TB, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf, text := make([]byte, 8<<10), []byte(answer)
				for readMessage(conn, buf) == nil {
					if _, err := conn.Write(text); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// readMessage reads a message that fits into buf: a head, and as many bytes as
// its Content-Length says.
func readMessage(r io.Reader, buf []byte) error {
	field := []byte("\nContent-Length: ")
	for have, want := 0, -1; have != want; {
		n, err := r.Read(buf[have:])
		if err != nil {
			return err
		}
		have += n
		end := bytes.Index(buf[:have], []byte("\r\n\r\n"))
		if want >= 0 || end < 0 {
			continue
		}
		length := 0
		if at := bytes.Index(buf[:end], field); at >= 0 {
			for _, c := range buf[at+len(field) : end] {
				if c < '0' || c > '9' {
					break
				}
				length = 10*length + int(c-'0')
			}
		}
		want = end + len("\r\n\r\n") + length
	}
	return nil
}
