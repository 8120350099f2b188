package headgate_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/headgate/headgate"

// floors are the rooms from the top down. A room may import rooms of lower
// floors only; those of one floor do not know each other.
var floors = [][]string{
	{"e2e"}, // tests of the binary
	{"cmd/headgate"},
	{"internal/cli"},
	{"internal/daemon"},
	{"internal/telemetry"},
	{"tracing"}, // public, as the door and config are
	{"internal/gateway", "internal/admin", "internal/worker", "internal/batch"},
	{"internal/pump", "internal/webhook", "internal/jobhttp"},
	{""}, // the door
	{"internal/stores"},
	{"config", "internal/http1", "internal/redisstore"},
	{"internal/ledger", "internal/retry", "internal/tokens", "internal/mock", "internal/lease/leasetest", "internal/job/jobtest", "internal/sqlitestore", "internal/redistest"},
	{"internal/limit", "internal/breaker", "internal/line", "internal/dialect", "internal/lease", "internal/job", "internal/source"},
}

// refused are arrows that point down and are wrong all the same.
var refused = []struct{ from, to, reason string }{
	{"cmd/headgate", "internal/daemon", "main only hands over to cli"},
	{"cmd/headgate", "", "main only hands over to cli"},
	{"", "internal/mock", "the judge must not sit in the house it judges"},
	{"internal/gateway", "internal/breaker", "the door alone asks the breaker: there is no second path out"},
	{"internal/gateway", "internal/retry", "the door alone retries: one owner, no retries within retries"},
	{"internal/batch", "internal/retry", "the door alone retries: a batch only makes again later what the door gave up"},
	{"internal/admin", "internal/ledger", "the page shows what Gate.Status says"},
	{"internal/mock", "internal/ledger", "the judge counts by brute force, not with the arithmetic it judges"},
	{"config", "internal/ledger", "the file's shape decides nothing"},
}

// doors are the rooms by which a third party's library enters the house.
var doors = map[string][]string{
	"github.com/goccy/go-yaml":        {"config"},
	"github.com/invopop/jsonschema":   {"config"},
	"github.com/fsnotify/fsnotify":    {"config"},
	"github.com/agnivade/levenshtein": {"config"},
	"github.com/spf13/cobra":          {"internal/cli"},
	"github.com/spf13/pflag":          {"internal/cli"},
	"github.com/charmbracelet":        {"internal/cli"},
	"golang.org/x/term":               {"internal/cli"},
	"github.com/schollz/progressbar":  {"internal/cli"},
	"github.com/prometheus":           {"internal/telemetry"},
	"go.opentelemetry.io":             {"tracing", "internal/telemetry"},
	"github.com/dunglas/httpsfv":      {"", "internal/gateway", "internal/dialect"},
	"github.com/oklog/ulid/v2":        {"internal/job"},
	"github.com/redis/rueidis":        {"internal/redisstore", "internal/redistest"},
	"github.com/Shopify/toxiproxy/v2": {"internal/redistest"},
	"zombiezen.com/go/sqlite":         {"internal/sqlitestore"},
	"github.com/gofrs/flock":          {"internal/sqlitestore"},

	"github.com/standard-webhooks/standard-webhooks/libraries": {"internal/webhook"},
}

// pure are the rooms of plain arithmetic: the moment is an argument.
var pure = []string{"internal/limit", "internal/breaker", "internal/line", "internal/dialect", "internal/ledger", "internal/retry", "internal/tokens", "internal/lease"}

// impure is what plain arithmetic has no business with.
var impure = map[string]string{
	"os":           "no disk",
	"net":          "no network",
	"sync":         "no goroutines: the owner's lock guards it",
	"sync/atomic":  "no goroutines: the owner's lock guards it",
	"context":      "nothing waits",
	"log":          "rooms below tell nothing: they return",
	"log/slog":     "rooms below tell nothing: they return",
	"math/rand":    "randomness is an argument",
	"math/rand/v2": "randomness is an argument",
}

// clocks are the functions of package time that read or wait for one.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

func TestImportsRunDown(t *testing.T) {
	floorOf := make(map[string]int)
	for i, rooms := range floors {
		for _, room := range rooms {
			floorOf[room] = i
		}
	}
	for _, p := range packages(t) {
		from, known := floorOf[p.room]
		if !known {
			t.Errorf("%s stands on no floor: give it one in deps_test.go", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			if room, ours := roomOf(path); ours {
				if to, known := floorOf[room]; known && to <= from {
					t.Errorf("%q imports %q: imports run down, never up or across", p.room, room)
				}
				for _, r := range refused {
					if r.from == p.room && r.to == room {
						t.Errorf("%q imports %q: %s", p.room, room, r.reason)
					}
				}
			}
		}
	}
}

func TestLibrariesEnterByTheirDoor(t *testing.T) {
	for _, p := range packages(t) {
		for _, path := range p.Imports {
			if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			if _, ours := roomOf(path); ours {
				continue
			}
			rooms, ok := doorOf(path)
			if !ok {
				t.Errorf("%q imports %s: name its door in deps_test.go, and say in an ADR why it is here", p.room, path)
			} else if !slices.Contains(rooms, p.room) {
				t.Errorf("%q imports %s: its door is %q", p.room, path, rooms)
			}
		}
	}
}

func TestPureRoomsKnowNoClock(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(pure, p.room) {
			continue
		}
		for _, path := range p.Imports {
			if reason, bad := impure[path]; bad {
				t.Errorf("%q imports %s: %s", p.room, path, reason)
			}
		}
		for _, name := range p.GoFiles {
			file := filepath.Join(p.Dir, name)
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine", file)
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
						t.Errorf("%s calls time.%s: the moment is an argument", file, n.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

func TestMainOnlyHandsOver(t *testing.T) {
	source, err := os.ReadFile("cmd/headgate/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), "\n"); n >= 30 {
		t.Errorf("cmd/headgate/main.go has %d lines, want fewer than 30", n)
	}
}

type goPackage struct {
	ImportPath, Dir, Doc string
	Imports, GoFiles     []string
	room                 string
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// packages returns the packages of the module that hold more than tests.
func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		p.room, _ = roomOf(p.ImportPath)
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
}

func roomOf(path string) (room string, ours bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func doorOf(path string) (rooms []string, ok bool) {
	for library, rooms := range doors {
		if path == library || strings.HasPrefix(path, library+"/") {
			return rooms, true
		}
	}
	return nil, false
}
