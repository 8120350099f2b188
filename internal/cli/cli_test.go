package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew")

// run runs a command that ends by itself.
func run(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	never := make(chan os.Signal)
	w := World{
		In: strings.NewReader(stdin), Out: &out, Err: &errs,
		Signals: func(...os.Signal) (<-chan os.Signal, func()) { return never, func() {} },
	}
	status = Main(args, w)
	return status, out.String(), errs.String()
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("printed\n%s\nwant %s\n%s", got, path, want)
	}
}

func TestHelpGoesToStdout(t *testing.T) {
	for _, name := range []string{"", "serve", "batch", "mock", "demo", "check", "schema", "explain", "key", "version",
		"jobs", "jobs list", "jobs show", "jobs wait", "jobs retry", "jobs cancel", "jobs purge",
		"sources", "sources list", "sources dead", "sources retry", "sources purge", "top"} {
		t.Run("headgate "+name, func(t *testing.T) {
			args := append(strings.Fields(name), "--help")
			status, stdout, stderr := run(t, "", args...)
			if status != 0 || stderr != "" {
				t.Errorf("%v = %d with stderr %q, want 0 and none", args, status, stderr)
			}
			if !strings.Contains(stdout, "\nExamples:\n  ") {
				t.Errorf("help lacks an example:\n%s", stdout)
			}
			file := "help.txt"
			if name != "" {
				file = "help-" + strings.ReplaceAll(name, " ", "-") + ".txt"
				if _, also, _ := run(t, "", append([]string{"help"}, strings.Fields(name)...)...); also != stdout {
					t.Errorf("help %s prints\n%s\nwant what %s --help prints\n%s", name, also, name, stdout)
				}
			}
			golden(t, file, stdout)
		})
	}
}

