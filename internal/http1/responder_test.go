package http1

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// responderVariable makes the test binary a responder.
const responderVariable = "HTTP1_TEST_RESPONDER"

func startResponder(b *testing.B) string {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), responderVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close() // ends it
		cmd.Wait()
	})
	var addr string
	if _, err := fmt.Fscan(out, &addr); err != nil {
		b.Fatal(err)
	}
	return addr
}

// answerHead comes before 1024 bytes.
const answerHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nContent-Length: 1024\r\n\r\n"

// respond answers requests, each of which comes in one piece, until the
// standard input ends.
func respond() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Println(ln.Addr())
	go func() {
		answer := []byte(answerHead + strings.Repeat("x", 1024))
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 1<<16)
				whole := 0
				for {
					n, err := c.Read(buf[whole:])
					if err != nil {
						c.Close()
						return
					}
					whole += n
					head, body, ok := bytes.Cut(buf[:whole], []byte("\r\n\r\n"))
					if ok && (len(body) == 1900) == bytes.Contains(head, []byte("Content-Length: 1900")) {
						c.Write(answer)
						whole = 0
					}
				}
			}()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}
