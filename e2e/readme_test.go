package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// blocks returns the code blocks of a page of documentation that are marked
// <!-- mark -->.
func blocks(t *testing.T, page, mark string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, page))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)<!-- "+mark+" -->\n```\\w+\n(.*?)```\n").FindAllStringSubmatch(string(content), -1) {
		found = append(found, m[1])
	}
	if len(found) == 0 || len(found) != strings.Count(string(content), "<!-- "+mark+" -->") {
		t.Fatalf("%s has %d blocks marked %s, with code", page, len(found), mark)
	}
	return found
}

func TestCommandsOfREADMERun(t *testing.T) {
	for _, port := range []string{"9000", "8787", "8788"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Skipf("needs the ports that README.md names: %v", err)
		}
		l.Close()
	}
	for _, block := range blocks(t, "README.md", "run") {
		// What the block leaves in the background ends with it.
		cmd := exec.Command("bash", "-c", "trap 'kill $(jobs -p); wait' EXIT\n"+block)
		cmd.Env = []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		r := run(t, cmd)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // where the trap has not run
		if !regexp.MustCompile(`(?m)^ *12 200$`).MatchString(r.stdout) || strings.Contains(r.stdout, " 000") {
			t.Errorf("README.md:\n%s\nprinted\n%s%s\nwant 12 200", block, r.stdout, r.stderr)
		}
	}
}

func TestConfigurationsOfTheDocsAreValid(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"README.md", "docs/configuration.md"} {
		for _, block := range blocks(t, page, "config") {
			file := filepath.Join(t.TempDir(), "headgate.yaml")
			replaceFile(t, file, block)
			if r := run(t, headgate([]string{"check", "-c", file}, "OPENAI_API_KEY="+hidden)); r.status != 0 || strings.Contains(r.stdout+r.stderr, hidden) {
				t.Errorf("check of the file in %s = %d\n%s%s\nwant 0 and no secret", page, r.status, r.stdout, r.stderr)
			}
		}
	}
}

func TestGoOfREADMECompiles(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	// A module that needs what ours needs, so that nothing is downloaded.
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	needs, ok := strings.CutPrefix(string(mod), "module github.com/headgate/headgate\n")
	if !ok {
		t.Fatalf("go.mod begins with %.60q", mod)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string]string{
		"go.mod": fmt.Sprintf("module example.com/reader\n%s\nrequire github.com/headgate/headgate v0.0.0\n\nreplace github.com/headgate/headgate => %s\n", needs, root),
		"go.sum": string(sum),
	}
	blocks := blocks(t, "README.md", "go")
	if len(blocks) != 2 {
		t.Errorf("README.md has %d blocks of Go, want 2", len(blocks))
	}
	for i, block := range blocks {
		uses := map[string]string{}
		code := regexp.MustCompile(`//.*`).ReplaceAllString(block, "")
		for name, path := range map[string]string{
			"context": "context", "http": "net/http", "headgate": "github.com/headgate/headgate", "config": "github.com/headgate/headgate/config",
		} {
			if strings.Contains(code, name+".") {
				uses[name] = path
			}
		}
		uses["context"], uses["config"] = "context", "github.com/headgate/headgate/config" // of the function around it
		var imports strings.Builder
		for _, path := range uses {
			fmt.Fprintf(&imports, "import %q\n", path)
		}
		files[fmt.Sprintf("block%d.go", i)] = fmt.Sprintf("package reader\n\n%s\nfunc block%d(ctx context.Context, cfg config.Config) error {\n%s\n_ = client\nreturn nil\n}\n", &imports, i, block)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "vet", "-mod=mod", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if r := run(t, cmd); r.status != 0 {
		t.Errorf("go vet of the Go in README.md = %d\n%s", r.status, r.stderr)
	}
}