func TestWrongUsageIsOneErrorAndAHint(t *testing.T) {
	for _, s := range []struct {
		args []string
		want string
	}{
		{[]string{"srve"}, "headgate: unknown command \"srve\"; did you mean serve?\nsee headgate --help\n"},
		{[]string{"srve", "--upstream", "x"}, "headgate: unknown command \"srve\"; did you mean serve?\nsee headgate --help\n"},
		{[]string{"frobnicate"}, "headgate: unknown command \"frobnicate\"\nsee headgate --help\n"},
		{[]string{"help", "srve"}, "headgate: unknown command \"srve\"; did you mean serve?\nsee headgate --help\n"},
		{[]string{"--versoin"}, "headgate: unknown flag --versoin; did you mean --version?\nsee headgate --help\n"},
		{[]string{"serve", "--upstraem", "x"}, "headgate: unknown flag --upstraem; did you mean --upstream?\nsee headgate serve --help\n"},
		{[]string{"serve", "-z"}, "headgate: unknown shorthand flag: 'z' in -z\nsee headgate serve --help\n"},
		{[]string{"serve", "--limit"}, "headgate: flag needs an argument: --limit\nsee headgate serve --help\n"},
		{[]string{"serve"}, "headgate: nothing to serve: give --config FILE or --upstream URL\nsee headgate serve --help\n"},
		{[]string{"serve", "now"}, "headgate: unexpected argument \"now\"\nsee headgate serve --help\n"},
		{[]string{"serve", "-c", "a.yaml", "-u", "http://a"}, "headgate: --config and --upstream exclude each other: the file says it all\nsee headgate serve --help\n"},
		{[]string{"serve", "-c", "a.yaml", "-l", "1/1s"}, "headgate: --config and --limit exclude each other: the file says it all\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--grace", "soon"}, "headgate: --grace \"soon\": want a duration such as \"500ms\", \"30s\" or \"2m\"\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--grace", "-1s"}, "headgate: --grace -1s: must not be negative\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "-l", "50/1min"}, "headgate: --limit \"50/1min\": window \"1min\" has no known unit (ms, s, m, h, d); did you mean \"50/1m\"?\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--log-level", "loud"}, "headgate: --log-level \"loud\": want one of debug, info, warn, error\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--state", "redis://:hush@r/x"}, "headgate: --state \"redis://***@r/x\": want the number of a database at the end, such as \"/0\", or nothing\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--namespace", "a b"}, "headgate: --namespace \"a b\": want 1 to 64 letters, digits, \".\", \"_\" and \"-\"\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--on-store-loss", "shared"}, "headgate: --on-store-loss \"shared\": want one of share, wait, fail; did you mean \"share\"?\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--jobs", "memory"}, "headgate: --jobs \"memory\": jobs are kept on disk or not at all: want the path of a file, such as \"./headgate.db\", an address that begins with redis://, or none; did you mean \"./headgate.db\"?\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--credential", "secret"}, "headgate: --credential: want 'Header: value', such as 'Authorization: Bearer ${env:API_KEY}'\nsee headgate serve --help\n"},
		{[]string{"serve", "-u", "http://a", "--max-length", "many"}, "headgate: --max-length: want a whole number, found text\nsee headgate serve --help\n"},
		{[]string{"batch", "-o", "x"}, "headgate: no input: give a file of calls, or - for standard input\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "b"}, "headgate: unexpected argument \"b\"\nsee headgate batch --help\n"},
		{[]string{"batch", "a"}, "headgate: no output: give --output FILE\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "-o", "x"}, "headgate: no upstream: give --upstream URL, or --config FILE\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "-o", "x", "-u", "http://a", "-c", "b"}, "headgate: --config and --upstream exclude each other: the file says it all\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "-o", "x", "-u", "http://a", "--use", "b"}, "headgate: --use names an upstream of a file: give --config too\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "-o", "x", "-u", "http://a", "--in-flight", "0"}, "headgate: --in-flight 0: want 1 or more\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "-o", "x", "-u", "http://a", "--format", "xml"}, "headgate: --format \"xml\": want jsonl or csv\nsee headgate batch --help\n"},
		{[]string{"batch", "a.csv", "-o", "x", "-u", "http://a"}, "headgate: CSV needs --request, which says what is sent for a row\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "-o", "x", "-u", "http://a", "--request", "@none"}, "headgate: --request: open none: no such file or directory\nsee headgate batch --help\n"},
		{[]string{"batch", "a", "-o", "x", "-u", "http://a", "-l", "50"}, "headgate: --limit \"50\": want \"50/1m\", \"50/1m fixed\", \"10/1s burst 20\", \"tokens:200000/1m\" or \"concurrent:32\"\nsee headgate batch --help\n"},
		{[]string{"mock", "-l", "50/1min"}, "headgate: --limit \"50/1min\": window \"1min\" has no known unit (ms, s, m, h, d); did you mean \"50/1m\"?\nsee headgate mock --help\n"},
		{[]string{"mock", "--errors", "20"}, "headgate: --errors \"20\": want a percentage such as \"20%\", from 0% to 100%; did you mean \"20%\"?\nsee headgate mock --help\n"},
		{[]string{"mock", "--retry-after", "soon"}, "headgate: unknown form of retry-after \"soon\"; want one of none, seconds, date, ms, ratelimit, draft6, x\nsee headgate mock --help\n"},
		{[]string{"demo", "--duration", "1s"}, "headgate: --duration 1s: want 2s to 1h\nsee headgate demo --help\n"},
		{[]string{"demo", "--instances", "41"}, "headgate: --instances 41: want 1 to 40, which is how many callers there are\nsee headgate demo --help\n"},
		{[]string{"demo", "--instances", "0"}, "headgate: --instances 0: want 1 to 40, which is how many callers there are\nsee headgate demo --help\n"},
		{[]string{"demo", "--state", "redis://cache"}, "headgate: --state is what instances share: give --instances too\nsee headgate demo --help\n"},
		{[]string{"demo", "--instances", "2", "--state", "memory"}, "headgate: --state \"memory\": want the address of a Redis, such as redis://localhost:6379\nsee headgate demo --help\n"},
		{[]string{"demo", "--instances", "2", "--state", "redis://:hush@r/x"}, "headgate: --state \"redis://***@r/x\": want the number of a database at the end, such as \"/0\", or nothing\nsee headgate demo --help\n"},
		{[]string{"demo", "--limit", "many"}, "headgate: --limit \"many\": want \"50/1m\", \"50/1m fixed\", \"10/1s burst 20\", \"tokens:200000/1m\" or \"concurrent:32\"\nsee headgate demo --help\n"},
		{[]string{"explain", "--dialect", "genric"}, "headgate: --dialect \"genric\": unknown dialect; did you mean generic?\nsee headgate explain --help\n"},
		{[]string{"explain", "--dialect", "zzzz"}, "headgate: --dialect \"zzzz\": unknown dialect; headgate explain --list names them\nsee headgate explain --help\n"},
		{[]string{"explain", "--now", "today"}, "headgate: --now \"today\": want a time such as 2006-01-02T15:04:05Z\nsee headgate explain --help\n"},
		{[]string{"explain", "--url", "items"}, "headgate: --url \"items\": want a URL such as https://api.example.com/v1/items\nsee headgate explain --help\n"},
		{[]string{"jobs", "lst"}, "headgate: unknown command \"lst\"; did you mean list?\nsee headgate jobs --help\n"},
		{[]string{"help", "jobs", "lst"}, "headgate: unknown command \"lst\"; did you mean list?\nsee headgate jobs --help\n"},
		{[]string{"jobs", "list", "--state", "faild"}, "headgate: --state \"faild\": want some of waiting, running, done, failed, cancelled; did you mean failed?\nsee headgate jobs list --help\n"},
		{[]string{"jobs", "list", "--server", "ftp://a"}, "headgate: --server: want a URL such as http://127.0.0.1:8788, with no user and no query\nsee headgate jobs list --help\n"},
		{[]string{"jobs", "list", "--limit", "0"}, "headgate: --limit 0: want a number from 1\nsee headgate jobs list --help\n"},
		{[]string{"jobs", "show"}, "headgate: want the ID of a job; headgate jobs list shows them\nsee headgate jobs show --help\n"},
		{[]string{"jobs", "show", "7"}, "headgate: \"7\" is not the ID of a job; headgate jobs list shows them\nsee headgate jobs show --help\n"},
		{[]string{"jobs", "wait", "job_01kaqm5xv3c8w1f2t9d0r6h4ez", "--timeout", "-1s"}, "headgate: --timeout -1s: must not be negative\nsee headgate jobs wait --help\n"},
		{[]string{"jobs", "retry"}, "headgate: say which jobs: ID…, or --state failed …\nsee headgate jobs retry --help\n"},
		{[]string{"jobs", "retry", "job_01kaqm5xv3c8w1f2t9d0r6h4ez", "--state", "failed"}, "headgate: jobs are named, or a filter means them: not both\nsee headgate jobs retry --help\n"},
		{[]string{"jobs", "retry", "--state", "failed"}, "headgate: by a filter: give --yes, there is no terminal to ask at\nsee headgate jobs retry --help\n"},
		{[]string{"jobs", "purge"}, "headgate: say which jobs: --state done,failed,cancelled …\nsee headgate jobs purge --help\n"},
		{[]string{"jobs", "purge", "job_01kaqm5xv3c8w1f2t9d0r6h4ez"}, "headgate: unexpected argument \"job_01kaqm5xv3c8w1f2t9d0r6h4ez\"\nsee headgate jobs purge --help\n"},
		{[]string{"jobs", "purge", "--older", "-1h"}, "headgate: --older -1h0m0s: must not be negative\nsee headgate jobs purge --help\n"},
		{[]string{"key", "--name", ""}, "headgate: --name \"\": want a name of printable characters\nsee headgate key --help\n"},
	} {
		status, stdout, stderr := run(t, "", s.args...)
		if status != exitUsage || stdout != "" || stderr != s.want {
			t.Errorf("headgate %q = %d\nstdout %q\nstderr %s\nwant 2, no stdout, and\n%s", s.args, status, stdout, stderr, s.want)
		}
	}
}

