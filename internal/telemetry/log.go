package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/breaker"
)

// Log is a logger whose level can be changed while it is in use.
type Log struct {
	*slog.Logger
	level *slog.LevelVar
}

// NewLog returns a log that writes to w. The level is debug, info, warn or
// error, the format text or json; "" is info and text. Durations are written
// as in Go ("1.5s") in both formats.
func NewLog(w io.Writer, level, format string) (*Log, error) {
	l := &Log{level: new(slog.LevelVar)}
	if err := l.SetLevel(level); err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: l.level, ReplaceAttr: durationsAsText}
	switch format {
	case "", "text":
		l.Logger = slog.New(slog.NewTextHandler(w, o))
	case "json":
		l.Logger = slog.New(slog.NewJSONHandler(w, o))
	default:
		return nil, fmt.Errorf("log format %q: want text or json", format)
	}
	return l, nil
}

// SetLevel changes what is written from now on. On error nothing changes.
func (l *Log) SetLevel(level string) error {
	switch level {
	case "debug":
		l.level.Set(slog.LevelDebug)
	case "", "info":
		l.level.Set(slog.LevelInfo)
	case "warn":
		l.level.Set(slog.LevelWarn)
	case "error":
		l.level.Set(slog.LevelError)
	default:
		return fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	return nil
}

// Events returns the events that make log lines: retries (info), pauses (warn),
// breakers (warn as one opens, info otherwise), limits that were learned (info)
// and the store (error as it is
// lost, info as it is reached).
func (l *Log) Events() headgate.Events {
	return headgate.Events{
		Retried:        l.retried,
		Paused:         l.paused,
		BreakerChanged: l.breakerChanged,
		LimitLearned:   l.limitLearned,
		StoreChanged:   l.storeChanged,
	}
}

func (l *Log) retried(e headgate.Retried) {
	l.LogAttrs(context.Background(), slog.LevelInfo, "retry",
		slog.String("upstream", e.Upstream),
		slog.Int("attempt", e.Attempt),
		slog.Int("of", e.Of),
		slog.Duration("delay", e.Delay.Round(time.Millisecond)),
		slog.String("reason", clip(e.Reason)),
		slog.Int("status", e.Status),
		slog.String("retry_after", clip(e.RetryAfter)),
		slog.String("request_id", clip(e.RequestID)),
		slog.String("client", e.Client))
}

func (l *Log) paused(e headgate.Paused) {
	attrs := []slog.Attr{
		slog.String("upstream", e.Upstream),
		slog.String("credential", e.Credential),
	}
	if e.Scope != "" {
		attrs = append(attrs, slog.String("scope", clip(e.Scope)))
	}
	l.LogAttrs(context.Background(), slog.LevelWarn, "pause", append(attrs,
		slog.Time("until", e.Until),
		slog.String("reason", clip(e.Reason)))...)
}

func (l *Log) breakerChanged(e headgate.BreakerChanged) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("upstream", e.Upstream),
		slog.String("credential", e.Credential),
		slog.String("state", e.State.String()),
	}
	if e.State == breaker.Open {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Time("until", e.Until))
	}
	attrs = append(attrs, slog.String("reason", clip(e.Reason)))
	l.LogAttrs(context.Background(), level, "breaker", attrs...)
}

func (l *Log) limitLearned(e headgate.LimitLearned) {
	l.LogAttrs(context.Background(), slog.LevelInfo, "limit learned",
		slog.String("upstream", e.Upstream),
		slog.String("credential", e.Credential),
		slog.String("limit", clip(e.Limit)),
		slog.String("source", e.Source),
		slog.Int64("in_force", e.InForce),
		slog.Duration("window", e.Window))
}

// whatThen says what each on_store_loss means to those who read the log.
var whatThen = map[string]string{
	"share": "once leases have ended each instance goes on with limit / instances last alive",
	"wait":  "once leases have ended calls wait until it is back",
	"fail":  "once leases have ended calls are refused until it is back",
}

func (l *Log) storeChanged(e headgate.StoreChanged) {
	switch {
	case e.Standing == headgate.StoreUp && e.First:
		l.LogAttrs(context.Background(), slog.LevelInfo, "store reached")
	case e.Standing == headgate.StoreUp:
		l.LogAttrs(context.Background(), slog.LevelInfo, "store is back")
	case e.Standing == headgate.StoreConnecting:
		l.LogAttrs(context.Background(), slog.LevelError, "store not reached; calls wait until it is",
			slog.String("error", clip(e.Err.Error())))
	default:
		l.LogAttrs(context.Background(), slog.LevelError, "store lost",
			slog.String("on_store_loss", e.Policy),
			slog.String("then", whatThen[e.Policy]),
			slog.String("error", clip(e.Err.Error())))
	}
}

func durationsAsText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// clip bounds text that an upstream wrote. The handlers escape it.
func clip(s string) string {
	const most = 256 // bytes: a line stays readable
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
