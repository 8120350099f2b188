package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// deadline is how long a test waits for what must come.
const deadline = 20 * time.Second

// binary is the headgate under test. It is named headgate, so that its
// directory can stand in a PATH.
var binary string

// repository is the root of the module.
const repository = ".."

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "headgate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state")) // nothing of this is learned for good
	binary = filepath.Join(dir, "headgate")
	if out, err := exec.Command("go", "build", "-o", binary, repository+"/cmd/headgate").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
