package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"github.com/headgate/headgate/internal/limit"
)

const (
	redraw  = 200 * time.Millisecond
	narrate = 2 * time.Second
	barMax  = 40 // columns
)

// narrateDemo writes a line of the running half now and then, until ended is
// closed.
func narrateDemo(w io.Writer, d *demoRun, ended <-chan struct{}) {
	t := time.NewTicker(narrate)
	defer t.Stop()
	for {
		select {
		case <-ended:
			return
		case <-t.C:
			if views := d.views(); len(views) > 0 {
				v := views[len(views)-1]
				fmt.Fprintf(w, "%s %s: quota %.0f %%, accepted %d, %s\n",
					v.name, clock(v, d.length), 100*v.usage(), v.judge.Accepted, numbers(v))
			}
		}
	}
}

// drawDemo draws both halves in the terminal, over and over in the same place,
// until ended is closed. bubbletea is not used for it: its v1 asks the terminal
// for its colours as the program starts, whatever the command, and waits 5 s
// where the terminal does not answer.
func drawDemo(terminal *os.File, d *demoRun, ended <-chan struct{}) error {
	p := newDemoPainter(lipgloss.NewRenderer(terminal), d)
	t := time.NewTicker(redraw)
	defer t.Stop()
	if _, err := io.WriteString(terminal, ansi.HideCursor); err != nil {
		return err
	}
	drawn := 0 // lines
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		case <-t.C:
		}
		width, height, err := term.GetSize(int(terminal.Fd()))
		if err != nil || width == 0 || height == 0 { // not every terminal knows
			width, height = 80, 24
		}
		lines := fit(p.frame(d.views()), width, height)
		if _, err := io.WriteString(terminal, redrawn(lines, drawn)); err != nil {
			return err
		}
		drawn = len(lines)
	}
	_, err := io.WriteString(terminal, ansi.ShowCursor)
	return err
}

// fit cuts a frame to what the terminal shows: lines that wrap or scroll away
// could not be drawn over. The end is what moves, so it is kept.
func fit(frame string, width, height int) []string {
	lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
	lines = lines[max(len(lines)-height+1, 0):]
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, width, "")
	}
	return lines
}

// redrawn is lines, to be drawn over as many as were drawn before.
func redrawn(lines []string, drawn int) string {
	var b strings.Builder
	b.WriteString("\r")
	if drawn > 0 {
		b.WriteString(ansi.CursorUp(drawn))
	}
	for _, line := range lines {
		b.WriteString(line + ansi.EraseLineRight + "\n")
	}
	b.WriteString(ansi.EraseScreenBelow)
	return b.String()
}

// demoPainter turns views into frames. lipgloss takes the colours away where
// NO_COLOR is set or the terminal has none.
type demoPainter struct {
	limit                limit.Limit
	length               time.Duration
	bold, dim, good, bad lipgloss.Style
}

func newDemoPainter(r *lipgloss.Renderer, d *demoRun) demoPainter {
	return demoPainter{
		limit:  d.limit,
		length: d.length,
		bold:   r.NewStyle().Bold(true),
		dim:    r.NewStyle().Faint(true),
		good:   r.NewStyle().Foreground(lipgloss.Color("2")),
		bad:    r.NewStyle().Foreground(lipgloss.Color("1")),
	}
}

func (p demoPainter) frame(views []demoView) string {
	var b strings.Builder
	fmt.Fprintf(&b, "An API with a quota of %s, and %d callers who want %d times that. Ctrl-C ends it.\n\n",
		p.limit, demoCallers, demoGreed)
	for _, v := range views {
		p.draw(&b, v)
	}
	return b.String()
}

// draw writes one half: its quota, its numbers, and what became of attempts in
// each second.
func (p demoPainter) draw(b *strings.Builder, v demoView) {
	fmt.Fprintf(b, "%s %s\n", p.bold.Render(v.name), p.dim.Render(clock(v, p.length)))
	full := min(int(v.usage()*barMax+0.5), barMax)
	fmt.Fprintf(b, "  quota     %s%s %.0f %%\n", p.good.Render(strings.Repeat("█", full)),
		p.dim.Render(strings.Repeat("░", barMax-full)), 100*v.usage())
	accepted, refused := perSecond(v)
	most := int64(1)
	for i := range accepted {
		most = max(most, accepted[i], refused[i])
	}
	fmt.Fprintf(b, "  accepted  %s %d\n", p.good.Render(sparkline(accepted, most)), v.judge.Accepted)
	fmt.Fprintf(b, "  429       %s %d\n", p.bad.Render(sparkline(refused, most)), v.judge.Refused)
	fmt.Fprintf(b, "  %s\n\n", numbers(v))
}

func clock(v demoView, length time.Duration) string {
	return fmt.Sprintf("%.0fs/%.0fs", v.elapsed.Seconds(), length.Seconds())
}

func numbers(v demoView) string {
	return fmt.Sprintf("429s %d, retries %d, answered %d, lost %d, waiting %d",
		v.judge.Refused, v.calls.retries, v.calls.answered, v.calls.lost, v.calls.unfinished())
}

// perSecond is what was accepted and refused in each second since v began, the
// latest barMax of them.
func perSecond(v demoView) (accepted, refused []int64) {
	first := v.began.Unix()
	n := v.began.Add(v.elapsed).Unix() - first + 1
	accepted, refused = make([]int64, n), make([]int64, n)
	for _, s := range v.judge.Seconds {
		if i := s.Unix - first; i >= 0 && i < n {
			accepted[i], refused[i] = s.Accepted, s.Refused
		}
	}
	skip := max(n-barMax, 0)
	return accepted[skip:], refused[skip:]
}

// sparkline draws each value as a bar of up to eight eighths of most.
func sparkline(values []int64, most int64) string {
	bars := []rune(" ▁▂▃▄▅▆▇█")
	line := make([]rune, len(values))
	for i, v := range values {
		line[i] = bars[(v*8+most-1)/most]
	}
	return string(line)
}
