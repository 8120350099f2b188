package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hidden is a secret that comes from the environment.
const hidden = "hunter2-very-secret"

func TestBrokenFilesAreRefusedWithPlaceAndHint(t *testing.T) {
	t.Parallel()
	for _, s := range []struct{ name, yaml, place, hint string }{
		{"unknown key", "upstreams:\n  api:\n    url: http://a\n    limts: [1/1s]\n", "4:5", `did you mean "limits"?`},
		{"unknown key at the top", "upstream: {}\n", "1:1", `did you mean "upstreams"?`},
		{"unknown key, nothing near", "upstreams: {api: {url: http://a, colour: red}}\n", "1:34", "known here: url, dialect,"},
		{"unknown unit", "upstreams: {api: {url: http://a, limits: [50/1min]}}\n", "1:43", `did you mean "50/1m"?`},
		{"bad limit", "upstreams: {api: {url: http://a, limits: [many]}}\n", "1:43", `want "50/1m"`},
		{"URL without scheme", "upstreams: {api: {url: api.example.com}}\n", "1:24", `did you mean "https://api.example.com"?`},
		{"URL with a password", "upstreams: {api: {url: \"http://u:" + hidden + "@a\"}}\n", "1:24", "use credentials"},
		{"duration without unit", "upstreams: {api: {url: http://a, retry: {base: 30}}}\n", "1:48", `did you mean "30s"?`},
		{"number out of range", "clients: [{name: a, key: \"sha256:" + strings.Repeat("0", 64) + "\", priority: 9}]\n", "1:111", "from 0 (most urgent) to 7 (least)"},
		{"key in place of its hash", "clients: [{name: a, key: hg_" + hidden + "}]\n", "1:26", "headgate key"},
		{"wrong type", "upstreams: [a]\n", "1:1", "want a mapping"},
		{"unknown fallback", "upstreams: {openai: {url: http://a, fallback: [opnai]}, openai-eu: {url: http://b}}\n", "1:48", "no upstream has this name"},
		{"variable not set", "upstreams: {api: {url: http://a, credentials: [{header: A, value: \"${env:NOT_SET}\"}]}}\n", "1:67", "environment variable NOT_SET is not set"},
		{"secret in a wrong place", "upstreams: {api: {url: \"${env:SECRET}\"}}\n", "1:24", "is not shown"},
		{"secret in a limit", "upstreams: {api: {url: http://a, limits: [\"${env:SECRET}\"]}}\n", "1:43", "is not shown"},
		{"secret with a line break", "upstreams: {api: {url: http://a, credentials: [{header: A, value: \"${env:SECRET}\\n\"}]}}\n", "1:67", ""},
		{"jobs in memory", "jobs: memory\n", "1:7", "./headgate.db"},
		{"jobs with a password", "jobs: postgres://:" + hidden + "@localhost\n", "1:7", "redis://"},
		{"not YAML", "listen: \"127.0.0.1:8787\n", "1:9", "not YAML"},
		{"tab", "log:\n\tlevel: info\n", "2:1", "tab"},
		{"address without host", "listen: 8787\n", "1:9", "put it in quotes"},
		{"duplicate key", "log: {level: info}\nlog: {level: warn}\n", "2:1", "log"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "headgate.yaml")
		if err := os.WriteFile(file, []byte(s.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"check", "serve"} {
			r := run(t, headgate([]string{command, "-c", file}, "SECRET="+hidden))
			if r.status != 2 || r.stdout != "" {
				t.Errorf("%s: %s = %d with stdout %q, want 2 and none", s.name, command, r.status, r.stdout)
			}
			if want := file + ":" + s.place + ": "; !strings.HasPrefix(r.stderr, want) || !strings.Contains(r.stderr, s.hint) {
				t.Errorf("%s: %s says\n%swant it to begin with %s and to hint: %s", s.name, command, r.stderr, want, s.hint)
			}
			if found := unseemly(r.stderr); found != "" || strings.Contains(r.stderr, hidden) {
				t.Errorf("%s: %s says %q, or the secret:\n%s", s.name, command, found, r.stderr)
			}
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	up := newHolding(t)
	close(up.release)
	file := "upstreams: {api: {url: \"" + up.URL + "\", credentials: [{header: Authorization, value: \"Bearer ${env:SECRET}\"}]}}\n"
	g, path := serveFile(t, file+"log: {level: debug}\n", "SECRET="+hidden)
	c := newClient(t)
	get(t, c, g.url+"/api/")
	shown := []string{g.stderr.String(), get(t, c, g.admin+"/metrics").body, get(t, c, g.admin+"/api/v1/status").body}
	checked := run(t, headgate([]string{"check", "-c", path}, "SECRET="+hidden))
	if checked.status != 0 || !strings.Contains(checked.stdout, "***") {
		t.Errorf("check = %d\n%s%s\nwant 0 and *** for the secret", checked.status, checked.stdout, checked.stderr)
	}
	for _, text := range append(shown, checked.stdout, checked.stderr) {
		if strings.Contains(text, hidden) {
			t.Errorf("the secret is in\n%s", text)
		}
	}
}

func TestMissingFileIsWrongConfiguration(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "headgate.yaml")
	for _, command := range []string{"check", "serve"} {
		if r := run(t, headgate([]string{command, "-c", missing})); r.status != 2 || r.stderr != missing+": no such file\n" {
			t.Errorf("%s of no file = %d %s, want 2 and the reason", command, r.status, r.stderr)
		}
	}
}
