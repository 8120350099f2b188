package tokens

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/dialect"
)

// FuzzReader feeds any bytes as any kind of body: in one piece and in many they
// tell the same, which adds up.
func FuzzReader(f *testing.F) {
	for _, body := range bodies(f) {
		f.Add(body, uint8(3), uint8(0))
		f.Add(body, uint8(1), uint8(1))
	}
	f.Add(awsMessage("", `{"usage":{"inputTokens":1,"outputTokens":2}}`), uint8(4), uint8(2))
	names := []string{"openai", "anthropic", "gemini", "bedrock"}
	f.Fuzz(func(t *testing.T, body []byte, piece, kind uint8) {
		h := contentType([]string{"application/json", "text/event-stream", "application/vnd.amazon.eventstream"}[kind%3])
		for _, name := range names {
			e := estimator(t, name)
			whole, pieces := read(e, h, body, len(body)+1, true), read(e, h, body, int(piece)+1, true)
			if whole != pieces {
				t.Errorf("%s: %q at once = %+v, in pieces of %d = %+v", name, body, whole, int(piece)+1, pieces)
			}
			if s := whole; s.Input < 0 || s.Output < 0 || s.Input+s.Output != s.Total || s.Total > 4*maxCount {
				t.Errorf("%s: %q = %+v", name, body, s)
			}
		}
	})
}

// FuzzDocument reads an object once with encoding/json, once with the scanner.
func FuzzDocument(f *testing.F) {
	for _, body := range bodies(f) {
		f.Add(body)
	}
	f.Add([]byte(`{"max_tokens":12.5,"stream":true,"model":"\u00e9","n":"3","a":[{"model":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v map[string]any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if d.Decode(&v) != nil || v == nil {
			return
		}
		// Written anew it has no member twice and no escaped name that counts.
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"openai", "anthropic", "gemini", "bedrock", "cohere"} {
			p, _ := dialect.PresetOf(name)
			e := New(*p.Usage)
			s := scanner{root: e.answer}
			if n, ended := s.next(body); n != len(body) || !ended || !s.complete() {
				t.Fatalf("%s: took %d of %d bytes, ended %t", body, n, len(body), ended)
			}
			for slot, paths := range map[slot][]string{
				totalSlot: p.Usage.Total, inputSlot: p.Usage.Input, moreSlot: p.Usage.InputMore, outputSlot: p.Usage.Output,
			} {
				want, wantRank := number(v, paths)
				if got := s.values[slot]; got.n != want || int(got.rank) != wantRank {
					t.Errorf("%s, slot %d of %s: %+v, want %d from path %d", body, slot, name, got, want, wantRank)
				}
			}
			if got, want := e.Request(body, "/").Answers, wantAnswers(v, p.Usage.Answers); got != want {
				t.Errorf("%s, answers of %s: %d, want %d", body, name, got, want)
			}
		}
	})
}

func wantAnswers(v map[string]any, paths []string) int64 {
	n, _ := number(v, paths)
	return max(n, 1)
}

// number returns what the first of some paths has that leads to a count, and
// which of them that is, from 1.
func number(v map[string]any, paths []string) (n int64, rank int) {
	for i, path := range paths {
		var at any = v
		for name := range strings.SplitSeq(path, ".") {
			in, _ := at.(map[string]any)
			at = in[name]
		}
		text := ""
		switch at := at.(type) {
		case json.Number:
			text = at.String()
		case string:
			text = at
		}
		f, err := strconv.ParseFloat(text, 64)
		if err == nil && text[0] >= '0' && text[0] <= '9' && f <= maxCount && len(text) <= maxText {
			return int64(f), i + 1
		}
	}
	return 0, 0
}

// FuzzRequest: no request is too odd to be estimated.
func FuzzRequest(f *testing.F) {
	for _, body := range bodies(f) {
		f.Add(body, "/v1/models/x:stream")
	}
	f.Add([]byte(`{"model":"m","max_tokens":1e9,"n":1000000000,"generationConfig":{"maxOutputTokens":"8"}}`), "/model/a")
	f.Fuzz(func(t *testing.T, body []byte, path string) {
		for _, name := range []string{"openai", "gemini"} {
			e := estimator(t, name)
			a := e.Request(body, path)
			if a.Bytes < 0 || a.Bytes > int64(len(body)) || a.Cap < 0 || a.Answers < 1 || len(a.Model) > maxText {
				t.Errorf("%s: Request(%q, %q) = %+v", name, body, path, a)
			}
			if n := e.Estimate(a); n < 1 || n > maxWeight {
				t.Errorf("%s: Estimate(%+v) = %d", name, a, n)
			}
		}
	})
}

func bodies(f *testing.F) (all [][]byte) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) == 0 {
		f.Fatal("no bodies in testdata: ", err)
	}
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, body)
	}
	return all
}
