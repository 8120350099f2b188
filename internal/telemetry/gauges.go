package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
)

var (
	lineLength = gaugeDesc("headgate_line_length", "Calls that wait for a permit.", "upstream")
	limitUsage = gaugeDesc("headgate_limit_usage_ratio",
		"Share of a limit in use now, by this instance; of the credential that uses most of it.", "upstream", "limit")
	breakerState = gaugeDesc("headgate_breaker_state",
		"0 closed, 1 half-open, 2 open; of the credential that is worst off.", "upstream")
	paused = gaugeDesc("headgate_paused",
		"1 while a credential of the upstream is paused, or a model or route of one alone, else 0.", "upstream")
	storeUp   = gaugeDesc("headgate_store_up", "1 while the store that quotas are shared through answers, else 0.")
	jobs      = gaugeDesc("headgate_jobs", "Calls that are stored, by the state they are in.", "state")
	instances = gaugeDesc("headgate_instances", "Instances that share the limits of the upstream, of the credential that most do.", "upstream")
)

func gaugeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// gauges reads the status of a gate once for each scrape. Credentials are no
// label: where an upstream has several, or the same limit in several scopes,
// the worst one is told.
type gauges struct {
	status func() headgate.Status
}

func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- lineLength
	ch <- limitUsage
	ch <- breakerState
	ch <- paused
	ch <- storeUp
	ch <- instances
}

func (g gauges) Collect(ch chan<- prometheus.Metric) {
	tell := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	now := time.Now()
	status := g.status()
	if s := status.Store; s != nil {
		up := 0.0
		if s.Standing == headgate.StoreUp {
			up = 1
		}
		tell(storeUp, up)
	}
	for _, u := range status.Upstreams {
		worst, isPaused, sharing := 0.0, 0.0, 0
		usage := map[string]float64{}
		for _, b := range u.Credentials {
			worst = max(worst, breakerValue(b.Breaker))
			sharing = max(sharing, len(b.Instances))
			if b.PausedUntil != nil && b.PausedUntil.After(now) {
				isPaused = 1
			}
			for _, p := range b.Paused {
				if p.Until.After(now) {
					isPaused = 1
				}
			}
			for _, l := range b.Limits {
				used := 0.0
				if l.Max > 0 {
					used = float64(l.Used) / float64(l.Max)
				}
				usage[l.Limit] = max(usage[l.Limit], used)
			}
		}
		tell(lineLength, float64(u.Line.Length), u.Name)
		tell(breakerState, worst, u.Name)
		tell(paused, isPaused, u.Name)
		if status.Store != nil {
			tell(instances, float64(sharing), u.Name)
		}
		for limit, used := range usage {
			tell(limitUsage, used, u.Name, limit)
		}
	}
}

func breakerValue(state string) float64 {
	switch state {
	case "open":
		return 2
	case "half-open":
		return 1
	}
	return 0
}

// jobPatience is how long a scrape waits for the number of jobs.
const jobPatience = 2 * time.Second

// jobGauges asks a store of jobs once for each scrape. One that is away is not
// told of: no number is better than an old one.
type jobGauges struct {
	counts func(context.Context) (map[job.State]int64, error)
}

func (g jobGauges) Describe(ch chan<- *prometheus.Desc) { ch <- jobs }

func (g jobGauges) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), jobPatience)
	defer cancel()
	counts, err := g.counts(ctx)
	if err != nil {
		return
	}
	for _, state := range job.States {
		ch <- prometheus.MustNewConstMetric(jobs, prometheus.GaugeValue, float64(counts[state]), string(state))
	}
}
