package admin

import (
	"sync"
	"time"

	"github.com/headgate/headgate"
)

// Bounds of a history. A limit takes 10 KB, an upstream 17 KB.
const (
	historyStep      = time.Second
	historySteps     = 600
	historyUpstreams = 32
	historyLimits    = 48 // of all upstreams together
)

// history is how limits and lines stood in the last ten minutes.
type history struct {
	mu struct {
		sync.Mutex
		steps     int64 // ever taken
		at        time.Time
		upstreams []*upstreamHistory
		limits    map[limitName]*limitHistory // all of theirs
	}
}

// series is a ring: step i is at i % historySteps.
type series [historySteps]int64

type upstreamHistory struct {
	name     string
	since    int64 // the step that is its first
	line     series
	inFlight series
	attempts [len(readingNames)]series
	before   [len(readingNames)]int64 // attempts until the last step
	limits   []*limitHistory
}

type limitHistory struct {
	limitName
	since         int64
	used, inForce series
}

type limitName struct{ upstream, credential, limit, scope string }

// add notes how the gate stands.
func (h *history) add(now time.Time, s *headgate.Status, f *Feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	step := h.mu.steps
	h.mu.steps++
	h.mu.at = now
	i := step % historySteps
	for _, u := range h.mu.upstreams { // what is not there any more was 0
		u.line[i], u.inFlight[i] = 0, 0
		for c := range u.attempts {
			u.attempts[c][i] = 0
		}
		for _, l := range u.limits {
			l.used[i], l.inForce[i] = 0, 0
		}
	}
	for n := range s.Upstreams {
		from := &s.Upstreams[n]
		u := h.upstreamLocked(from.Name, step, f)
		if u == nil {
			continue
		}
		u.line[i], u.inFlight[i] = int64(from.Line.Length), int64(from.InFlight)
		for c, count := range f.readingsOf(from.Name) {
			u.attempts[c][i] = count - u.before[c]
			u.before[c] = count
		}
		for _, c := range from.Credentials {
			for _, l := range c.Limits {
				if kept := h.limitLocked(u, c.Credential, l, step); kept != nil {
					kept.used[i], kept.inForce[i] = l.Used, l.InForce
				}
			}
		}
	}
}

func (h *history) upstreamLocked(name string, step int64, f *Feed) *upstreamHistory {
	for _, u := range h.mu.upstreams {
		if u.name == name {
			return u
		}
	}
	if len(h.mu.upstreams) == historyUpstreams {
		return nil
	}
	u := &upstreamHistory{name: name, since: step, before: f.readingsOf(name)}
	h.mu.upstreams = append(h.mu.upstreams, u)
	return u
}

func (h *history) limitLocked(u *upstreamHistory, credential string, s headgate.LimitStatus, step int64) *limitHistory {
	name := limitName{u.name, credential, s.Limit, s.Scope}
	if l := h.mu.limits[name]; l != nil || len(h.mu.limits) == historyLimits {
		return l
	}
	if h.mu.limits == nil {
		h.mu.limits = make(map[limitName]*limitHistory)
	}
	l := &limitHistory{limitName: name, since: step}
	h.mu.limits[name] = l
	u.limits = append(u.limits, l)
	return l
}

// historyReport is a history as the page reads it. Lists end with the same step,
// at End; those that are shorter began later.
type historyReport struct {
	StepMS    int64            `json:"step_ms"`
	End       time.Time        `json:"end"`
	Upstreams []upstreamReport `json:"upstreams"`
}

type upstreamReport struct {
	Name     string             `json:"name"`
	Line     []int64            `json:"line"`
	InFlight []int64            `json:"in_flight"`
	Attempts map[string][]int64 `json:"attempts"` // that ended in each step, by reading
	Limits   []limitReport      `json:"limits"`
}

type limitReport struct {
	Credential string  `json:"credential"`
	Limit      string  `json:"limit"`
	Scope      string  `json:"scope"`
	Used       []int64 `json:"used"`
	InForce    []int64 `json:"in_force"`
}

func (h *history) report() historyReport {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := historyReport{StepMS: historyStep.Milliseconds(), End: h.mu.at.UTC(), Upstreams: []upstreamReport{}}
	for _, u := range h.mu.upstreams {
		list := func(s *series, since int64) []int64 { return s.list(since, h.mu.steps) }
		x := upstreamReport{
			Name: u.name, Line: list(&u.line, u.since), InFlight: list(&u.inFlight, u.since),
			Attempts: make(map[string][]int64), Limits: []limitReport{},
		}
		for c, name := range readingNames {
			x.Attempts[name] = list(&u.attempts[c], u.since)
		}
		for _, l := range u.limits {
			x.Limits = append(x.Limits, limitReport{l.credential, l.limit, l.scope, list(&l.used, l.since), list(&l.inForce, l.since)})
		}
		r.Upstreams = append(r.Upstreams, x)
	}
	return r
}

// list returns the steps from since up to end, oldest first, as far as kept.
func (s *series) list(since, end int64) []int64 {
	since = max(since, end-historySteps)
	all := make([]int64, 0, end-since)
	for step := since; step < end; step++ {
		all = append(all, s[step%historySteps])
	}
	return all
}
