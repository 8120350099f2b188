package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/batch"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBatchRunsAFile(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"ok":true}`)
	}))
	defer upstream.Close()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	writeFile(t, in, `{"custom_id":"a","url":"/1"}`+"\n"+`{"custom_id":"b","url":"/missing"}`+"\nnot JSON\n")
	args := []string{"batch", in, "-o", out, "-u", upstream.URL, "--json"}
	status, stdout, stderr := run(t, "", args...)
	var sum struct{ Lines, Done, Failed, Bad_Lines, Attempts int }
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil || status != exitPartly || sum.Lines != 3 || sum.Done != 3 || sum.Failed != 2 || sum.Bad_Lines != 1 || sum.Attempts != 2 {
		t.Errorf("batch = %d, %s: %v, want 3 with 3 lines done and 2 failed", status, stdout, err)
	}
	for _, want := range []string{
		"batch: " + in + ": line 3: not JSON: invalid character 'o' in literal null (expecting 'u')\n",
		"batch: 3 of 3 done, 2 failed, ",
		"batch: the last failure: 404 Not Found",
		"batch: --retry-failed makes the failed calls again\n",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
	if text, err := os.ReadFile(out); err != nil || strings.Count(string(text), "\n") != 3 {
		t.Errorf("output %v\n%s\nwant 3 lines", err, text)
	}
	// Nothing to do, and only what must be told.
	status, _, stderr = run(t, "", append(args, "-q")...)
	if want := "batch: " + in + ": line 3: "; status != exitPartly || !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("second run = %d, stderr\n%s\nwant 3 and one line: %s", status, stderr, want)
	}
}

func TestBatchReadsStandardInputAndCSV(t *testing.T) {
	var got []string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := new(strings.Builder)
		r.Write(text)
		_, body, _ := strings.Cut(text.String(), "\r\n\r\n")
		got = append(got, r.Method+" "+r.URL.Path+" "+body)
	}))
	defer upstream.Close()
	out := filepath.Join(t.TempDir(), "out.jsonl")
	status, _, stderr := run(t, "word,custom_id\n\"a \"\"quoted\"\"\nword\",first\n",
		"batch", "-", "-o", out, "-u", upstream.URL, "-l", "concurrent:1", "--format", "csv",
		"--request", `{"method": "PUT", "path": "/words/{{ .ID }}", "body": "{{ json .JSON.word }}"}`)
	if want := `PUT /words/first "a \"quoted\"\nword"`; status != 0 || len(got) != 1 || got[0] != want {
		t.Errorf("batch = %d, called %q, want %q\n%s", status, got, want, stderr)
	}
}

func TestBatchSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.jsonl")
	writeFile(t, in, `{"custom_id":"a","url":"/1"}`+"\n")
	other := filepath.Join(dir, "notes.txt")
	writeFile(t, other, "Dear diary,\n")
	for _, s := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"none.jsonl", "-o", filepath.Join(dir, "o")}, exitFailed, "headgate: open none.jsonl: no such file or directory\n"},
		{[]string{in, "-o", in}, exitFailed, "headgate: " + in + " is both input and output\n"},
		{[]string{in, "-o", other}, exitFailed, "headgate: " + other + ": line 1 is no result of a batch; give another output\n"},
		{[]string{in, "-o", dir + "/no/such"}, exitFailed, "headgate: open " + dir + "/no/such.headgate: no such file or directory\n"},
		{[]string{in, "-o", filepath.Join(dir, "o"), "--request", "path: ["}, exitUsage, "--request:1:7: not YAML: "},
		{[]string{in, "-o", filepath.Join(dir, "o"), "--request", "{path: '{{ .Nothing'}"}, exitUsage, "--request: path: "},
	} {
		status, stdout, stderr := run(t, "", append([]string{"batch", "-u", "http://127.0.0.1:1"}, s.args...)...)
		if status != s.status || stdout != "" || !strings.HasPrefix(stderr, s.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("batch %q = %d %q\n%s\nwant %d and %s", s.args, status, stdout, stderr, s.status, s.want)
		}
	}
	if text, _ := os.ReadFile(other); string(text) != "Dear diary,\n" {
		t.Errorf("a file that is no output is %q now", text)
	}
}

func TestBatchUsesAnUpstreamOfTheFile(t *testing.T) {
	dir := t.TempDir()
	in, file := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "headgate.yaml")
	writeFile(t, in, `{"url":"/1"}`+"\n")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer upstream.Close()
	writeFile(t, file, fmt.Sprintf("upstreams: {openai: {url: %q}, other: {url: %q}}\n", upstream.URL, upstream.URL))
	for _, s := range []struct{ use, want string }{
		{"", "headgate: " + file + " has several upstreams: --use one of openai, other\nsee headgate batch --help\n"},
		{"opnai", "headgate: --use \"opnai\": " + file + " has no such upstream; did you mean openai?\nsee headgate batch --help\n"},
		{"openai", ""},
	} {
		status, _, stderr := run(t, "", "batch", in, "-o", filepath.Join(dir, "out.jsonl"), "-c", file, "-q", "--use", s.use)
		if stderr != s.want || (status == 0) != (s.want == "") {
			t.Errorf("batch --use %q = %d\n%s\nwant\n%s", s.use, status, stderr, s.want)
		}
	}
}

func TestBatchStandingIsOneLine(t *testing.T) {
	now := time.Unix(1000, 0)
	v := &batchView{}
	v.pace.note(now.Add(-10*time.Second), 200)
	v.pace.note(now, 1200)
	for _, s := range []struct {
		p    batch.Progress
		want string
	}{
		{batch.Progress{Total: 1_234_567, Done: 1200, Limit: "50/1s", Quota: 0.976, Failed: 3, Tokens: 45_678, Later: 2},
			"1,200 of 1,234,567 done, 100/s, quota 98 %, 3h25m34s left, 3 failed, 2 to be made again, 45,678 tokens"},
		{batch.Progress{Total: -1, Done: 1200, PausedUntil: now.Add(time.Hour)}, "1,200 done, 100/s, paused for 1h0m0s"},
	} {
		if got := v.standing(now, s.p); got != s.want {
			t.Errorf("standing of %+v\n= %q, want\n  %q", s.p, got, s.want)
		}
	}
}
