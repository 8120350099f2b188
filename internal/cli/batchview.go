package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/headgate/headgate/internal/batch"
)

const (
	batchRedraw   = 200 * time.Millisecond
	batchNarrate  = 10 * time.Second
	batchBar      = 24               // columns
	mostBadLines  = 20               // that are named each
	batchRateOver = 30 * time.Second // that the rate is a mean of
)

// batchView tells people how a batch goes: by a bar on a terminal, else by a line
// now and then.
type batchView struct {
	w        io.Writer
	terminal *os.File // nil: w is none
	in       string
	quiet    bool
	pace     pace

	mu  sync.Mutex // held while anything is written
	bar *progressbar.ProgressBar
	bad int64
}

func newBatchView(w io.Writer, o batch.Options, quiet bool) *batchView {
	v := &batchView{w: w, in: o.In, quiet: quiet}
	if v.in == "-" {
		v.in = "standard input"
	}
	if f, ok := w.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		v.terminal = f
		v.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(batchBar),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionClearOnFinish())
	}
	return v
}

// say writes a line, quiet or not.
func (v *batchView) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sayLocked(format, args...)
}

func (v *batchView) sayLocked(format string, args ...any) {
	if v.bar != nil {
		_ = v.bar.Clear() // a terminal that has gone is nothing to stop for
	}
	fmt.Fprintf(v.w, "batch: "+format+"\n", args...)
}

// badLine names a line that cannot be made a call.
func (v *batchView) badLine(number int64, why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bad++; v.bad <= mostBadLines {
		v.sayLocked("%s: line %d: %s", v.in, number, ansi.Strip(why))
	} else if v.bad == mostBadLines+1 {
		v.sayLocked("%s: there are more bad lines; each has a result that says why", v.in)
	}
}

// show shows progress until ctx ends.
func (v *batchView) show(ctx context.Context, progress func() batch.Progress) {
	if v.quiet {
		return
	}
	every := batchNarrate
	if v.bar != nil {
		every = batchRedraw
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	v.pace.note(time.Now(), progress().Done)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p := progress()
			v.pace.note(now, p.Done)
			v.draw(now, p)
		}
	}
}

func (v *batchView) draw(now time.Time, p batch.Progress) {
	text := v.standing(now, p)
	if v.bar == nil {
		v.say("%s", text)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	width, _, err := term.GetSize(int(v.terminal.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	if p.Total > 0 && v.bar.GetMax64() != p.Total {
		v.bar.ChangeMax64(p.Total)
	}
	v.bar.Describe(ansi.Truncate(text, max(width-batchBar-10, 0), ""))
	done := p.Done
	if p.Total > 0 {
		done = min(done, p.Total-1) // at the end it would go away
	}
	_ = v.bar.Set64(done)
}

// standing says how far a batch is.
func (v *batchView) standing(now time.Time, p batch.Progress) string {
	rate := v.pace.rate()
	parts := []string{v.doneOf(p), fmt.Sprintf("%.0f/s", rate)}
	if p.Limit != "" {
		parts = append(parts, fmt.Sprintf("quota %.0f %%", 100*p.Quota))
	}
	if p.PausedUntil.After(now) {
		parts = append(parts, "paused for "+roundly(p.PausedUntil.Sub(now)))
	} else if left := p.Total - p.Done; p.Total >= 0 && rate > 0 {
		parts = append(parts, roundly(time.Duration(float64(left)/rate*float64(time.Second)))+" left")
	}
	if p.Failed > 0 {
		parts = append(parts, grouped(p.Failed)+" failed")
	}
	if p.Later > 0 {
		parts = append(parts, grouped(int64(p.Later))+" to be made again")
	}
	if p.Tokens > 0 {
		parts = append(parts, grouped(p.Tokens)+" tokens")
	}
	return strings.Join(parts, ", ")
}

// doneOf says how many lines have a result.
func (v *batchView) doneOf(p batch.Progress) string {
	if p.Total < 0 {
		return grouped(p.Done) + " done"
	}
	return grouped(p.Done) + " of " + grouped(p.Total) + " done"
}

// end tells how it all went. Why it could not be finished is for others to say.
func (v *batchView) end(p batch.Progress, took time.Duration, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bar != nil {
		_ = v.bar.Clear()
		v.bar = nil
	}
	if v.quiet {
		return
	}
	now := p.Done - p.Earlier
	parts := []string{v.doneOf(p), grouped(p.Failed) + " failed"}
	if p.Earlier > 0 {
		parts = append(parts, grouped(p.Earlier)+" in earlier runs")
	}
	parts = append(parts, roundly(took))
	if s := took.Seconds(); s > 0 && now > 0 {
		parts = append(parts, fmt.Sprintf("%.0f/s", float64(now)/s))
	}
	parts = append(parts, fmt.Sprintf("%s attempts, %s throttled", grouped(p.Attempts), grouped(p.Refused)))
	if p.Tokens > 0 {
		parts = append(parts, grouped(p.Tokens)+" tokens")
	}
	v.sayLocked("%s", strings.Join(parts, ", "))
	if err == nil && p.Failed > 0 {
		if p.LastFailure != "" {
			v.sayLocked("the last failure: %s", ansi.Strip(p.LastFailure))
		}
		v.sayLocked("--retry-failed makes the failed calls again")
	}
}

// roundly writes a duration as people read it.
func roundly(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// grouped writes a number with commas: 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// pace is the rate of what is counted, over the last batchRateOver.
type pace struct {
	at   []time.Time
	done []int64
}

func (p *pace) note(now time.Time, done int64) {
	p.at, p.done = append(p.at, now), append(p.done, done)
	for len(p.at) > 2 && now.Sub(p.at[1]) >= batchRateOver {
		p.at, p.done = p.at[1:], p.done[1:]
	}
}

// rate returns how many there were in a second.
func (p *pace) rate() float64 {
	last := len(p.at) - 1
	if last < 1 {
		return 0
	}
	return float64(p.done[last]-p.done[0]) / p.at[last].Sub(p.at[0]).Seconds()
}
