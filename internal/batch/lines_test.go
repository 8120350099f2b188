package batch

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// readAll reads all lines, as "number text" or "number! why".
func readAll(t testing.TB, next func() (line, error)) []string {
	t.Helper()
	var all []string
	for range 1000 {
		l, err := next()
		wrong := (*badLine)(nil)
		switch {
		case errors.Is(err, io.EOF):
			return all
		case errors.As(err, &wrong):
			all = append(all, fmt.Sprintf("%d! %s", l.number, wrong.why))
		case err != nil:
			return append(all, "error "+err.Error())
		default:
			all = append(all, fmt.Sprintf("%d %s", l.number, l.text))
		}
	}
	t.Fatal("no end")
	return nil
}

func TestLinesOfJSON(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for input, want := range map[string][]string{
		"":                                   nil,
		"\uFEFF1\r\n\n  \n2":                 {"1 1", "4 2"},
		"\xff\n2\n":                          {"1! not UTF-8 text", "2 2"},
		long + "\n2\n":                       {"1 " + long, "2 2"},
		strings.Repeat(long, 4) + "\n2":      {"1! longer than 1 MiB", "2 2"},
		strings.Repeat("x", 1<<20) + "\r\n2": {"1 " + strings.Repeat("x", 1<<20), "2 2"},
	} {
		if got := readAll(t, newLineReader(strings.NewReader(input), 1<<20).next); !slices.Equal(got, want) {
			t.Errorf("lines of %.40q… = %.80q, want %.80q", input, got, want)
		}
	}
}

func TestRowsOfCSV(t *testing.T) {
	for input, want := range map[string][]string{
		"":                                   nil,
		"a,b\n":                              nil,
		"\uFEFFa,b\n1,2\r\n":                 {`2 {"a":"1","b":"2"}`},
		"a,b\n\"x\ny\",\"\"\"q\"\"\"\n3,4\n": {`2 {"a":"x\ny","b":"\"q\""}`, `4 {"a":"3","b":"4"}`},
		"a,b\n1\n2,3\n":                      {"2! has 1 fields, and the first row 2", `3 {"a":"2","b":"3"}`},
		"a,b\n1,x\"y\n2,3\n":                 {`2! not CSV: bare " in non-quoted-field`, `3 {"a":"2","b":"3"}`},
		"a,b\n1,\xff\n2,3\n":                 {"2! not UTF-8 text", `3 {"a":"2","b":"3"}`},
		"a,a\n1,2\n":                         {`error the first row, which names the columns, has "a" twice`},
		"a\n\"open\n1\n":                     {`2! not CSV: extraneous or missing " in quoted-field`},
	} {
		if got := readAll(t, newRowReader(strings.NewReader(input), 1<<20).next); !slices.Equal(got, want) {
			t.Errorf("rows of %q = %q, want %q", input, got, want)
		}
	}
}

// endless is a CSV file in which a quote is never closed.
type endless struct{ begun bool }

func (e *endless) Read(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		return copy(p, "a\n\""), nil
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestOpenQuoteIsFound(t *testing.T) {
	if got := readAll(t, newRowReader(&endless{}, 1<<20).next); len(got) != 1 || !strings.Contains(got[0], "is a quote open?") {
		t.Errorf("read %.80q, want the error", got)
	}
}

func FuzzLinesAreCountedAsTheyAreRead(f *testing.F) {
	for _, seed := range []string{"", "1\n2", "1\r\n\r\n2\n", "\n\n", "a,b\n\"1\n\",2\n", "a\n\"\"\"\"\n"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, input string, isCSV bool) {
		counted, err := countLines(strings.NewReader(input), isCSV)
		if err != nil {
			t.Fatal(err)
		}
		if isCSV {
			got := readAll(t, newRowReader(strings.NewReader(input), 1<<20).next)
			if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "! ") || strings.HasPrefix(s, "error") }) {
				return // the count is of what is whole
			}
			if strings.ContainsAny(input, "\r\uFEFF") {
				return // a lone CR is no end of a line, and one before it is
			}
			if int(counted) != len(got) {
				t.Errorf("counted %d rows of %q, read %q", counted, input, got)
			}
			return
		}
		got := readAll(t, newLineReader(strings.NewReader(input), 1<<20).next)
		if int(counted) < len(got) {
			t.Errorf("counted %d lines of %q, read %q", counted, input, got)
		}
	})
}

func FuzzResultsAreReadBack(f *testing.F) {
	f.Add("r-1", `{"ok": true}`, "")
	f.Add("a\"\\\n\u2028", "text\xff", "overloaded")
	f.Add("", "", "fatal")
	f.Fuzz(func(t *testing.T, id, body, code string) {
		r := result{id: id, code: code, message: body, response: response(200, body)}
		text := r.line()
		if n := strings.Count(string(text), "\n"); n != 1 || text[len(text)-1] != '\n' {
			t.Fatalf("result %q is not one line", text)
		}
		want := known{id: strings.ToValidUTF8(id, "\uFFFD"), failed: code != "", invalid: code == codeInvalidLine}
		got, ok := readResult(text[:len(text)-1])
		if got.id != want.id && !reflect.DeepEqual(id, want.id) {
			got.id = want.id // bytes that are not UTF-8 are replaced one by one
		}
		if !ok || got != want {
			t.Errorf("result %q is read as %+v, %v, want %+v", text, got, ok, want)
		}
	})
}

func TestTargetsAreOfTheUpstream(t *testing.T) {
	for _, s := range []struct{ upstream, text, want string }{
		{"https://api.test", "/v1/x?q=%2F", "/v1/x?q=%2F"},
		{"https://api.test", "https://API.test/v1/x?q=1", "/v1/x?q=1"},
		{"https://api.test", "https://api.test", "/"},
		{"https://api.test/base/", "https://api.test/base/v1", "/v1"},
		{"https://api.test/base", "https://api.test/basement", "/basement"},
		{"https://api.test", "v1/x", "!want a path"},
		{"https://api.test", "", "!want a path"},
		{"https://api.test", "https://other.test/v1/x", "!is not of the upstream"},
		{"https://api.test", "//other.test/v1/x", "!is not of the upstream"},
		{"https://api.test", "/a b\x7f", "!invalid control character"},
	} {
		upstream, err := url.Parse(s.upstream)
		if err != nil {
			t.Fatal(err)
		}
		got, err := targetOf(s.text, upstream)
		want, refused := strings.CutPrefix(s.want, "!")
		switch {
		case refused && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("target %q of %s = %v, %v, want an error: %s", s.text, s.upstream, got, err, want)
		case !refused && (err != nil || got.String() != want):
			t.Errorf("target %q of %s = %v, %v, want %s", s.text, s.upstream, got, err, want)
		}
	}
}
