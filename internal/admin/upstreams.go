package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/jobhttp"
)

// mostPause is the longest pause that may be asked for: longer ones are for the
// configuration.
const mostPause = 24 * time.Hour

// mostBody bounds the body of a change, in bytes.
const mostBody = 4 << 10

var errBadBody = errors.New("bad body")

// addUpstreams adds the paths of upstreams: who waits, and what can be done.
func (a *Admin) addUpstreams(mux *http.ServeMux) {
	endpoints(mux, map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /api/v1/waiting":                   a.waiting,
		"POST /api/v1/upstreams/{name}/pause":   a.changing(a.pause),
		"POST /api/v1/upstreams/{name}/resume":  a.changing(a.resume),
		"POST /api/v1/upstreams/{name}/breaker": a.changing(a.breaker),
	})
}

// waiting answers with the first calls in the line of an upstream.
func (a *Admin) waiting(w http.ResponseWriter, r *http.Request) error {
	query, n := r.URL.Query(), 0
	if text := query.Get("limit"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			return fmt.Errorf("%w: limit %q: want a number from 1", errBadFilter, text)
		}
	}
	if query.Get("upstream") == "" {
		return fmt.Errorf("%w: want upstream=NAME", errBadFilter)
	}
	s, err := a.options.Gate.Waiting(query.Get("upstream"), n)
	if err != nil {
		return err
	}
	jobhttp.WriteJSON(w, http.StatusOK, s)
	return nil
}

func (a *Admin) pause(w http.ResponseWriter, r *http.Request) (string, error) {
	var body struct {
		For string `json:"for"`
	}
	if err := readBody(r, &body); err != nil {
		return "", err
	}
	d, err := time.ParseDuration(body.For)
	if err != nil || d <= 0 || d > mostPause {
		return "", fmt.Errorf(`%w: for %q: want a duration up to 24h, as in {"for": "30s"}`, errBadBody, body.For)
	}
	return d.String(), a.order(w, a.options.Gate.Pause(r.PathValue("name"), d))
}

func (a *Admin) resume(w http.ResponseWriter, r *http.Request) (string, error) {
	return "", a.order(w, a.options.Gate.Resume(r.PathValue("name")))
}

func (a *Admin) breaker(w http.ResponseWriter, r *http.Request) (string, error) {
	var body struct {
		State string `json:"state"`
	}
	if err := readBody(r, &body); err != nil {
		return "", err
	}
	switch body.State {
	case "open":
		return "open", a.order(w, a.options.Gate.OpenBreaker(r.PathValue("name")))
	case "closed":
		return "closed", a.order(w, a.options.Gate.CloseBreaker(r.PathValue("name")))
	}
	return "", fmt.Errorf(`%w: state %q: want {"state": "open"} or {"state": "closed"}`, errBadBody, body.State)
}

// order answers an order that was carried out, unless it was not.
func (a *Admin) order(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// readBody reads a small JSON object.
func readBody(r *http.Request, into any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, mostBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errBadBody, err)
	}
	return nil
}
