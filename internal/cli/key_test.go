package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/gateway"
)

func TestKeyPrintsAKeyAndLinesForTheFile(t *testing.T) {
	for _, name := range []string{"web", "web 2", "yes", "a: b", `"quoted"`, "7", "-", "ünï"} {
		status, stdout, stderr := run(t, "", "key", "--name", name)
		match := regexp.MustCompile(`(?s)^key:  (hg_[\w-]{43})\nhash: (sha256:[0-9a-f]{64})\n\n(clients:\n.*)$`).FindStringSubmatch(stdout)
		if status != 0 || match == nil || !strings.Contains(stderr, "shown this once") {
			t.Fatalf("key --name %q = %d, stderr %q, printed\n%s", name, status, stderr, stdout)
		}
		if got := gateway.HashKey(match[1]); got != match[2] {
			t.Errorf("hash of %s = %s, printed %s", match[1], got, match[2])
		}
		c, err := config.Parse("key.yaml", []byte(match[3]))
		if err != nil {
			t.Errorf("the lines for the file: %v\n%s", err, match[3])
			continue
		}
		if len(c.Clients) != 1 || c.Clients[0].Name != name || c.Clients[0].Key != match[2] {
			t.Errorf("lines for %q read as %+v:\n%s", name, c.Clients, match[3])
		}
	}
}

func TestVersionNamesTheBuild(t *testing.T) {
	if status, stdout, _ := run(t, "", "version"); status != 0 || !regexp.MustCompile(`^headgate \S+\ncommit \S+\ngo\S+\n$`).MatchString(stdout) {
		t.Errorf("version = %d %q", status, stdout)
	}
	if status, stdout, _ := run(t, "", "version", "--json"); status != 0 || !regexp.MustCompile(`^{"version":"\S+","commit":"\S+","go":"go\S+"}\n$`).MatchString(stdout) {
		t.Errorf("version --json = %d %q", status, stdout)
	}
}
