// Package admin is the admin plane: the page that shows a running instance and
// what happens at it, health, readiness, metrics and status, for people, probes
// and Prometheus, and what can be done to its upstreams and jobs.
//
// Who may reach its listener may read all of it, which is why that is on loopback
// unless said otherwise, and why pages of other sites are kept out (see
// guard.go). Who changes something needs the admin key where there is one, and
// nobody may where there is none and others can reach the listener (see key.go).
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/jobhttp"
)

// State is where an instance is in its life.
type State int32

// The states, in their order.
const (
	Starting State = iota // not serving yet
	Ready                 // serving
	Stopping              // no longer taking calls, ending those in flight
)

// String returns "starting", "ready" or "stopping".
func (s State) String() string {
	switch s {
	case Ready:
		return "ready"
	case Stopping:
		return "stopping"
	}
	return "starting"
}

// Gate is what the admin plane shows and changes; *headgate.Gate is one.
type Gate interface {
	Status() headgate.Status
	Waiting(upstream string, n int) (headgate.WaitingStatus, error)
	Pause(upstream string, d time.Duration) error
	Resume(upstream string) error
	OpenBreaker(upstream string) error
	CloseBreaker(upstream string) error
}

// Options are what New needs. Listen, Version, Gate and Metrics are required.
type Options struct {
	Listen  string // host:port as configured: its host is allowed in the Host header
	Version string // of this build
	Commit  string // of this build; "" if unknown
	Gate    Gate
	Feed    *Feed           // whose Events the gate tells; nil: nothing is told but status
	Metrics http.Handler    // in Prometheus' formats
	Jobs    job.Records     // nil: no jobs are kept
	Sources func() []Source // that are drained now; nil: none
	Key     string          // hash of the admin key, see SetKey
	Changed func(Change)    // is told of each change; nil: nobody asks
}

// Admin serves the admin plane. New makes one; it is Starting until told
// otherwise. Safe for use by many goroutines.
type Admin struct {
	options Options
	started time.Time
	state   atomic.Int32
	watch   *jobhttp.Watch // of the jobs; nil: none are kept
	handler http.Handler

	key      atomic.Pointer[string]
	history  history
	snapshot snapshot
}

// New returns the admin plane of an instance that starts now.
func New(o Options) *Admin {
	if o.Feed == nil {
		o.Feed = new(Feed)
	}
	a := &Admin{options: o, started: time.Now()}
	a.SetKey(o.Key)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.index)
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /api/v1/status", a.status)
	endpoints(mux, map[string]func(http.ResponseWriter, *http.Request) error{"GET /api/v1/events": a.events})
	a.addUpstreams(mux)
	addPage(mux)
	if o.Jobs != nil {
		a.watch = jobhttp.NewWatch(o.Jobs)
	}
	a.addJobs(mux)
	a.addSources(mux)
	a.handler = guard(o.Listen, mux)
	return a
}

// SetState says where the instance is in its life; readyz follows. Once it is
// Stopping, who waits for a job is told how it stands.
func (a *Admin) SetState(s State) {
	a.state.Store(int32(s))
	if s == Stopping && a.watch != nil {
		a.watch.Stop()
	}
}

// Hear wakes those who wait for the job that n tells of. It does not block.
// Without it they see an end within two seconds.
func (a *Admin) Hear(n job.Notice) {
	a.options.Feed.hear(n)
	if a.watch != nil {
		a.watch.Hear(n)
	}
}

func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Server returns a server for the admin plane, bounded for the small requests
// and answers it has.
func (a *Admin) Server() *http.Server {
	return &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

const indexText = `Headgate %s (%s)

/healthz        200 while the process lives
/readyz         200 while it takes calls, else 503; a store that is lost stops it unless on_store_loss is share
/metrics        Prometheus
/api/v1/status  upstreams, lines, limits, pauses, breakers, instances and numbers of jobs as JSON
/api/v1/waiting?upstream=NAME  who waits in line, for what, until when
/api/v1/events  what happens, as server-sent events
/api/v1/jobs    jobs as JSON; headgate jobs shows, retries, cancels and purges them
/api/v1/sources queues that are drained, as JSON; headgate sources looks after their dead letters
/               the page, in a browser

POST /api/v1/upstreams/NAME/pause {"for": "30s"}, .../resume, .../breaker {"state": "open"} or {"state": "closed"}
`

func (a *Admin) index(w http.ResponseWriter, r *http.Request) {
	if wantsPage(r) {
		servePage(w, "index.html")
		return
	}
	w.Header().Set("Vary", "Accept")
	text(w, http.StatusOK, fmt.Sprintf(indexText, a.options.Version, a.current()))
}

func (a *Admin) healthz(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, "ok\n")
}

func (a *Admin) readyz(w http.ResponseWriter, _ *http.Request) {
	s, status := a.current(), http.StatusOK
	said := s.String()
	store := a.options.Gate.Status().Store
	switch {
	case s != Ready:
		status = http.StatusServiceUnavailable
	case store == nil || store.Standing == headgate.StoreUp:
	case store.Standing == headgate.StoreLost && store.OnLoss == "share":
		said += ", but the store is lost"
	default: // calls wait, or are refused
		status = http.StatusServiceUnavailable
		said = "store " + string(store.Standing)
	}
	text(w, status, said+"\n")
}

// report is the answer of api/v1/status.
type report struct {
	Version   string                    `json:"version"`
	Commit    string                    `json:"commit,omitempty"`
	State     string                    `json:"state"`
	Started   time.Time                 `json:"started"`
	UptimeMS  int64                     `json:"uptime_ms"`
	Store     *headgate.StoreStatus     `json:"store,omitempty"`
	Upstreams []headgate.UpstreamStatus `json:"upstreams"`
	Jobs      map[job.State]int64       `json:"jobs,omitempty"`       // in each state; none without a store
	JobsFault string                    `json:"jobs_fault,omitempty"` // why they cannot be counted
}

func (a *Admin) status(w http.ResponseWriter, r *http.Request) {
	said := a.report(r.Context(), a.options.Gate.Status())
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	_ = e.Encode(said) // it fails only if the reader has left
}

func (a *Admin) report(ctx context.Context, status headgate.Status) report {
	said := report{
		Version:   a.options.Version,
		Commit:    a.options.Commit,
		State:     a.current().String(),
		Started:   a.started.UTC().Truncate(time.Millisecond),
		UptimeMS:  time.Since(a.started).Milliseconds(),
		Store:     status.Store,
		Upstreams: status.Upstreams,
	}
	if said.Upstreams == nil {
		said.Upstreams = []headgate.UpstreamStatus{}
	}
	if a.options.Jobs != nil {
		var err error
		if said.Jobs, err = a.counts(ctx); err != nil {
			said.JobsFault = err.Error()
		}
	}
	return said
}

func (a *Admin) current() State { return State(a.state.Load()) }

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, s) // it fails only if the reader has left
}
