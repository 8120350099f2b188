package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// bothProtocols runs a test with HTTP/1.1 and HTTP/2 on both sides.
func bothProtocols(t *testing.T, test func(t *testing.T, h2 bool)) {
	t.Run("HTTP/1.1", func(t *testing.T) { test(t, false) })
	t.Run("h2c", func(t *testing.T) { test(t, true) })
}

func TestEachEventReachesCallerBeforeTheNext(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		for _, contentType := range []string{"text/event-stream; charset=utf-8", "application/x-ndjson"} {
			next := make(chan struct{})
			door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", contentType)
				http.NewResponseController(w).Flush()
				for i := range 3 {
					<-next
					fmt.Fprintf(w, "data: %d\n\n", i)
					http.NewResponseController(w).Flush()
				}
			}, h2)
			_, base := start(t, door, file(), Options{})
			res, err := newClient(t, h2).Get(base + "/api/") // returns before the first event
			if err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(res.Body)
			for i := range 3 {
				next <- struct{}{}
				line, err := r.ReadString('\n')
				if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
					t.Fatalf("%s: event %q, %v, want %q", contentType, line, err, want)
				}
				r.ReadString('\n')
			}
			if rest, err := io.ReadAll(r); len(rest) != 0 || err != nil {
				t.Errorf("%s: after the last event: %q, %v", contentType, rest, err)
			}
			res.Body.Close()
		}
	})
}

func TestRequestStreamsWhileAnswerStreams(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			rc.EnableFullDuplex()
			rc.Flush()
			br := bufio.NewReader(r.Body)
			for {
				line, err := br.ReadString('\n')
				if err != nil {
					return
				}
				io.WriteString(w, "echo "+line)
				rc.Flush()
			}
		}, h2)
		_, base := start(t, door, file(), Options{})
		pr, pw := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/api/", pr)
		res, err := newClient(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		r := bufio.NewReader(res.Body)
		for _, word := range []string{"one\n", "two\n", "three\n"} {
			io.WriteString(pw, word)
			if line, err := r.ReadString('\n'); line != "echo "+word {
				t.Fatalf("got %q, %v, want echo %q", line, err, word)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(r); len(rest) != 0 || err != nil {
			t.Errorf("after the end: %q, %v", rest, err)
		}
	})
}

func TestTrailersPassBothWays(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		for _, announced := range []bool{true, false} {
			attempts := 0
			door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if got := r.Trailer.Get("X-Sum"); got != "abc" {
					t.Errorf("upstream got trailer %v, want X-Sum: abc", r.Trailer)
				}
				if attempts++; attempts == 1 {
					w.WriteHeader(503)
					return
				}
				if announced {
					w.Header().Set("Trailer", "X-Status, X-More")
				}
				io.WriteString(w, "body")
				http.NewResponseController(w).Flush()
				prefix := http.TrailerPrefix
				if announced {
					prefix = ""
				}
				w.Header().Set(prefix+"X-Status", "0")
				w.Header().Set(prefix+"X-More", "1")
			}, h2)
			door.again = func(attempt int, res *http.Response, err error) bool { return err == nil && res.StatusCode == 503 }
			_, base := start(t, door, file(), Options{})
			req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/api/", struct{ io.Reader }{strings.NewReader("request")})
			req.Trailer = http.Header{"X-Sum": {"abc"}}
			res, err := newClient(t, h2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != "body" || err != nil || res.Trailer.Get("X-Status") != "0" || res.Trailer.Get("X-More") != "1" {
				t.Errorf("announced %v: got %q, %v, trailer %v", announced, body, err, res.Trailer)
			}
		}
	})
}

func TestEarlyHintsPassToHTTP2(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.Header().Set("X-Final", "1")
			w.WriteHeader(200)
		}, h2)
		_, base := start(t, door, file(), Options{})
		var hints []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		}}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", base+"/api/", nil)
		res, err := newClient(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		var want []string
		if h2 {
			want = []string{"103 </a.css>; rel=preload"}
		}
		if !slices.Equal(hints, want) {
			t.Errorf("caller got hints %q, want %q", hints, want)
		}
		if res.Header.Get("Link") != "" || res.Header.Get("X-Final") != "1" {
			t.Errorf("the answer has header %v, want that of the answer alone", res.Header)
		}
	})
}

func TestBrokenAnswerIsBrokenForCaller(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		for _, length := range []string{"", "100"} {
			door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				io.WriteString(w, "half")
				http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}, h2)
			_, base := start(t, door, file(), Options{})
			res, err := newClient(t, h2).Get(base + "/api/")
			if err != nil {
				continue // broken before the header could be read: as good
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil {
				t.Errorf("Content-Length %q: the caller read %q without an error", length, text)
			}
		}
	})
}

func TestCallerGoneEndsAnswer(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		gone := make(chan struct{})
		door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
		}, h2)
		_, base := start(t, door, file(), Options{})
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", base+"/api/", nil)
		res, err := newClient(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		res.Body.Close()
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Errorf("the upstream was not told")
		}
	})
}

func TestHeadAndEmptyAnswersKeepTheirHeader(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		door := newThrough(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/304":
				w.Header().Set("ETag", `"x"`)
				w.WriteHeader(304)
			case "/204":
				w.WriteHeader(204)
			default:
				w.Header().Set("Content-Length", "123")
			}
		}, h2)
		_, base := start(t, door, file(), Options{})
		client := newClient(t, h2)
		if res, _ := do(t, client, "HEAD", base+"/api/", ""); res.StatusCode != 200 || res.ContentLength != 123 {
			t.Errorf("HEAD = %d, Content-Length %d, want 200 and 123", res.StatusCode, res.ContentLength)
		}
		if res, _ := do(t, client, "GET", base+"/api/304", ""); res.StatusCode != 304 || res.Header.Get("ETag") != `"x"` {
			t.Errorf("304 = %d with %v", res.StatusCode, res.Header)
		}
		if res, _ := do(t, client, "DELETE", base+"/api/204", ""); res.StatusCode != 204 {
			t.Errorf("204 = %d", res.StatusCode)
		}
	})
}
