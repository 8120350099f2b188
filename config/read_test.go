package config

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// secret is what stands in the environment and in files where a test looks
// for leaks.
const secret = "hunter2"

func TestParseReportsEveryFaultWithItsPlace(t *testing.T) {
	t.Setenv("HG_SECRET", secret)
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d broken files, error %v; want at least 25", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("headgate.yaml", data)
			if err == nil {
				t.Fatalf("Parse(%q) = nil error", data)
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("Parse(%q)\n got %s\nwant %s", data, got, want)
			}
			if strings.Contains(got, secret) {
				t.Errorf("error shows a secret: %s", got)
			}
		})
	}
}

func TestLoadReportsUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ path, want string }{
		{filepath.Join(dir, "none.yaml"), "none.yaml: no such file"},
		{dir, ": is a directory; want a file"},
	} {
		_, err := Load(test.path)
		if err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("Load(%s) = %v, want …%s", test.path, err, test.want)
		}
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file = %v, want fs.ErrNotExist in it", err)
	}
}

func TestParseReadsTheWholeExample(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", secret)
	got, err := Load("testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got.hidden = nil
	want := Config{
		Listen: "127.0.0.1:8787", Admin: "127.0.0.1:8788", State: "memory", Namespace: "default", OnStoreLoss: "share",
		Log: Log{Level: "info", Format: "text"},
		Upstreams: map[string]Upstream{
			"openai": {
				URL:         "https://api.openai.com",
				Dialect:     "auto",
				Credentials: []Credential{{Header: "Authorization", Value: NewSecret("Bearer " + secret)}},
				Limits:      []Limit{{Limit: "500/1m"}, {Limit: "tokens:200000/1m"}, {Limit: "concurrent:64"}},
				Retry: Retry{Attempts: 5, Base: Duration(500 * time.Millisecond), Cap: Duration(time.Minute),
					Jitter: "full", Budget: 0.2, Methods: "any"},
				Breaker: Breaker{OpenAfter: OpenAfter{10, time.Minute}, OpenFor: Duration(30 * time.Second), Failures: Failures{0.5, 20}},
				Line:    Line{MaxWait: Duration(2 * time.Minute), MaxLength: 10000, Reserve: Reserve{0.2, 0, 3}},
				Timeout: Timeout{Attempt: Duration(time.Minute), IdleStream: Duration(time.Minute)}, Fallback: []string{"openai-eu"},
			},
			"openai-eu": {URL: "https://eu.api.openai.com", Limits: []Limit{{Limit: "10/1s burst 20", Scope: "credential"}}},
		},
		Clients: []Client{{
			Name: "web", Key: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			Upstreams: []string{"openai"}, Priority: new(1), Weight: 4, Limits: []Limit{{Limit: "100/1s"}},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Load(contract.yaml)\n got %+v\nwant %+v", got, want)
	}
}

func TestLoadReadsJobsAndSources(t *testing.T) {
	got, err := Load("testdata/sources.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []Source{{
		Name: "reviews", Redis: "redis://localhost:6379/0", List: "reviews:pending",
		Request: SourceRequest{
			Upstream: "openai", Method: "POST", Path: "/v1/analyze",
			Headers: map[string]string{"Content-Type": "application/json"},
			Body:    `{"text": {{ json .Message }}}`,
		},
		Results: Destination{Hash: "reviews:results"},
		Dead:    Destination{List: "reviews:dead"},
	}}
	if got.Jobs != "./headgate.db" || !reflect.DeepEqual(got.Sources, want) {
		t.Errorf("jobs %q, sources\n got %+v\nwant %+v", got.Jobs, got.Sources, want)
	}
}

func TestJobStoreReadsEveryForm(t *testing.T) {
	for _, test := range []struct{ jobs, want string }{
		{"", "headgate.db"},
		{"none", "none"},
		{"./headgate.db", "headgate.db"},
		{"/var/lib/headgate/jobs.db", "/var/lib/headgate/jobs.db"},
		{"redis://:hunter2@cache", "redis://***@cache:6379/0"},
		{"redis+cluster://a,b", "redis+cluster://a:6379,b:6379"},
	} {
		got, err := Config{Jobs: test.jobs}.JobStore()
		if err != nil || got.String() != test.want || got.None() != (test.want == "none") {
			t.Errorf("JobStore of %q = %v, %v, want %s", test.jobs, got, err, test.want)
		}
	}
}

func TestSourceDefaults(t *testing.T) {
	c := Config{Sources: []Source{{Stream: "s"}, {List: "l", Dead: Destination{Hash: "h"}}}}.WithDefaults()
	want := []Source{
		{Stream: "s", Group: "headgate", Request: SourceRequest{Method: "POST"}, Dead: Destination{List: "s:dead"}},
		{List: "l", Request: SourceRequest{Method: "POST"}, Dead: Destination{Hash: "h"}},
	}
	if !reflect.DeepEqual(c.Sources, want) {
		t.Errorf("WithDefaults\n got %+v\nwant %+v", c.Sources, want)
	}
}

func TestParseExpandsValues(t *testing.T) {
	files := map[string]string{"/run/key": "from file\r\n", "two": "a\n\n"}
	from := lookup{
		env: func(name string) (string, bool) {
			return map[string]string{"A": "1", "D": "${env:A}$"}[name], name != "N"
		},
		file: func(path string) (string, error) {
			if v, ok := files[path]; ok {
				return v, nil
			}
			return "", fs.ErrNotExist
		},
	}
	for _, test := range []struct {
		in, want string
		expanded bool
		err      string
	}{
		{in: "plain $ { }", want: "plain $ { }"},
		{in: "x${env:A}y${env:A}", want: "x1y1", expanded: true},
		{in: "${file:/run/key}", want: "from file", expanded: true},
		{in: "${file:two}", want: "a\n", expanded: true},
		{in: "$${env:A}", want: "${env:A}"},
		{in: "$$${env:A}", want: "$${env:A}"},
		{in: "${env:D}${env:A}", want: "${env:A}$1", expanded: true}, // what is put in is not expanded again
		{in: "${env:N}", err: "environment variable N is not set"},
		{in: "${file:none}", err: `file "none": no such file`},
		{in: "${A}", err: "want ${env:NAME}"},
		{in: "${env:A", err: "is not closed"},
		{in: "${env:}", err: "wants the name"},
		{in: "${file:}", err: "wants the path"},
	} {
		got, expanded, err := from.expand(test.in)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("expand(%q) = %v, want an error with %q", test.in, err, test.err)
			}
			continue
		}
		if got != test.want || expanded != test.expanded || err != nil {
			t.Errorf("expand(%q) = %q, %v, %v, want %q, %v, nil", test.in, got, expanded, err, test.want, test.expanded)
		}
	}
}

