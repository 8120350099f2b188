package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/jobhttp"
	"github.com/headgate/headgate/internal/source"
)

// Source is a queue that this instance drains; *worker.Source is one.
type Source interface {
	Name() string
	Status(ctx context.Context) source.Status
	Letters() source.Letters
}

var (
	errNoSource = errors.New("this instance drains no source of that name")
	errLetters  = errors.New("the dead letters cannot be looked after now")
)

// lettersShown is how many dead letters are shown if the reader says nothing, and
// lettersMost how many at most.
const (
	lettersShown = 100
	lettersMost  = 10_000
)

// addSources adds the paths of sources.
func (a *Admin) addSources(mux *http.ServeMux) {
	for pattern, do := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/v1/sources":               a.listSources,
		"GET /api/v1/sources/{name}/dead":   a.listLetters,
		"POST /api/v1/sources/{name}/retry": a.actOnLetters("retried", source.Letters.Revive),
		"POST /api/v1/sources/{name}/purge": a.actOnLetters("purged", source.Letters.Purge),
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(w, r); err != nil {
				writeProblem(w, err)
			}
		})
	}
}

func (a *Admin) sources() []Source {
	if a.options.Sources == nil {
		return nil
	}
	return a.options.Sources()
}

func (a *Admin) listSources(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), storePatience)
	defer cancel()
	all := []source.Status{}
	for _, s := range a.sources() {
		all = append(all, s.Status(ctx))
	}
	jobhttp.WriteJSON(w, http.StatusOK, map[string][]source.Status{"sources": all})
	return nil
}

// letters returns the dead letters of the source that a request names.
func (a *Admin) letters(r *http.Request) (source.Letters, error) {
	for _, s := range a.sources() {
		if letters := s.Letters(); s.Name() == r.PathValue("name") && letters != nil {
			return letters, nil
		}
	}
	return nil, errNoSource
}

// letterFilter says which dead letters are meant: those with one of these IDs, and
// with a text in them. The zero value means all.
type letterFilter struct {
	ids   []string
	text  string
	limit int
}

func readLetterFilter(query url.Values) (f letterFilter, err error) {
	for name, values := range query {
		switch name {
		case "id":
			f.ids = values
		case "q":
			f.text = values[0]
		case "limit":
			if f.limit, err = strconv.Atoi(values[0]); err != nil || f.limit < 1 {
				return f, fmt.Errorf("%w: limit %q: want a number from 1", errBadFilter, values[0])
			}
		default:
			return f, fmt.Errorf("%w: unknown %q; want id, q or limit", errBadFilter, name)
		}
	}
	return f, nil
}

func (f *letterFilter) means(l *source.Letter) bool {
	return (len(f.ids) == 0 || slices.Contains(f.ids, l.ID)) && l.Matches(f.text)
}

// letterList are dead letters as they are stored.
type letterList struct {
	Letters []json.RawMessage `json:"letters"`
	More    bool              `json:"more,omitempty"`
}

func (a *Admin) listLetters(w http.ResponseWriter, r *http.Request) error {
	letters, err := a.letters(r)
	if err != nil {
		return err
	}
	f, err := readLetterFilter(r.URL.Query())
	if err != nil {
		return err
	}
	if f.limit == 0 {
		f.limit = lettersShown
	}
	f.limit = min(f.limit, lettersMost)
	takeTime(w)
	list := letterList{Letters: []json.RawMessage{}}
	err = letters.Letters(r.Context(), func(l source.Letter) bool {
		if !f.means(&l) {
			return true
		}
		if list.More = len(list.Letters) == f.limit; list.More {
			return false
		}
		list.Letters = append(list.Letters, l.Raw)
		return true
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errLetters, err)
	}
	jobhttp.WriteJSON(w, http.StatusOK, list)
	return nil
}

// actOnLetters does something to all dead letters that a filter means, and answers
// with how many. Those that come meanwhile are not meant.
func (a *Admin) actOnLetters(done string, do func(source.Letters, context.Context, source.Letter) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		began := time.Now()
		letters, err := a.letters(r)
		if err != nil {
			return err
		}
		f, err := readLetterFilter(r.URL.Query())
		if err != nil {
			return err
		}
		takeTime(w)
		n, found := 0, map[string]bool{}
		var failed error
		err = letters.Letters(r.Context(), func(l source.Letter) bool {
			if !f.means(&l) || l.End.At.After(began) {
				return true
			}
			switch failed = do(letters, r.Context(), l); {
			case errors.Is(failed, source.ErrNoLetter):
				failed = nil // somebody was faster
			case failed == nil:
				found[l.ID] = true
				n++
			}
			return failed == nil && (f.limit == 0 || n < f.limit)
		})
		if err = errors.Join(err, failed); err != nil {
			return fmt.Errorf("%w: %w; %d were %s before", errLetters, err, n, done)
		}
		for _, id := range f.ids {
			if !found[id] && f.limit == 0 {
				return fmt.Errorf("%w: %q; %d others were %s", source.ErrNoLetter, id, n, done)
			}
		}
		jobhttp.WriteJSON(w, http.StatusOK, map[string]int{done: n})
		return nil
	}
}
