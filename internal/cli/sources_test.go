package cli

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/admin"
	"github.com/headgate/headgate/internal/source"
)

// drained is a source with dead letters in memory.
type drained struct{ letters []source.Letter }

func (d *drained) Name() string            { return "reviews" }
func (d *drained) Letters() source.Letters { return letters{d} }
func (d *drained) Status(context.Context) source.Status {
	return source.Status{Name: "reviews", Upstream: "api", Waiting: -1, Running: 3, Done: 40, Dead: 2, Fault: "key \"q\" holds a string"}
}

type letters struct{ *drained }

func (d letters) Letters(_ context.Context, f func(source.Letter) bool) error {
	for _, l := range append([]source.Letter(nil), d.letters...) {
		if !f(l) {
			return nil
		}
	}
	return nil
}

func (d letters) Revive(ctx context.Context, l source.Letter) error { return d.Purge(ctx, l) }

func (d letters) Purge(_ context.Context, l source.Letter) error {
	for i := range d.letters {
		if d.letters[i].ID == l.ID {
			d.letters = append(d.letters[:i:i], d.letters[i+1:]...)
			return nil
		}
	}
	return source.ErrNoLetter
}

func TestSourcesAreListedAndTheirDeadLookedAfter(t *testing.T) {
	d := &drained{}
	for id, reason := range map[string]string{"a": "status 400", "b": "status 500", "c/d e": "no\tentry"} {
		raw := source.WriteLetter("reviews", source.Message{ID: id}, source.End{Dead: reason, Attempts: 1, At: time.Now().Add(-time.Hour)})
		l, err := source.ReadLetter(raw)
		if err != nil {
			t.Fatal(err)
		}
		d.letters = append(d.letters, l)
	}
	server := httptest.NewServer(admin.New(admin.Options{
		Listen: "127.0.0.1:0", Metrics: http.NotFoundHandler(),
		Gate:    newGate(t),
		Sources: func() []admin.Source { return []admin.Source{d} },
	}))
	defer server.Close()
	for _, step := range []struct {
		args   string
		status int
		out    string // is part of what is printed
		left   int
	}{
		{"list", 0, "reviews  api       ?        3        40    2     key \"q\" holds a string", 3},
		{"list --json", 0, `"waiting":-1`, 3},
		{"dead reviews", 0, "status 500", 3},
		{"dead reviews --match 400 --json", 0, `"reason":"status 400"`, 3},
		{"dead", 2, "want the name of one source", 3},
		{"dead others", 1, "no source of that name", 3},
		{"retry reviews", 2, "say which letters", 3},
		{"retry reviews a --all", 2, "say which letters", 3},
		{"retry reviews --all", 2, "give --yes", 3},
		{"retry reviews zzz", 1, `no such dead letter: "zzz"`, 3},
		{"retry reviews a", 0, "1 dead letter retried", 2},
		{"purge reviews --match 500 --yes", 0, "1 dead letter purged", 1},
		{"purge reviews --all --yes --json", 0, `"purged":1`, 0},
		{"dead reviews", 0, "no dead letters", 0},
	} {
		args := append([]string{"sources"}, strings.Fields(step.args)...)
		status, stdout, stderr := run(t, "", append(args, "--server", server.URL)...)
		if status != step.status || !strings.Contains(stdout+stderr, step.out) || len(d.letters) != step.left {
			t.Errorf("sources %s = %d, %d letters left, printed\n%s%s\nwant %d, %d, and %s", step.args, status, len(d.letters), stdout, stderr, step.status, step.left, step.out)
		}
	}
}