func TestParseReadsFilesOfOneValue(t *testing.T) {
	dir := t.TempDir()
	small, large := filepath.Join(dir, "small"), filepath.Join(dir, "large")
	for path, data := range map[string]string{small: "sk-1\n", large: strings.Repeat("x", 1<<20+1)} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := "upstreams: {a: {url: 'http://x', credentials: [{header: K, value: '${file:%s}'}]}}"
	c, err := Parse("f", fmt.Appendf(nil, file, small))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Upstreams["a"].Credentials[0].Value.Reveal(); got != "sk-1" {
		t.Errorf("value of ${file:…} = %q, want sk-1", got)
	}
	if _, err := Parse("f", fmt.Appendf(nil, file, large)); err == nil || !strings.Contains(err.Error(), "is larger than 1MiB") {
		t.Errorf("Parse with a large ${file:…} = %v, want a refusal", err)
	}
}

func TestParseReadsNumbersFromExpansions(t *testing.T) {
	t.Setenv("N", "7")
	c, err := Parse("f", []byte("upstreams: {a: {url: 'http://x', retry: {attempts: '${env:N}'}}}"))
	if err != nil || c.Upstreams["a"].Retry.Attempts != 7 {
		t.Errorf("attempts = %d, %v, want 7, nil", c.Upstreams["a"].Retry.Attempts, err)
	}
}

func TestParseFollowsAliases(t *testing.T) {
	c, err := Parse("f", []byte("upstreams:\n  a: {url: 'http://x', retry: &r {attempts: 2}}\n  b: {url: 'http://y', retry: *r}\n"))
	if err != nil || c.Upstreams["b"].Retry.Attempts != 2 {
		t.Errorf("attempts of the alias = %d, %v, want 2, nil", c.Upstreams["b"].Retry.Attempts, err)
	}
}

// FuzzParse holds that any text gives a configuration or faults with a place,
// that the schema accepts what Parse does, and that what Print writes of a
// configuration without secrets reads back.
func FuzzParse(f *testing.F) {
	seeds, _ := filepath.Glob("testdata/broken/*.yaml")
	for _, file := range append(seeds, "testdata/contract.yaml", "testdata/redis.yaml", "testdata/sources.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	from := lookup{
		env:  func(name string) (string, bool) { return name, name != "NONE" },
		file: func(string) (string, error) { return "", fs.ErrNotExist },
	}
	schema := compile(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("f", data, from)
		if err != nil {
			checkPlaces(t, data, err)
			return
		}
		if err := schema.Validate(plain(t, data)); err != nil {
			t.Errorf("the schema refuses %q: %v", data, err)
		}
		c.Notes()
		var printed strings.Builder
		if err := c.Print(&printed); err != nil {
			t.Fatalf("Print of %q: %v", data, err)
		}
		if strings.Contains(printed.String(), hiddenText) {
			return
		}
		again, err := parse("f", []byte(printed.String()), from)
		if err != nil {
			t.Fatalf("%q printed as\n%s\ndoes not read back: %v", data, printed.String(), err)
		}
		if want := c.WithDefaults(); !sameConfig(again, want) {
			t.Errorf("%q printed as\n%s\n got %+v\nwant %+v", data, printed.String(), again, want)
		}
	})
}

func checkPlaces(t *testing.T, data []byte, err error) {
	t.Helper()
	faults, ok := err.(interface{ Unwrap() []error })
	if !ok { // a fault of the syntax stands alone
		faults = errors.Join(err).(interface{ Unwrap() []error })
	}
	for _, err := range faults.Unwrap() {
		e, ok := err.(*Error)
		if !ok || e.Line < 1 || e.Column < 1 || strings.Contains(e.Error(), "\n") {
			t.Errorf("Parse(%q) = %#v, want an *Error of one line with a place", data, err)
		}
	}
}

// sameConfig compares what is written of two configurations.
func sameConfig(a, b Config) bool {
	var x, y strings.Builder
	_, _ = a.Print(&x), b.Print(&y)
	return x.String() == y.String()
}
