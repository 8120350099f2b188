package gateway

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// FuzzCleanRequestsPassUnchanged sends random requests, pipelined and in random
// pieces, to a server behind frame and to one without, which tell all that
// reached them.
func FuzzCleanRequestsPassUnchanged(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		var err error
		if r.URL.Path != "/unread" {
			body, err = io.ReadAll(r.Body)
		}
		w.Header()["Date"] = nil
		fmt.Fprintln(w, r.Method, r.RequestURI, r.Proto, r.Host, r.Header, r.ContentLength, r.TransferEncoding, r.Close, r.Trailer, err)
		w.Write(body)
	})
	var lns [2]*pipes
	for i := range lns {
		ln := newPipes()
		srv := &http.Server{Handler: tell, MaxHeaderBytes: maxHeadBytes, ConnState: followState}
		lns[i] = ln
		if i == 0 {
			go srv.Serve(frame(srv, ln))
		} else {
			go srv.Serve(ln)
		}
		f.Cleanup(func() { srv.Close() })
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		text := randomStream(r)
		longest := 1 << r.IntN(13)
		var got [2]string
		for i, ln := range lns {
			sizes := rand.New(rand.NewPCG(seed, 1))
			got[i] = exchange(ln.dial(), text, func() int { return 1 + sizes.IntN(longest) })
		}
		if got[0] != got[1] {
			t.Errorf("%q in pieces of up to %d: got %q, want %q", text, longest, got[0], got[1])
		}
	})
}

// randomStream returns clean requests, the last of which closes.
func randomStream(r *rand.Rand) string {
	var b strings.Builder
	n := 1 + r.IntN(5)
	for i := range n {
		method := []string{"GET", "POST", "PUT", "HEAD"}[r.IntN(4)]
		fmt.Fprintf(&b, "%s %s?%d HTTP/1.1\r\nHost: x\r\n", method, []string{"/", "/unread"}[r.IntN(8)/7], i)
		for range r.IntN(4) {
			fmt.Fprintf(&b, "X-%d:%s%s\r\n", r.IntN(3), strings.Repeat(" ", r.IntN(3)), strings.Repeat("v", r.IntN(1<<r.IntN(13))))
		}
		if r.IntN(8) == 0 {
			b.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\n")
		}
		if i == n-1 {
			b.WriteString("Connection: close\r\n")
		}
		body := make([]byte, r.IntN(1<<r.IntN(15)))
		for i := range body {
			body[i] = "\r\n0aG: \x00"[r.IntN(8)]
		}
		switch r.IntN(3) {
		case 0:
			b.WriteString("\r\n")
		case 1:
			if r.IntN(8) == 0 {
				b.WriteString("Expect: 100-continue\r\n")
			}
			fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		case 2:
			b.WriteString("Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n")
			writeChunks(&b, r, body)
		}
		if method == "POST" && i < n-1 && r.IntN(4) == 0 {
			b.WriteString("\r\n") // as old clients do
		}
	}
	return b.String()
}

func writeChunks(b *strings.Builder, r *rand.Rand, body []byte) {
	for len(body) > 0 {
		n := 1 + r.IntN(len(body))
		fmt.Fprintf(b, []string{"%x\r\n", "%X\r\n", "00%x\r\n", "%x;a=\"b;c\"\r\n"}[r.IntN(4)], n)
		b.Write(body[:n])
		b.WriteString("\r\n")
		body = body[n:]
	}
	b.WriteString([]string{"0\r\n\r\n", "000;x\r\n\r\n", "0\r\nX-T: 1\r\n\r\n", "0\r\nX-T: 1\r\nX-U:\r\n\r\n"}[r.IntN(4)])
}
