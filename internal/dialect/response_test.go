package dialect

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadResponseTakesLastBlock(t *testing.T) {
	for _, c := range []struct {
		name, in string
		status   int
		header   http.Header
		body     string
	}{
		{"plain", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\n\r\nslow down\r\n", 429, header("Retry-After:30"), "slow down\r\n"},
		{"LF", "HTTP/1.1 200 OK\nA: 1\na: 2\n\n{}\n", 200, http.Header{"A": {"1", "2"}}, "{}\n"},
		{"HTTP/2 without a reason", "HTTP/2 429 \r\nretry-after: 5\r\n\r\n", 429, header("Retry-After:5"), ""},
		{"HTTP/3, nothing behind the status", "HTTP/3 503\n\n", 503, http.Header{}, ""},
		{"100 Continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nA: 1\r\n\r\nx", 201, header("A:1"), "x"},
		{"proxy", "HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\nHTTP/2 404 \r\nA: 1\r\n\r\n", 404, header("A:1"), ""},
		{"redirects", "HTTP/2 301 \nLocation: /a\n\nHTTP/2 302 \nLocation: /b\n\nHTTP/2 200 \nA: 1\n\nend", 200, header("A:1"), "end"},
		{"body shorter than said", "HTTP/1.1 500 X\nContent-Length: 100\n\nhal", 500, header("Content-Length:100"), "hal"},
		{"cut off in the header", "HTTP/1.1 429 X\nA: 1", 429, header("A:1"), ""},
		{"cut off behind the status", "HTTP/1.1 429 X", 429, http.Header{}, ""},
		{"blank lines before", "\r\n \n\nHTTP/1.1 200 OK\n\n", 200, http.Header{}, ""},
		{"folded field", "HTTP/1.1 200 OK\nA: 1,\n  2\n\t3\n\n", 200, header("A:1, 2 3"), ""},
		{"byte order mark", "\ufeffHTTP/1.1 200 OK\nA: 1\n\n", 200, header("A:1"), ""},
		{"blanks in front of a colon", "HTTP/1.1 200 OK\nA \t: 1\n\n", 200, header("A:1"), ""},
		{"colons in values", "HTTP/1.1 200 OK\nDate: 12:00:00\nB:\n\n", 200, http.Header{"Date": {"12:00:00"}, "B": {""}}, ""},
		{"body with blank lines", "HTTP/1.1 200 OK\n\n\n\nHTTP/1.1 is old\n", 200, http.Header{}, "\n\nHTTP/1.1 is old\n"},
		{"body that begins like a response", "HTTP/1.1 200 OK\n\nHTTP/1.1 is old\n", 200, http.Header{}, "HTTP/1.1 is old\n"},
	} {
		status, h, body, err := ReadResponse(iotest.OneByteReader(strings.NewReader(c.in)))
		if err != nil || status != c.status || !reflect.DeepEqual(h, c.header) || string(body) != c.body {
			t.Errorf("%s: ReadResponse(%q)\n got %d %q %q %v\nwant %d %q %q", c.name, c.in, status, h, body, err, c.status, c.header, c.body)
		}
	}
}

func TestReadResponseSaysWhatItExpected(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "read response: no input; " + wantResponse,
		"\n \r\n":                            "read response: no input; " + wantResponse,
		"{}":                                 `read response: line 1: "{}"; ` + wantResponse,
		"\n< HTTP/1.1 200 OK":                `read response: line 2: "< HTTP/1.1 200 OK"; ` + wantResponse,
		"HTTP/1.1":                           `read response: line 1: "HTTP/1.1"; ` + wantResponse,
		"HTTP/x 200 OK":                      `read response: line 1: "HTTP/x 200 OK"; ` + wantResponse,
		"HTTP/1.1 20 OK":                     `read response: line 1: "HTTP/1.1 20 OK"; ` + wantResponse,
		"HTTP/1.1 099 OK":                    `read response: line 1: "HTTP/1.1 099 OK"; ` + wantResponse,
		"HTTP/1.1 2000 OK":                   `read response: line 1: "HTTP/1.1 2000 OK"; ` + wantResponse,
		"HTTP/1.1 200 OK\nA: 1\n<html>":      `read response: line 3: "<html>"; want a header field such as "Retry-After: 30", or an empty line before the body`,
		"HTTP/1.1 200 OK\n A: 1\n":           `read response: line 2: " A: 1"; want a header field such as "Retry-After: 30", or an empty line before the body`,
		"HTTP/1.1 200 OK\n\nHTTP/2 200 \n:x": `read response: line 4: ":x"; want a header field such as "Retry-After: 30", or an empty line before the body`,
	} {
		_, h, body, err := ReadResponse(strings.NewReader(in))
		if err == nil || err.Error() != want || h != nil || body != nil {
			t.Errorf("ReadResponse(%q)\n got %v\nwant %s", in, err, want)
		}
	}
}

func TestReadResponseReportsReader(t *testing.T) {
	broken := errors.New("broken")
	_, _, _, err := ReadResponse(io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\n\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("error of a broken reader = %v, want %v", err, broken)
	}
}

func TestReadResponseReadsStartOfLargeBody(t *testing.T) {
	head := "HTTP/1.1 200 OK\n\n"
	_, _, body, err := ReadResponse(strings.NewReader(head + strings.Repeat("x", 2*responseMax)))
	if want := responseMax - len(head); err != nil || len(body) != want {
		t.Errorf("%d bytes of body, %v, want %d", len(body), err, want)
	}
}

// A field folded over very many lines must take time in proportion: joined line
// by line, this one takes minutes.
func TestReadResponseUnfoldsLongFieldsOnce(t *testing.T) {
	const folds = 300_000
	in := "HTTP/1.1 200 OK\nA: 1\n" + strings.Repeat(" 2\n", folds) + "B: 3\n\n"
	_, h, _, err := ReadResponse(strings.NewReader(in))
	if want := "1" + strings.Repeat(" 2", folds); err != nil || h.Get("A") != want || h.Get("B") != "3" {
		t.Errorf("A has %d bytes, B is %q, %v, want %d bytes and 3", len(h.Get("A")), h.Get("B"), err, len(want))
	}
}

func FuzzReadResponse(f *testing.F) {
	for _, s := range samples(f) {
		var b strings.Builder
		b.WriteString("HTTP/1.1 429 Too Many Requests\r\n")
		for name, values := range s.Headers {
			for _, v := range values {
				b.WriteString(name + ": " + v + "\r\n")
			}
		}
		f.Add(b.String() + "\r\n" + s.Body)
	}
	f.Add("HTTP/1.1 200 Connection established\n\nHTTP/2 301 \nLocation: /\n\nHTTP/2 429 \nA: 1,\n 2\n\nbody")
	f.Fuzz(func(t *testing.T, in string) {
		status, h, body, err := ReadResponse(strings.NewReader(in))
		status2, h2, body2, err2 := ReadResponse(strings.NewReader(in))
		if status != status2 || !reflect.DeepEqual(h, h2) || string(body) != string(body2) || (err == nil) != (err2 == nil) {
			t.Errorf("ReadResponse(%q) differs the second time", in)
		}
		if err != nil {
			return
		}
		if status < 100 || status > 999 || h == nil || !strings.HasSuffix(in, string(body)) {
			t.Errorf("ReadResponse(%q) = %d %q %q", in, status, h, body)
		}
		checkReading(t, standard.Read(Answer{Status: status, Header: h, Body: body}, t0))
	})
}
