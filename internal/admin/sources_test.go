package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/source"
)

// drained is a source with dead letters in memory.
type drained struct {
	letters []source.Letter
	revived []string
	away    error
}

func newDrained(ids ...string) *drained {
	d := &drained{}
	for i, id := range ids {
		raw := source.WriteLetter("reviews", source.Message{ID: id, Body: []byte("text " + id)},
			source.End{Dead: fmt.Sprintf("reason %d", i), At: time.Unix(int64(i), 0)})
		l, err := source.ReadLetter(raw)
		if err != nil {
			panic(err)
		}
		d.letters = append(d.letters, l)
	}
	return d
}

func (d *drained) Name() string { return "reviews" }
func (d *drained) Status(context.Context) source.Status {
	return source.Status{Name: "reviews", Upstream: "api", Waiting: 7, Dead: int64(len(d.letters))}
}
func (d *drained) Letters() source.Letters { return drainedLetters{d} }

type drainedLetters struct{ *drained }

func (d drainedLetters) Letters(_ context.Context, f func(source.Letter) bool) error {
	for _, l := range append([]source.Letter(nil), d.letters...) {
		if !f(l) {
			return nil
		}
	}
	return d.away
}

func (d drainedLetters) Revive(_ context.Context, l source.Letter) error {
	d.revived = append(d.revived, l.ID)
	return d.Purge(context.Background(), l)
}

func (d drainedLetters) Purge(_ context.Context, l source.Letter) error {
	for i := range d.letters {
		if string(d.letters[i].Raw) == string(l.Raw) {
			d.letters = append(d.letters[:i:i], d.letters[i+1:]...)
			return nil
		}
	}
	return source.ErrNoLetter
}

func askSources(d *drained, method, target string) *httptest.ResponseRecorder {
	a := New(Options{
		Listen: "127.0.0.1:8788", Metrics: http.NotFoundHandler(),
		Gate:    &fakeGate{},
		Sources: func() []Source { return []Source{d} },
	})
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func TestDeadLettersAreListedRetriedAndPurged(t *testing.T) {
	d := newDrained("a", "b", "a/b c", "d")
	for _, step := range []struct {
		method, target string
		status         int
		want           string
		left           int
	}{
		{"GET", "/api/v1/sources", 200, `"waiting":7`, 4},
		{"GET", "/api/v1/sources/reviews/dead?limit=2", 200, `"more":true`, 4},
		{"GET", "/api/v1/sources/reviews/dead?q=reason+3", 200, `"message":"text d"`, 4},
		{"GET", "/api/v1/sources/other/dead", 404, "unknown-source", 4},
		{"GET", "/api/v1/sources/reviews/dead?match=x", 400, "want id, q or limit", 4},
		{"POST", "/api/v1/sources/reviews/retry?id=nobody", 404, "unknown-letter", 4},
		{"POST", "/api/v1/sources/reviews/retry?limit=0", 400, "bad-request", 4},
		{"POST", "/api/v1/sources/reviews/retry?id=a%2Fb+c", 200, `"retried":1`, 3},
		{"POST", "/api/v1/sources/reviews/purge?q=reason+0", 200, `"purged":1`, 2},
		{"POST", "/api/v1/sources/reviews/retry", 200, `"retried":2`, 0},
	} {
		w := askSources(d, step.method, step.target)
		if w.Code != step.status || !strings.Contains(w.Body.String(), step.want) || len(d.letters) != step.left {
			t.Errorf("%s %s = %d, %d letters left\n%s\nwant %d, %s and %d", step.method, step.target, w.Code, len(d.letters), w.Body, step.status, step.want, step.left)
		}
		if w.Code >= 400 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: not JSON: %s", step.target, w.Body)
		}
	}
	if got := strings.Join(d.revived, ","); got != "a/b c,b,d" {
		t.Errorf("retried %s", got)
	}
	d.away = errors.New("the queue is away")
	if w := askSources(d, "POST", "/api/v1/sources/reviews/retry"); w.Code != 503 || !strings.Contains(w.Body.String(), "source-unavailable") {
		t.Errorf("with the queue away: %d %s", w.Code, w.Body)
	}
}
