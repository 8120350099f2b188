package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate"
)

func TestMemoryKeepsWhatWasLearned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	path := filepath.Join(dir, "learned.json")
	m := memory{path: path}
	if all, err := m.recall(); all != nil || err != nil {
		t.Errorf("recall without a file = %v, %v, want nothing", all, err)
	}
	if err := m.keep(nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a directory was made for nothing: %v", err)
	}
	want := []headgate.Learned{
		{Upstream: "a", URL: "http://a.test", PerSecond: 97.5, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		{Upstream: "b", URL: "http://b.test/v1", Credential: "credential 1234abcd", PerSecond: 3, At: time.Date(2026, 3, 1, 12, 0, 1, 5, time.UTC)},
	}
	for range 2 {
		if err := m.keep(want); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := (&memory{path: path}).recall(); err != nil || !slices.Equal(got, want) {
		t.Errorf("recall = %+v, %v, want %+v", got, err, want)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%v in the directory, want the file alone", files)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestMemoryIsWrittenOnlyForNews(t *testing.T) {
	m := memory{path: filepath.Join(t.TempDir(), "learned.json")}
	all := []headgate.Learned{{Upstream: "a", PerSecond: 5}}
	if err := m.keep(all); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.path); err != nil {
		t.Fatal(err)
	}
	if err := m.keep(all); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.path); !os.IsNotExist(err) {
		t.Errorf("the same was written twice: %v", err)
	}
}

func TestDamagedMemoryIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "unexpected end",
		`{"version":1,"limits":[{"upstr`:       "unexpected end",
		`{"version":2,"limits":[]}`:            "version 2, want 1",
		`{"version":1,"limits":[{"at":"no"}]}`: "parsing time",
		strings.Repeat(" ", mostMemory+1):      "bytes, want",
	} {
		m := memory{path: filepath.Join(t.TempDir(), "learned.json")}
		if err := os.WriteFile(m.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := m.recall()
		if all != nil || err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), m.path) {
			t.Errorf("recall of %.40q = %v, %v, want an error with the path and %q", text, all, err, want)
		}
	}
}
