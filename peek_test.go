package headgate

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/dialect"
)

// stalling answers with a status and a piece of a body, of which the rest comes
// after a minute.
func stalling(status int, first, rest string, fields ...string) *http.Response {
	ch := make(chan any)
	go func() {
		defer close(ch)
		ch <- first
		time.Sleep(time.Minute)
		select {
		case ch <- rest:
		case <-time.After(time.Minute): // nobody reads it
		}
	}()
	resp := reply(status, append(fields, "Content-Type", "application/json")...)
	resp.ContentLength, resp.Body = -1, &answerBody{pieces: ch}
	return resp
}

func TestRefusalWhoseBodyStallsIsReadByItsHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n == 1 {
				return stalling(429, `{"error":`, `{}}`, "Retry-After", "5"), nil
			}
			return reply(200), nil
		}}
		g := openGate(t, f, config.Upstream{Dialect: "openai", Limits: limits("concurrent:1")})
		start := time.Now()
		if status := get(t, g); status != 200 {
			t.Errorf("status %d, want 200", status)
		}
		if took := time.Since(start); took < 5*time.Second || took > 8*time.Second {
			t.Errorf("took %v, want the pause of 5s, not the minute of the body", took)
		}
		time.Sleep(5 * time.Minute)
		free(t, g)
	})
}

func TestBodyThatStallsIsPassedOnWhole(t *testing.T) {
	tests := []struct {
		name    string
		attempt time.Duration
		after   time.Duration // the answer is had
	}{
		{"after a second", 0, time.Second},
		{"after the attempt's time, if that is shorter", 200 * time.Millisecond, 200 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(int, *http.Request) (*http.Response, error) { return stalling(400, `{"a":`, `1}`), nil }}
				g := openGate(t, f, config.Upstream{
					Dialect: "openai", Limits: limits("concurrent:1"),
					Timeout: config.Timeout{Attempt: config.Duration(test.attempt), IdleStream: config.Duration(2 * time.Minute)},
				})
				start := time.Now()
				resp, err := g.Client("api").Get("/x")
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start) - time.Millisecond; took != test.after {
					t.Errorf("answered after %v, want %v", took, test.after)
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != `{"a":` || time.Since(start) > 2*time.Second {
					t.Errorf("read %q and %v after %v, want what has come at once", got, err, time.Since(start))
				}
				rest, err := io.ReadAll(resp.Body)
				if string(rest) != `1}` || err != nil {
					t.Errorf("the rest is %q, %v, want all of it", rest, err)
				}
				resp.Body.Close()
				free(t, g)
			})
		})
	}
}

func TestClosingABodyThatStallsEndsItsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(int, *http.Request) (*http.Response, error) { return stalling(400, `{"a":`, `1}`), nil }}
		g := openGate(t, f, config.Upstream{Dialect: "openai", Limits: limits("concurrent:1")})
		resp, err := g.Client("api").Get("/x")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		free(t, g)
		synctest.Wait()
		select {
		case <-resp.Body.(*body).ReadCloser.(*peekedBody).ended:
		default:
			t.Error("the body is still being read, want no longer")
		}
		time.Sleep(5 * time.Minute)
	})
}

func FuzzPeek(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "data: 1\n\n", "event: error\ndata: {}\n\n", ": c\n\ndata: a\ndata: b\r\n\r\n", "data:x\n\nrest", "data\n\n", "event:\n\n",
	} {
		f.Add([]byte(seed), 3, true)
	}
	f.Fuzz(func(t *testing.T, text []byte, chunk int, breaks bool) {
		r := &chunks{text: text, n: max(chunk%7, 1), end: io.EOF}
		if breaks {
			r.end = errBroken
		}
		const most = 64
		resp := &http.Response{Body: io.NopCloser(r)}
		start := peek(resp, most, 0, func(start []byte) bool {
			_, _, ended := dialect.FirstEvent(start)
			return ended
		})
		if len(start) > most || !strings.HasPrefix(string(text), string(start)) {
			t.Fatalf("peeked %q, want at most %d bytes of the beginning of %q", start, most, text)
		}
		if _, _, ended := dialect.FirstEvent(start); !ended && len(start) < min(most, len(text)) {
			t.Fatalf("stopped at %q, which is neither an event nor the end", start)
		}
		got, err := io.ReadAll(resp.Body)
		if string(got) != string(text) || breaks != errors.Is(err, errBroken) {
			t.Fatalf("read %q and %v, want all of %q, broken %t", got, err, text, breaks)
		}
	})
}

// chunks hands out n bytes at a time, and then an error.
type chunks struct {
	text []byte
	n    int
	end  error
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, c.end
	}
	n := copy(p[:min(len(p), c.n)], c.text)
	c.text = c.text[n:]
	return n, nil
}
