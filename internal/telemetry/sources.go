package telemetry

import (
	"context"
	"log/slog"
)

// SourceDied says in a line that a message of a source is among the dead letters.
// Nothing of the message is shown but its ID.
func (l *Log) SourceDied(source, upstream, id, reason string, status, attempts int) {
	l.LogAttrs(context.Background(), slog.LevelWarn, "dead letter",
		slog.String("source", source),
		slog.String("upstream", upstream),
		slog.String("id", clip(id)),
		slog.String("reason", clip(reason)),
		slog.Int("status", status),
		slog.Int("attempts", attempts))
}

// SourceChanged says in a line that a source cannot take or write, and why, or,
// for nil, that it can again.
func (l *Log) SourceChanged(source string, err error) {
	if err != nil {
		l.LogAttrs(context.Background(), slog.LevelError, "source halted", slog.String("source", source), slog.String("reason", clip(err.Error())))
		return
	}
	l.LogAttrs(context.Background(), slog.LevelInfo, "source goes on", slog.String("source", source))
}