func TestSecretsOfFlagsAreNotInErrors(t *testing.T) {
	for _, args := range [][]string{
		{"serve", "-u", "http://a", "--credential", "hush-hush"},
		{"serve", "-u", "http://a", "--credential", "A b: hush-hush"},
		{"serve", "-u", "http://a", "--credential", "A: hush-hush\nB: c"},
	} {
		if status, _, stderr := run(t, "", args...); status != exitUsage || strings.Contains(stderr, "hush-hush") {
			t.Errorf("headgate %q = %d %s, want 2 without the secret", args, status, stderr)
		}
	}
}

func TestCheckPrintsWhatIsInEffectAndNotes(t *testing.T) {
	t.Setenv("HEADGATE_TEST_KEY", "hush-hush")
	status, stdout, stderr := run(t, "", "check", "-c", "testdata/good.yaml")
	if status != 0 {
		t.Fatalf("check = %d %s, want 0", status, stderr)
	}
	for _, want := range []string{"listen: 127.0.0.1:8787\n", "max_wait: 2m\n", "value: \"***\"\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, stdout)
		}
	}
	if want := "note: upstreams.openai.limits[0] \"10/1s burst 20\": up to 30 in one window"; !strings.Contains(stderr, want) {
		t.Errorf("stderr lacks %q:\n%s", want, stderr)
	}
	if strings.Contains(stdout+stderr, "hush-hush") {
		t.Errorf("the secret is printed:\n%s%s", stdout, stderr)
	}
}

func TestBadFilesArePlacedFaultsAndStatus2(t *testing.T) {
	const want = "testdata/bad.yaml:3:5: upstreams.openai.limts: unknown key; did you mean \"limits\"?\n" +
		"testdata/bad.yaml:5:22: upstreams.openai.line.max_wait \"5\": want a duration such as \"500ms\", \"30s\", \"2m\" or \"1d\"; did you mean \"5s\"?\n"
	for _, command := range []string{"check", "serve"} {
		status, stdout, stderr := run(t, "", command, "-c", "testdata/bad.yaml")
		if status != exitUsage || stdout != "" || stderr != want {
			t.Errorf("%s = %d\nstdout %q\nstderr %s\nwant 2, no stdout, and\n%s", command, status, stdout, stderr, want)
		}
	}
	if status, _, stderr := run(t, "", "check", "-c", "testdata/none.yaml"); status != exitUsage || stderr != "testdata/none.yaml: no such file\n" {
		t.Errorf("check of no file = %d %q, want 2 and the reason", status, stderr)
	}
}

