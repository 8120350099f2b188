package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
)

// topPainter makes the lines of a window.
type topPainter struct {
	width, height      int // columns and lines
	bold, faint        lipgloss.Style
	good, held, refuse lipgloss.Style // states
}

func newTopPainter(r *lipgloss.Renderer, width, height int) *topPainter {
	colour := func(light, dark string) lipgloss.Style {
		return r.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: light, Dark: dark})
	}
	r.SetHasDarkBackground(true) // to ask the terminal would take up to 5 s where it does not answer
	return &topPainter{
		width: width, height: height,
		bold: r.NewStyle().Bold(true), faint: r.NewStyle().Faint(true),
		good: colour("2", "2"), held: colour("3", "3"), refuse: colour("1", "1"),
	}
}

// page returns what fits into the window: upstreams first, then what happened.
func (p *topPainter) page(t *top) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := &t.mu.said.Status
	head := p.bold.Render("Headgate") + " " + printable(said.Version) + " " + printable(said.State) + p.faint.Render("  "+t.server.String()+"  q quits")
	lines := []string{head, p.link(t), ""}
	lines = append(lines, p.bold.Render(fmt.Sprintf("%-20s %-18s %7s %7s %7s %7s", "UPSTREAM", "STATE", "LINE", "FLIGHT", "OK/s", "429/s")))
	const notesLeast = 4
	most := max(p.height-notesLeast, len(lines)+1)
	all := 0
	for i := range said.Upstreams {
		u := &said.Upstreams[i]
		for _, line := range p.upstream(t, u) {
			if all++; len(lines) < most {
				lines = append(lines, line)
			}
		}
	}
	if hidden := all - (len(lines) - 4); hidden > 0 {
		lines[len(lines)-1] = p.faint.Render(fmt.Sprintf("… %d lines more: make the window higher", hidden+1))
	}
	lines = append(lines, "", p.bold.Render("WHAT HAPPENED"))
	for _, n := range t.mu.notes {
		if len(lines) >= p.height {
			break
		}
		lines = append(lines, p.note(&n))
	}
	lines = lines[:min(len(lines), p.height)]
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, p.width, "…")
	}
	return lines
}

// link says whether the instance is heard, and how its jobs and its store stand.
func (p *topPainter) link(t *top) string {
	if t.mu.err != nil {
		return p.refuse.Render(printable(t.mu.err.Error()))
	}
	if t.mu.said.At.IsZero() {
		return p.faint.Render("connecting")
	}
	parts := []string{t.mu.said.At.Local().Format(time.TimeOnly)}
	if s := t.mu.said.Status.Store; s != nil {
		parts = append(parts, "store "+string(s.Standing))
	}
	if jobs := t.mu.said.Status.Jobs; jobs != nil {
		counts := "jobs:"
		for _, state := range job.States {
			counts += fmt.Sprintf(" %d %s", jobs[state], state)
		}
		parts = append(parts, counts)
	}
	return strings.Join(parts, "  ")
}

// upstream is a line of an upstream, and one for each of its limits.
func (p *topPainter) upstream(t *top, u *headgate.UpstreamStatus) []string {
	state, style := "flowing", p.good
	if u.Line.Length > 0 {
		state, style = "calls wait", p.bold
	}
	now := t.mu.said.At
	for _, c := range u.Credentials {
		switch {
		case c.OpenUntil != nil:
			state, style = "open for "+left(now, *c.OpenUntil), p.refuse
		case c.Breaker != "closed":
			state, style = c.Breaker, p.held
		case c.PausedUntil != nil:
			state, style = "paused for "+left(now, *c.PausedUntil), p.held
		}
	}
	spent := t.mu.said.Attempts[u.Name]
	lines := []string{fmt.Sprintf("%-20s %s %7d %7d %7d %7d", column(u.Name, 20), style.Render(fmt.Sprintf("%-18s", column(state, 18))),
		u.Line.Length, u.InFlight, spent["ok"], spent["throttled"])}
	const most = 6 // limits of an upstream
	for _, c := range u.Credentials {
		for _, l := range c.Limits {
			if len(lines) > most {
				return append(lines, p.faint.Render("  …"))
			}
			name := l.Limit
			if l.Source != "configured" && l.Source != name {
				name += " (" + l.Source + ")"
			}
			lines = append(lines, fmt.Sprintf("  %-26s %s %d of %d", column(name, 26), topBar(l.Used, l.InForce, min(max(p.width-60, 10), 40)), l.Used, l.InForce))
		}
	}
	return lines
}

func (p *topPainter) note(n *topNote) string {
	what := ""
	switch n.Kind {
	case "retry":
		what = fmt.Sprintf("attempt %d of %d in %v", n.Attempt+1, n.Of, (time.Duration(n.DelayMS) * time.Millisecond).Round(100*time.Millisecond))
	case "pause":
		if what = "resumed"; n.Until.After(n.At) {
			what = "paused for " + left(n.At, n.Until)
		}
	case "breaker":
		what = "breaker " + n.State
	case "change":
		what = n.Request
	}
	if n.Reason != "" {
		what += ": " + n.Reason
	}
	return n.At.Local().Format(time.TimeOnly) + " " + strings.TrimSpace(printable(n.Upstream)+" "+printable(what))
}

// topBar shows used as a share of most.
func topBar(used, most int64, width int) string {
	full := 0
	if most > 0 {
		full = int(min(max(used, 0), most) * int64(width) / most)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

// column is text that fits into a column.
func column(text string, width int) string { return ansi.Truncate(printable(text), width, "…") }

func left(now, until time.Time) string {
	return max(until.Sub(now), 0).Round(time.Second).String()
}
