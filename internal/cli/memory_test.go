package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestMemoryOfAFileIsItsOwn(t *testing.T) {
	home, state := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", state)
	a, b := memoryOf("a.yaml"), memoryOf("b.yaml")
	if a == b || !strings.HasPrefix(a, filepath.Join(state, "headgate", "learned-")) {
		t.Errorf("kept in %q and %q, want two files in the state directory %q", a, b, state)
	}
	if again := memoryOf("./x/../a.yaml"); again != a {
		t.Errorf("the same file by another way: %q, want %q", again, a)
	}
	for _, relative := range []string{"", "state"} {
		t.Setenv("XDG_STATE_HOME", relative)
		if got, want := filepath.Dir(memoryOf("a.yaml")), filepath.Join(home, ".local", "state", "headgate"); got != want {
			t.Errorf("XDG_STATE_HOME=%q: kept in %q, want %q", relative, got, want)
		}
	}
	t.Setenv("HOME", "")
	if got := memoryOf("a.yaml"); got != "" {
		t.Errorf("kept in %q, want nowhere without a home", got)
	}
}
