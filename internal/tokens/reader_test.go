package tokens

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/headgate/headgate/internal/dialect"
)

// answersOf are answers in the form that the vendors' references print, and what
// they tell when they are read to their end.
var answersOf = []struct {
	dialect, file string
	want          Spent
}{
	{"openai", "openai-chat.json", Spent{19, 110, 129, true}},
	{"openai", "openai-chat-stream.sse", Spent{24, 9, 33, true}},
	{"openai", "openai-chat-stream-silent.sse", Spent{}},
	{"openai", "openai-responses.json", Spent{36, 87, 123, true}},
	{"openai", "openai-responses-stream.sse", Spent{37, 11, 48, true}},
	{"anthropic", "anthropic.json", Spent{4146, 503, 4649, true}},
	{"anthropic", "anthropic-stream.sse", Spent{125, 15, 140, true}},
	{"anthropic", "anthropic-stream-error.sse", Spent{25, 1, 26, false}},
	{"gemini", "gemini.json", Spent{8, 746, 754, true}},
	{"gemini", "gemini-stream.sse", Spent{8, 746, 754, true}},
	{"gemini", "gemini-stream.json", Spent{8, 11, 19, true}},
	{"vertex", "gemini.json", Spent{8, 746, 754, true}},
	{"bedrock", "bedrock-converse.json", Spent{30, 628, 658, true}},
	{"groq", "groq-stream.sse", Spent{37, 46, 83, true}},
	{"cohere", "cohere.json", Spent{5, 418, 423, true}},
	{"cohere", "cohere-stream.sse", Spent{3, 233, 236, true}},
	{"mistral", "mistral.json", Spent{16, 34, 50, true}},
}

func TestReaderReadsWhatVendorsTell(t *testing.T) {
	for _, a := range answersOf {
		body, h := recorded(t, a.file)
		e := estimator(t, a.dialect)
		for _, piece := range []int{1, 2, 7, 4096} {
			if got := read(e, h, body, piece, true); got != a.want {
				t.Errorf("%s in pieces of %d = %+v, want %+v", a.file, piece, got, a.want)
			}
		}
	}
}

// Wherever a body breaks off it tells no more than it would have in the end, and
// none but the last of it makes that known.
func TestReaderOfABrokenAnswer(t *testing.T) {
	for _, a := range answersOf {
		body, h := recorded(t, a.file)
		body = bytes.TrimRight(body, "\r\n")
		e := estimator(t, a.dialect)
		for n := range body {
			got := read(e, h, body[:n], 4096, false)
			if got.Known || got.Total > a.want.Total || got.Input+got.Output != got.Total {
				t.Errorf("%s, %d bytes of %d = %+v, want less than %+v, unknown", a.file, n, len(body), got, a.want)
			}
		}
		got, want := read(e, h, body[:len(body)-2], 4096, false), a.want
		want.Known = false
		if got != want {
			t.Errorf("%s but for 2 bytes = %+v, want %+v", a.file, got, want)
		}
	}
}

func recorded(t *testing.T, file string) (body []byte, h http.Header) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(file, ".sse") {
		return body, contentType("text/event-stream; charset=utf-8")
	}
	return body, contentType("application/json")
}

func TestReaderReadsStreamsOfAWS(t *testing.T) {
	var body []byte
	for _, payload := range []string{
		`{"p":"abcd","role":"assistant"}`,
		`{"contentBlockIndex":0,"delta":{"text":"\"usage\":{}"},"p":"abc"}`,
		``,
		`{"metrics":{"latencyMs":813},"p":"a","usage":{"inputTokens":12,"outputTokens":34,"totalTokens":46}}`,
	} {
		body = append(body, awsMessage("\x0b:event-type\x07\x00\x08metadata", payload)...)
	}
	e := estimator(t, "bedrock")
	h := contentType("application/vnd.amazon.eventstream")
	for _, piece := range []int{1, 5, 13, 4096} {
		if got, want := read(e, h, body, piece, true), (Spent{12, 34, 46, true}); got != want {
			t.Errorf("pieces of %d = %+v, want %+v", piece, got, want)
		}
	}
	body[3] = 1 // a message of 1 byte
	if got := read(e, h, body, 4096, true); got != (Spent{}) {
		t.Errorf("with an impossible length = %+v, want nothing", got)
	}
}

