package telemetry

import (
	"context"
	"log/slog"
	"time"

	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/worker"
)

// JobEvents returns the events of jobs that make log lines: those that failed
// (warn), that have to be run again (info), whose end could not be stored (error)
// and the store of jobs (error as it is lost, info as it is reached). Jobs that
// are done are told at debug.
func (l *Log) JobEvents() worker.Events {
	return worker.Events{JobEnded: l.jobEnded, StoreChanged: l.jobStoreChanged}
}

func (l *Log) jobEnded(e worker.JobEnded) {
	level, msg := slog.LevelDebug, "job ended"
	switch {
	case e.Err != nil:
		level, msg = slog.LevelError, "end of a job not stored"
	case e.State == job.Failed:
		level, msg = slog.LevelWarn, "job failed"
	case e.State == job.Waiting:
		level, msg = slog.LevelInfo, "job waits again"
	}
	attrs := []slog.Attr{
		slog.String("job", e.ID),
		slog.String("kind", string(e.Kind)),
		slog.String("upstream", e.Upstream),
		slog.String("client", e.Client),
		slog.String("state", string(e.State)),
		slog.Int("attempts", e.Attempts),
	}
	if e.State == job.Waiting {
		attrs = append(attrs, slog.Duration("delay", e.Delay.Round(time.Millisecond)))
	}
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", clip(e.Reason)))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", clip(e.Err.Error())))
	}
	l.LogAttrs(context.Background(), level, msg, attrs...)
}

func (l *Log) jobStoreChanged(e worker.StoreChanged) {
	if e.Err != nil {
		l.LogAttrs(context.Background(), slog.LevelError, "job store lost", slog.String("error", clip(e.Err.Error())))
		return
	}
	l.LogAttrs(context.Background(), slog.LevelInfo, "job store is back")
}
