package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// ambiguous are streams that hold one clean request at most before what must
// be refused, and why it is.
var ambiguous = []struct {
	name, text string
	clean      int // requests before it
	why        error
}{
	{"CL and TE", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 0, errBothFramed},
	{"TE and CL", "POST /api/ HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n", 0, errBothFramed},
	{"TE and CL 0", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 0, errBothFramed},
	{"two equal CLs", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 0, errLength},
	{"two CLs", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 0, errLength},
	{"CL list", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nabcd", 0, errLength},
	{"CL signed", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd", 0, errLength},
	{"CL hexadecimal", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nabcd", 0, errLength},
	{"CL with a vertical tab", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: \v4\r\n\r\nabcd", 0, errLength},
	{"CL empty", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n", 0, errLength},
	{"CL of 2^63", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808\r\n\r\n", 0, errLength},
	{"TE identity", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 0, errCoding},
	{"TE list", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"TE list with gzip", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"TE twice", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"TE empty", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"TE quoted", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"TE with a control character", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"TE in HTTP/1.0", "POST /api/ HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"TE in HTTP/1.2", "POST /api/ HTTP/1.2\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, errCoding},
	{"folded field", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n", 0, errFold},
	{"folded with a tab", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A:\r\n\t1\r\n\r\n", 0, errFold},
	{"folded first field", "GET /api/ HTTP/1.1\r\n X-A: 1\r\nHost: x\r\n\r\n", 0, errFold},
	{"line of spaces", "GET /api/ HTTP/1.1\r\nHost: x\r\n  \r\n\r\n", 0, errFold},
	{"space before colon", "GET /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n", 0, errField},
	{"tab before colon", "GET /api/ HTTP/1.1\r\nHost: x\r\nContent-Length\t: 5\r\n\r\n", 0, errField},
	{"NUL in a name", "GET /api/ HTTP/1.1\r\nHost: x\r\nContent-Length\x00: 5\r\n\r\n", 0, errField},
	{"name not ASCII", "GET /api/ HTTP/1.1\r\nHost: x\r\nContent-Length\xa0: 5\r\n\r\n", 0, errField},
	{"no name", "GET /api/ HTTP/1.1\r\nHost: x\r\n: 5\r\n\r\n", 0, errField},
	{"no colon", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n", 0, errField},
	{"bare LF after the request line", "GET /api/ HTTP/1.1\nHost: x\r\n\r\n", 0, errBareLF},
	{"bare LF after a field", "GET /api/ HTTP/1.1\r\nHost: x\nX-A: 1\r\n\r\n", 0, errBareLF},
	{"bare LF at the end", "GET /api/ HTTP/1.1\r\nHost: x\r\n\n", 0, errBareLF},
	{"bare LFs only", "GET /api/ HTTP/1.1\nHost: x\n\n", 0, errBareLF},
	{"bare LF in front", "\nGET /api/ HTTP/1.1\r\nHost: x\r\n\r\n", 0, errBareLF},
	{"bare CR in the target", "GET /api/\r HTTP/1.1\r\nHost: x\r\n\r\n", 0, errBareCR},
	{"bare CR in a value", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A: a\rContent-Length: 5\r\n\r\n", 0, errBareCR},
	{"bare CRs only", "GET /api/ HTTP/1.1\rHost: x\r\r", 0, errBareCR},
	{"two CRs", "GET /api/ HTTP/1.1\r\nHost: x\r\r\n\r\n", 0, errBareCR},
	{"NUL in a value", "GET /api/ HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", 0, errNUL},
	{"NUL in the target", "GET /api/\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 0, errNUL},
	{"HTTP/0.9", "GET /api/\r\n", 0, errRequestLine},

	{"second head", "GET /api/ HTTP/1.1\r\nHost: x\r\n\r\nGET /api/ HTTP/1.1\nHost: x\n\n", 1, errBareLF},
	{"head behind a body", "POST /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /api/ HTTP/1.1\nHost: x\n\n", 1, errBareLF},
	{"head behind chunks", "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\nGET /api/ HTTP/1.1\nHost: x\n\n", 1, errBareLF},
}

// badChunks follow the head of a chunked request.
var badChunks = []struct {
	name, text string
	why        error
}{
	{"not a number", "zz\r\n", errChunkSize},
	{"no number", "\r\nab", errChunkSize},
	{"extension alone", ";a\r\nab", errChunkSize},
	{"prefix", "0x2\r\nab\r\n0\r\n\r\n", errChunkSize},
	{"sign", "+2\r\nab\r\n0\r\n\r\n", errChunkSize},
	{"space in front", " 2\r\nab\r\n0\r\n\r\n", errChunkSize},
	{"space behind", "2 \r\nab\r\n0\r\n\r\n", errChunkSize},
	{"space before an extension", "2 ;a\r\nab\r\n0\r\n\r\n", errChunkSize},
	{"overflow of 64 bits", "10000000000000002\r\nab\r\n0\r\n\r\n", errChunkSize},
	{"overflow of 63 bits", "8000000000000000\r\nab\r\n0\r\n\r\n", errChunkSize},
	{"overflow of 32 bits, to 0 in all", "100000000000000000\r\n\r\n", errChunkSize},
	{"NUL", "2\x00\r\nab\r\n0\r\n\r\n", errChunkSize},
	{"bare LF behind the size", "2\nab\r\n0\r\n\r\n", errBareLF},
	{"bare LF behind an extension", "2;a\nab\r\n0\r\n\r\n", errBareLF},
	{"bare LF within an extension", "2;\nxx\r\nab\r\n0\r\n\r\n", errBareLF},
	{"bare CR behind the size", "2\rab\r\n0\r\n\r\n", errBareCR},
	{"bare CR in an extension", "2;a\rb\r\nab\r\n0\r\n\r\n", errBareCR},
	{"NUL in an extension", "2;a\x00\r\nab\r\n0\r\n\r\n", errChunkLine},
	{"endless extension", "2;" + strings.Repeat("a", 5000) + "\r\nab\r\n0\r\n\r\n", errChunkLine},
	{"extensions without end", strings.Repeat("1;"+strings.Repeat("a", 4000)+"\r\na\r\n", 10), errChunkExcess},
	{"data too long", "2\r\nabcdef\r\n0\r\n\r\n", errChunkEnd},
	{"bare LF behind data", "2\r\nab\n0\r\n\r\n", errChunkEnd},
	{"bare CR behind data", "2\r\nab\r0\r\n\r\n", errChunkEnd},
	{"bare LF behind the last chunk", "2\r\nab\r\n0\n\r\n", errBareLF},
	{"bare LF at the end", "2\r\nab\r\n0\r\n\n", errBareLF},
	{"bare CR at the end", "2\r\nab\r\n0\r\n\rG", errBareCR},
	{"trailer folded", "0\r\nX-A: 1\r\n 2\r\n\r\n", errFold},
	{"trailer with a bare LF", "0\r\nX-A: 1\n\r\n", errBareLF},
	{"trailer with a bare CR", "0\r\nX-A: 1\r2\r\n\r\n", errBareCR},
	{"trailer with space before its colon", "0\r\nX-A : 1\r\n\r\n", errTrailer},
	{"trailer that is a request", "0\r\nGET /api/ HTTP/1.1\r\nHost: x\r\n\r\n", errTrailer},
	{"trailer with NUL", "0\r\nX-A: \x00\r\n\r\n", errTrailer},
	{"endless trailers", "0\r\n" + strings.Repeat("X-A: 1\r\n", 600) + "\r\n", errTrailer},
}

const chunkedHead = "POST /api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

// split follows text in pieces of at most size bytes, as a connection does, and
// returns what it was cut into: requests, of which the last may not be whole.
func split(text []byte, size int) (requests [][]byte, err error) {
	var f frames
	var own, held []byte
	for len(text) > 0 || len(held) > 0 {
		n := min(size, len(text))
		held, text = append(held, text[:n]...), text[n:]
		for len(held) > 0 {
			m, err := f.follow(held)
			if err != nil {
				return requests, err
			}
			own, held = append(own, held[:m]...), held[m:]
			if m == 0 {
				break
			}
			if f.at == inHead {
				requests, own = append(requests, own), nil
			}
		}
		if n == 0 {
			break
		}
	}
	if len(own)+len(held) > 0 {
		requests = append(requests, append(own, held...))
	}
	return requests, nil
}

func TestFramesRefuseWhatIsAmbiguousHoweverItComes(t *testing.T) {
	check := func(name, text string, clean int, want error) {
		for _, size := range []int{1, 2, 3, 7, 16, len(text)} {
			requests, err := split([]byte(text), size)
			if !errors.Is(err, want) || len(requests) != clean {
				t.Errorf("%s in pieces of %d: %q = %q, %v, want %d requests, then %v", name, size, text, requests, err, clean, want)
			}
		}
	}
	for _, c := range ambiguous {
		check(c.name, c.text, c.clean, c.why)
	}
	for _, c := range badChunks {
		check(c.name, chunkedHead+c.text, 0, c.why)
	}
}

func TestFramesTakeWhatIsClean(t *testing.T) {
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/9.9\r\n\r\n", // net/http has an answer to that
		"POST / HTTP/1.1\r\nHost:x\r\nCONTENT-LENGTH:\t 005 \t\r\n\r\n\r\n\r\n\n",
		"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nGET /",
		"POST / HTTP/1.1\r\nHost: x\r\nTRANSFER-ENCODING: \t Chunked \r\n\r\n000a;x=\"y z\";\tq\r\n0123456789\r\nA\r\n0123456789\r\n0000\r\nX-A: \t\xff\r\nX-B:\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000001;" + strings.Repeat("a", 4075) + "\r\na\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encodings: a\r\nContent-Lengths: b\r\n\r\n",
		"\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\nall that follows",
	} {
		for size := 1; size <= len(request); size++ {
			requests, err := split([]byte("GET /a HTTP/1.1\r\n\r\n"+request), size)
			if err != nil || len(requests) != 2 || string(requests[1]) != request {
				t.Fatalf("%q in pieces of %d = %q, %v, want it whole", request, size, requests, err)
			}
		}
	}
}

// FuzzFramesAgreeWithNetHTTP holds that what passes is cut the same way by
// net/http, and that it does not matter how a stream comes.
func FuzzFramesAgreeWithNetHTTP(f *testing.F) {
	for _, c := range ambiguous {
		f.Add([]byte(c.text), byte(5))
	}
	for _, c := range badChunks {
		f.Add([]byte(chunkedHead+c.text), byte(5))
	}
	f.Add([]byte(chunkedHead+"3;a\r\nabc\r\n0\r\nX-T: 1\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\n"), byte(1))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\r\n\r\n\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"), byte(2))
	f.Fuzz(func(t *testing.T, text []byte, size byte) {
		requests, err := split(text, len(text))
		pieces, perr := split(text, int(size)+1)
		if fmt.Sprint(requests, err == nil) != fmt.Sprint(pieces, perr == nil) {
			t.Fatalf("%q as a whole: %q, %v, in pieces of %d: %q, %v", text, requests, err, int(size)+1, pieces, perr)
		}
		for i, own := range requests {
			const next = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
			r := bufio.NewReader(io.MultiReader(bytes.NewReader(own), strings.NewReader(next)))
			if i == len(requests)-1 {
				var f frames
				if n, _ := f.follow(own); n < len(own) || f.at != inHead {
					return // not whole
				}
			}
			req, err := http.ReadRequest(r)
			if err != nil {
				return // refused by net/http, which closes then
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				t.Fatalf("%q: net/http reads its body with %v", own, err)
			}
			if left, _ := io.ReadAll(r); string(left) != next {
				t.Fatalf("%q: net/http leaves %q, want what comes next", own, left)
			}
		}
	})
}

// plainGET has a head of ten lines.
const plainGET = "GET /api/v1/models?limit=20 HTTP/1.1\r\nHost: gateway.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
	"Accept: application/json\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Authorization: Bearer hg_0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\nPriority: u=3\r\nX-Request-Id: 5f0c1f6e\r\n\r\n"

func BenchmarkFramesPlainGET(b *testing.B) {
	var f frames
	text := []byte(plainGET)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := f.follow(text); n != len(text) || err != nil {
			b.Fatal(n, err)
		}
	}
}