func TestReaderReadsWrappedStreamsOfBedrock(t *testing.T) {
	for name, c := range map[string]struct {
		inner []string
		want  Spent
	}{
		"Claude": {[]string{
			`{"type":"message_start","message":{"usage":{"input_tokens":21,"output_tokens":1}}}`,
			`{"type":"content_block_delta","delta":{"text":"\"usage\":{}"}}`,
			`{"type":"message_delta","usage":{"output_tokens":33}}`,
			`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":21,"outputTokenCount":34,"invocationLatency":551}}`,
		}, Spent{21, 34, 55, true}},
		"one that tells in metrics alone": {[]string{
			`{"generation":"x","prompt_token_count":null,"amazon-bedrock-invocationMetrics":{"inputTokenCount":5,"outputTokenCount":6}}`,
		}, Spent{5, 6, 11, true}},
		"silent": {[]string{`{"outputText":"x"}`}, Spent{}},
	} {
		var body []byte
		for _, s := range c.inner {
			payload := `{"bytes":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `","p":"abcdef"}`
			body = append(body, awsMessage("\x0b:event-type\x07\x00\x05chunk", payload)...)
		}
		for _, piece := range []int{1, 3, 7, 100, 4096} {
			if got := read(estimator(t, "bedrock"), contentType("application/vnd.amazon.eventstream"), body, piece, true); got != c.want {
				t.Errorf("%s in pieces of %d = %+v, want %+v", name, piece, got, c.want)
			}
		}
	}
}

func FuzzWrapping(f *testing.F) {
	f.Add([]byte(`{"bytes":"eyJhIjoxfQ==","p":"a"}`), 3)
	f.Add([]byte(`{"bytes":"!`), 1)
	f.Add([]byte(`{"b":1}`), 2)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		var w wrapping
		var got []byte
		for rest := data; len(rest) > 0; {
			chunk := rest[:min(len(rest), max(piece%16, 1))]
			rest = rest[len(chunk):]
			for len(chunk) > 0 {
				inner, n := w.next(chunk, make([]byte, 0, 12))
				if n > len(chunk) || n == 0 && len(inner) == 0 {
					t.Fatalf("took %d of %d bytes", n, len(chunk))
				}
				got, chunk = append(got, inner...), chunk[n:]
			}
		}
		inner, wrapped := strings.CutPrefix(string(data), wrapMark)
		if len(data) >= len(wrapMark) && !wrapped && string(got) != string(data) {
			t.Fatalf("%q came out as %q", data, got)
		}
		inner, _, _ = strings.Cut(inner, `"`)
		if want, err := base64.StdEncoding.DecodeString(inner); wrapped && err == nil && !strings.ContainsAny(inner, "\r\n\\") && string(got) != string(want) {
			t.Fatalf("%q came out as %q, want %q", data, got, want)
		}
	})
}

func awsMessage(headers, payload string) []byte {
	m := binary.BigEndian.AppendUint32(nil, uint32(16+len(headers)+len(payload)))
	m = binary.BigEndian.AppendUint32(m, uint32(len(headers)))
	m = binary.BigEndian.AppendUint32(m, crc32.ChecksumIEEE(m))
	m = append(append(m, headers...), payload...)
	return binary.BigEndian.AppendUint32(m, crc32.ChecksumIEEE(m))
}