// A file that check lets through is one that serve can run.
func TestCertificatesThatCannotBeReadAreFaultsOfTheFile(t *testing.T) {
	dir := t.TempDir()
	file, pem := filepath.Join(dir, "headgate.yaml"), filepath.Join(dir, "some.pem")
	for _, s := range []struct{ cert, key, want string }{
		{dir + "/none.pem", pem, ": tls.cert: no such file or directory\n"},
		{pem, dir + "/none.pem", ": tls.key: no such file or directory\n"},
		{pem, pem, ": tls: failed to find any PEM data in certificate input\n"},
	} {
		text := fmt.Sprintf("tls: {cert: %q, key: %q}\nupstreams: {a: {url: https://a}}\n", s.cert, s.key)
		for path, data := range map[string]string{file: text, pem: "not PEM"} {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, cmd := range []string{"check", "serve"} {
			status, stdout, stderr := run(t, "", cmd, "-c", file)
			if status != exitUsage || stdout != "" || stderr != file+s.want {
				t.Errorf("%s of\n%s= %d %q\nstderr %swant 2 and %s%s", cmd, text, status, stdout, stderr, file, s.want)
			}
		}
	}
}

func TestFlagsOverAFileAreChecked(t *testing.T) {
	t.Setenv("HEADGATE_TEST_KEY", "hush-hush")
	for _, s := range []struct{ command, flag, text, want string }{
		{"serve", "--listen", "8787", "--listen \"8787\": want host:port, such as \"127.0.0.1:8787\"; did you mean \"127.0.0.1:8787\"?"},
		{"serve", "--state", "redis://${env:HEADGATE_TEST_UNSET}", "--state: environment variable HEADGATE_TEST_UNSET is not set"},
		{"check", "--state", "redis://:hush-hush@a,b", "--state \"redis://***@a,b\": has more than one host; want redis+sentinel:// or redis+cluster://"},
		{"check", "--on-store-loss", "panic", "--on-store-loss \"panic\": want one of share, wait, fail"},
	} {
		status, stdout, stderr := run(t, "", s.command, "-c", "testdata/good.yaml", s.flag, s.text)
		want := "headgate: with the flags given: " + s.want + "\nsee headgate " + s.command + " --help\n"
		if status != exitUsage || stdout != "" || stderr != want {
			t.Errorf("%s %s %s = %d, stdout %q\n%s\nwant 2, no stdout, and\n%s", s.command, s.flag, s.text, status, stdout, stderr, want)
		}
	}
}

func TestCheckSaysWhatTheFlagsPutOverAFile(t *testing.T) {
	t.Setenv("HEADGATE_TEST_KEY", "hush-hush")
	status, stdout, stderr := run(t, "", "check", "-c", "testdata/good.yaml", "--offline",
		"--state", "redis://:hush-hush@cache/1", "--namespace", "prod", "--on-store-loss", "wait")
	if want := "state: redis://***@cache:6379/1\nnamespace: prod\non_store_loss: wait\n"; status != 0 || !strings.Contains(stdout, want) {
		t.Errorf("check = %d %s\n%s\nwant 0 and\n%s", status, stderr, stdout, want)
	}
	if want := "note: state \"redis://***@cache:6379/1\": instances with this state and namespace \"prod\" share"; !strings.Contains(stderr, want) {
		t.Errorf("stderr lacks %q:\n%s", want, stderr)
	}
	if strings.Contains(stdout+stderr, "hush-hush") {
		t.Errorf("the secret is printed:\n%s%s", stdout, stderr)
	}
	status, stdout, stderr = run(t, "", "check", "-c", "testdata/good.yaml", "--offline", "--state", "redis://:${env:HEADGATE_TEST_KEY}@cache")
	if status != 0 || !strings.Contains(stdout, "state: \"***\"\n") || strings.Contains(stdout+stderr, "hush-hush") {
		t.Errorf("check of a state with an expansion = %d\n%s%s\nwant 0 and the state hidden", status, stdout, stderr)
	}
}

func TestSchemaIsJSON(t *testing.T) {
	status, stdout, stderr := run(t, "", "schema")
	if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "{\n") || !strings.HasSuffix(stdout, "}\n") {
		t.Errorf("schema = %d, stderr %q, want 0, none and a JSON object:\n%s", status, stderr, stdout)
	}
}
