package jobtest

import (
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/job"
)

func listFilters(s *suite) {
	put := func(kind job.Kind, upstream, client string) string {
		n := s.fresh(upstream + client + string(kind))
		n.Job.Kind, n.Job.Upstream, n.Job.Client = kind, upstream, client
		return s.put(n).ID
	}
	a := put(job.Call, "x", "web")
	b := put(job.Call, "y", "web")
	c := put(job.Call, "x", "")
	d := put(job.Callback, "x", "web")
	s.takeOne("w", "xwebcall")
	_, err := s.Cancel(s.Context(), b, "not 100% needed_", nil)
	s.must(err, "Cancel")
	web, nobody := "web", ""
	for _, tt := range []struct {
		filter job.Filter
		want   []string
	}{
		{job.Filter{}, []string{c, b, a}},
		{job.Filter{Kind: job.Callback}, []string{d}},
		{job.Filter{States: []job.State{job.Running}}, []string{a}},
		{job.Filter{States: []job.State{job.Waiting, job.Cancelled}}, []string{c, b}},
		{job.Filter{States: []job.State{job.Done}}, nil},
		{job.Filter{Upstream: "x"}, []string{c, a}},
		{job.Filter{Client: &web}, []string{b, a}},
		{job.Filter{Client: &nobody}, []string{c}},
		{job.Filter{Upstream: "x", Client: &web, States: []job.State{job.Running}}, []string{a}},
		{job.Filter{Text: strings.ToLower(a[10:])}, []string{a}},
		{job.Filter{Text: "v1/2?"}, []string{b}},
		{job.Filter{Text: "100% needed_"}, []string{b}},
		{job.Filter{Text: "%"}, []string{b}},
		{job.Filter{Text: "nowhere"}, nil},
		{job.Filter{After: b}, []string{a}},
	} {
		if tt.filter.After != "" { // a cursor is the store's own
			p, err := s.List(s.Context(), job.Filter{Limit: 2})
			s.must(err, "List")
			tt.filter.After = p.Next
		}
		if got := s.list(tt.filter); !slices.Equal(got, tt.want) {
			s.Errorf("List(%+v) = %v, want %v", tt.filter, got, tt.want)
		}
	}
}

func listPages(s *suite) {
	var want []string
	for range 120 {
		want = append(want, s.put(s.fresh("q")).ID)
	}
	slices.Reverse(want)
	for _, limit := range []int{0, 7, 60, 120, 121, 5000} {
		if got := s.list(job.Filter{Limit: limit}); !slices.Equal(got, want) {
			s.Errorf("pages of %d = %v\nwant %v", limit, got, want)
		}
	}
	if got := s.list(job.Filter{Limit: 1, Text: want[50]}); !slices.Equal(got, want[50:51]) {
		s.Errorf("pages of 1 of one job = %v, want %s", got, want[50])
	}
	if p, err := s.List(s.Context(), job.Filter{Limit: 1}); err != nil || !slices.Equal(ids(p.Jobs), want[:1]) || p.Next == "" {
		s.Errorf("page of 1 = %v, next %q, %v; want %s and more", ids(p.Jobs), p.Next, err, want[0])
	}
	// What is stored meanwhile comes before the page, and is not on the next.
	p, err := s.List(s.Context(), job.Filter{Limit: 50})
	s.must(err, "List")
	s.put(s.fresh("q"))
	if got := s.list(job.Filter{After: p.Next}); !slices.Equal(got, want[50:]) {
		s.Errorf("pages behind %q = %v\nwant %v", p.Next, got, want[50:])
	}
}

func countsAreOfCalls(s *suite) {
	for range 3 {
		s.put(s.fresh("q"))
	}
	n := s.fresh("callbacks")
	n.Job.Kind = job.Callback
	s.put(n)
	s.takeOne("w", "q")
	s.end(job.End{Ref: s.takeOne("w", "q").Ref, State: job.Failed})
	s.counts(map[job.State]int64{job.Waiting: 1, job.Running: 1, job.Failed: 1})
	_, err := s.Purge(s.Context(), job.Filter{})
	s.must(err, "Purge")
	s.counts(map[job.State]int64{job.Waiting: 1, job.Running: 1})
}

func (s *suite) counts(want map[job.State]int64) {
	s.Helper()
	got, err := s.Counts(s.Context())
	s.must(err, "Counts")
	for _, state := range job.States {
		if got[state] != want[state] {
			s.Errorf("Counts = %v, want %v", got, want)
			return
		}
	}
}