func TestReaderKnows(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}`
	json, stream := contentType("application/json"), contentType("text/event-stream")
	zipped := contentType("application/json")
	zipped.Set("Content-Encoding", "gzip")
	for _, c := range []struct {
		name    string
		dialect string
		h       http.Header
		body    string
		whole   bool
		want    Spent
	}{
		{"a document that has ended, though the body was not", "openai", json, `{` + usage + `}`, false, Spent{3, 4, 7, true}},
		{"no content type", "openai", nil, `{` + usage + `}`, true, Spent{3, 4, 7, true}},
		{"a compressed body", "openai", zipped, `{` + usage + `}`, true, Spent{}},
		{"audio", "openai", contentType("audio/mpeg"), `{` + usage + `}`, true, Spent{}},
		{"usage that is not at the top", "openai", json, `{"message":{` + usage + `},"list":[{` + usage + `}]}`, true, Spent{}},
		{"an embedding: a prompt alone", "openai", json, `{"usage":{"prompt_tokens":8,"total_tokens":8}}`, true, Spent{8, 0, 8, true}},
		{"a total alone", "openai", json, `{"usage":{"total_tokens":8}}`, true, Spent{8, 0, 8, true}},
		{"an answer's tokens alone", "openai", json, `{"usage":{"completion_tokens":8}}`, true, Spent{0, 8, 8, false}},
		{"a total before parts without one", "openai", stream,
			"data:{\"usage\":{\"total_tokens\":5}}\n\ndata:{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n", true, Spent{5, 2, 7, true}},
		{"numbers that are none", "openai", json, `{"usage":{"prompt_tokens":-3,"completion_tokens":1e30,"total_tokens":"many"}}`, true, Spent{}},
		{"numbers written in other ways", "openai", json, `{"usage":{"prompt_tokens":3.0,"completion_tokens":4e0,"total_tokens":"7"}}`, true, Spent{3, 4, 7, true}},
		{"a total that is less than its parts", "openai", json, `{"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":7}}`, true, Spent{7, 0, 7, true}},
		{"documents on end", "openai", contentType("application/x-ndjson"), "{\"a\":1}\n{" + usage + "}\n", true, Spent{3, 4, 7, true}},
		{"lines that end in CR", "openai", stream, "data: {\rdata: " + usage + "}\r\r", true, Spent{3, 4, 7, true}},
		{"comments, names and other fields", "openai", stream, ": data: {\nevent: data\ndat\ndatax: {\nid\ndata:{" + usage + "}", true, Spent{3, 4, 7, true}},
		{"an event left open", "openai", stream, "data: {\"a\": [\"\n\ndata: {" + usage + "}\n\n", true, Spent{3, 4, 7, true}},
		{"an error of the stream", "openai", stream, "data: {" + usage + "}\n\ndata: {\"error\":{\"code\":500}}\n\n", true, Spent{3, 4, 7, false}},
		{"no error", "openai", stream, "data: {\"error\":null," + usage + "}\n\n", true, Spent{3, 4, 7, true}},
		{"the end of a stream that only its mark tells", "openai", stream, "data: {" + usage + "}\n\ndata: [DONE]", false, Spent{3, 4, 7, true}},
		{"nothing", "openai", json, ``, true, Spent{}},
		{"the header", "bedrock", bedrockHeader("12", "34"), `{"results":[]}`, false, Spent{12, 34, 46, true}},
		{"half a header", "bedrock", bedrockHeader("", "34"), `{"results":[]}`, true, Spent{0, 34, 34, false}},
		{"a header that is garbage", "bedrock", bedrockHeader("-1", "NaN"), `{"usage":{"input_tokens":1,"output_tokens":2}}`, true, Spent{1, 2, 3, true}},
	} {
		for _, piece := range []int{1, 3, 4096} {
			if got := read(estimator(t, c.dialect), c.h, []byte(c.body), piece, c.whole); got != c.want {
				t.Errorf("%s: %q in pieces of %d = %+v, want %+v", c.name, c.body, piece, got, c.want)
			}
		}
	}
}

func bedrockHeader(input, output string) http.Header {
	h := contentType("application/json")
	h.Set("X-Amzn-Bedrock-Input-Token-Count", input)
	h.Set("X-Amzn-Bedrock-Output-Token-Count", output)
	return h
}

func TestReaderTakesNoMemoryForItsBody(t *testing.T) {
	if size := unsafe.Sizeof(Reader{}); size > 1024 {
		t.Errorf("a Reader has %d bytes, want 1024 or fewer", size)
	}
	body, err := os.ReadFile("testdata/openai-chat-stream.sse")
	if err != nil {
		t.Fatal(err)
	}
	deep := bytes.Repeat([]byte(`data: {"usage":[{"a":`), 1000)
	e, h := estimator(t, "openai"), contentType("text/event-stream")
	r := e.Reader(h)
	if n := testing.AllocsPerRun(100, func() { r.Feed(body); r.Feed(deep) }); n != 0 {
		t.Errorf("Feed allocates %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { e.Reader(h) }); n > 1 {
		t.Errorf("Reader allocates %v times, want 1", n)
	}
}

func BenchmarkReader(b *testing.B) {
	body, err := os.ReadFile("testdata/openai-chat-stream.sse")
	if err != nil {
		b.Fatal(err)
	}
	u, _ := dialect.PresetOf("openai")
	e, h := New(*u.Usage), contentType("text/event-stream")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := e.Reader(h)
		r.Feed(body)
		if !r.End(true).Known {
			b.Fatal("unknown")
		}
	}
}

func contentType(s string) http.Header { return http.Header{"Content-Type": {s}} }

func estimator(t testing.TB, name string) *Estimator {
	t.Helper()
	p, ok := dialect.PresetOf(name)
	if !ok || p.Usage == nil {
		t.Fatalf("dialect %q knows no tokens", name)
	}
	return New(*p.Usage)
}

func read(e *Estimator, h http.Header, body []byte, piece int, whole bool) Spent {
	r := e.Reader(h)
	for len(body) > 0 {
		n := min(piece, len(body))
		r.Feed(body[:n])
		body = body[n:]
	}
	return r.End(whole)
}
