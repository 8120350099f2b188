package daemon

import (
	"context"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/limit"
)

// Bounds on looking back: of windows that are longer the rest is forgotten.
const (
	replayMost = 20_000 // jobs
	replayFor  = 2 * time.Second
	replayBack = time.Hour
)

// replay tells a gate what jobs the process before it has sent of late, as their
// store has it: a restart, or a crash, must not use a window twice. Live calls
// leave no record, and a store that is away tells nothing.
func replay(ctx context.Context, gate *headgate.Gate, store job.Records, cfg config.Config) {
	back := longestWindow(cfg)
	if back == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, replayFor)
	defer cancel()
	since := time.Now().Add(-back)
	var sent []headgate.Sent
	for _, f := range []job.Filter{
		{States: []job.State{job.Running, job.Done, job.Failed}},
		{States: []job.State{job.Waiting}, Text: job.LostReason},
	} {
		f.Limit = 1000
		for looked := 0; looked < replayMost; looked += f.Limit {
			page, err := store.List(ctx, f)
			if err != nil {
				break
			}
			before := len(sent)
			for i := range page.Jobs {
				sent = append(sent, sentBy(&page.Jobs[i], since)...)
			}
			if f.After = page.Next; f.After == "" || len(sent) == before {
				break // those further back are older still
			}
		}
	}
	gate.Replay(sent)
}

// sentBy returns the attempts of a job since a moment. Of one that was running
// when its process died only the start is known.
func sentBy(j *job.Job, since time.Time) []headgate.Sent {
	var sent []headgate.Sent
	add := func(at time.Time) {
		if at.After(since) {
			sent = append(sent, headgate.Sent{Upstream: j.Upstream, Path: j.Path, At: at})
		}
	}
	for _, a := range j.Attempts {
		add(a.At)
	}
	if !j.State.Ended() && j.StartedAt != nil {
		add(*j.StartedAt)
	}
	return sent
}

// longestWindow returns the longest window of all limits, up to replayBack; 0 if
// there is none.
func longestWindow(cfg config.Config) time.Duration {
	var longest time.Duration
	for _, u := range cfg.Upstreams {
		for _, l := range u.Limits {
			if parsed, err := limit.Parse(l.Limit); err == nil {
				longest = max(longest, parsed.Window)
			}
		}
	}
	return min(longest+longest/10, replayBack)
}
