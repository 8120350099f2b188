package telemetry

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/worker"
)

// Metrics counts what the door tells, for Prometheus. Its events cost no
// allocation once a label set has been seen. Safe for use by many goroutines.
type Metrics struct {
	registry *prometheus.Registry
	calls    *series[callLabels, prometheus.Counter]
	attempts *series[attemptLabels, prometheus.Counter]
	waits    *series[string, prometheus.Observer] // by upstream
	delays   *series[string, prometheus.Observer] // by upstream
	jobs     *series[jobLabels, prometheus.Counter]
	jobStore prometheus.Gauge
	syncs    prometheus.Observer
	messages *series[messageLabels, prometheus.Counter]
}

type messageLabels struct{ source, outcome string }

type callLabels struct{ upstream, client, outcome string }

type attemptLabels struct {
	upstream string
	reading  dialect.Class
	status   int
}

type jobLabels struct {
	upstream string
	kind     job.Kind
	state    job.State
}

const (
	other = "other" // stands for label values beyond the bound
	none  = "none"  // there was no answer
)

// NewMetrics returns metrics that have counted nothing yet, with those of the
// Go runtime, of the process, and headgate_build_info.
func NewMetrics(version, commit string) *Metrics {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_calls_total",
		Help: "Calls that ended, by how they ended.",
	}, []string{"upstream", "client", "outcome"})
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_attempts_total",
		Help: "Attempts that ended, by what the answer was read as and by its status; both are none if there was no answer.",
	}, []string{"upstream", "reading", "code"})
	waits := secondsVec("headgate_line_wait_seconds", "Time an attempt stood in line before its permit.", waitBuckets, "upstream")
	delays := secondsVec("headgate_retry_delay_seconds", "Time chosen between an attempt and the next one of the same call.", waitBuckets, "upstream")
	store := secondsVec("headgate_store_seconds", "Time the store took to answer, or to fail.", storeBuckets, "op")
	jobs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_jobs_ended_total",
		Help: "Jobs that this instance ran and brought to an end, by how they ended; callbacks have no upstream.",
	}, []string{"upstream", "kind", "state"})
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_source_messages_total",
		Help: "Messages of sources: taken from the queue, done, dead, returned to the queue, or lost to another instance.",
	}, []string{"source", "outcome"})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "headgate_build_info",
		Help: "Always 1; the labels say which build runs.",
	}, []string{"version", "commit", "go_version"})
	build.WithLabelValues(version, commit, runtime.Version()).Set(1)

	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: newSeries(
			func(k callLabels) prometheus.Counter {
				return calls.WithLabelValues(k.upstream, k.client, k.outcome)
			},
			func(k callLabels) callLabels { k.client = other; return k }),
		attempts: newSeries(
			func(k attemptLabels) prometheus.Counter {
				return attempts.WithLabelValues(k.upstream, reading(k.reading, k.status), code(k.status))
			},
			func(k attemptLabels) attemptLabels { k.status = -1; return k }),
		waits:  newSeries(func(u string) prometheus.Observer { return waits.WithLabelValues(u) }, toOther),
		delays: newSeries(func(u string) prometheus.Observer { return delays.WithLabelValues(u) }, toOther),
		jobs: newSeries(
			func(k jobLabels) prometheus.Counter {
				return jobs.WithLabelValues(k.upstream, string(k.kind), string(k.state))
			},
			func(k jobLabels) jobLabels { k.upstream = other; return k }),
		jobStore: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_job_store_up",
			Help: "1 while the store of jobs answers, else 0.",
		}),
		syncs: store.WithLabelValues("sync"),
		messages: newSeries(
			func(k messageLabels) prometheus.Counter { return messages.WithLabelValues(k.source, k.outcome) },
			func(k messageLabels) messageLabels { k.source = other; return k }),
	}
	m.registry.MustRegister(calls, attempts, waits, delays, store, jobs, messages, build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch adds the gauges of a gate, which are read from its status at each
// scrape. It is called once.
func (m *Metrics) Watch(status func() headgate.Status) {
	m.registry.MustRegister(gauges{status: status})
}

// WatchJobs adds the gauges of jobs, which are counted at each scrape, and of
// their store, which is up until JobEvents say otherwise. It is called once.
func (m *Metrics) WatchJobs(counts func(context.Context) (map[job.State]int64, error)) {
	m.jobStore.Set(1)
	m.registry.MustRegister(jobGauges{counts}, m.jobStore)
}

// JobEvents returns the events of jobs that are counted: ends that have been
// stored, and the store's standing.
func (m *Metrics) JobEvents() worker.Events {
	return worker.Events{
		JobEnded: func(e worker.JobEnded) {
			if e.Err == nil && e.State.Ended() {
				m.jobs.get(jobLabels{e.Upstream, e.Kind, e.State}).Inc()
			}
		},
		StoreChanged: func(e worker.StoreChanged) {
			if e.Err != nil {
				m.jobStore.Set(0)
			} else {
				m.jobStore.Set(1)
			}
		},
	}
}

// SourceCounted counts messages of a source: worker.SourceEvents.Counted.
func (m *Metrics) SourceCounted(source, outcome string, n int) {
	m.messages.get(messageLabels{source, outcome}).Add(float64(n))
}

// Handler serves the metrics in the formats that Prometheus asks for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Events returns the events that are counted.
func (m *Metrics) Events() headgate.Events {
	return headgate.Events{
		CallEnded: func(e headgate.CallEnded) {
			m.calls.get(callLabels{e.Upstream, e.Client, e.Outcome}).Inc()
		},
		AttemptEnded: func(e headgate.AttemptEnded) {
			m.attempts.get(attemptLabels{e.Upstream, e.Reading.Class, e.Status}).Inc()
		},
		Waited:  func(e headgate.Waited) { m.waits.get(e.Upstream).Observe(e.Took.Seconds()) },
		Retried: func(e headgate.Retried) { m.delays.get(e.Upstream).Observe(e.Delay.Seconds()) },
		Synced:  func(e headgate.Synced) { m.syncs.Observe(e.Took.Seconds()) },
	}
}

// Buckets of classic histograms, in seconds: from the least wait that matters to
// the largest backoff, and from a Redis next door to one that is given up.
var (
	waitBuckets  = []float64{0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120}
	storeBuckets = []float64{0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
)

// secondsVec is a histogram by one label, classic and native at once: which of
// the two is kept is up to the Prometheus that scrapes.
func secondsVec(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:                            name,
		Help:                            help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{label})
}

// reading is the label of a class. Without an answer nothing was read, which
// must not pass for ok, the zero value.
func reading(c dialect.Class, status int) string {
	if status == 0 && c == dialect.OK {
		return none
	}
	return c.String()
}

// code is the label of a status. Upstreams may invent statuses, but not
// without end.
func code(status int) string {
	switch {
	case status == 0:
		return none
	case status < 100 || status > 599:
		return other
	}
	return strconv.Itoa(status)
}

func toOther(string) string { return other }
