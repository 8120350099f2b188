package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"github.com/headgate/headgate/internal/job"
)

// callColumns bounds the column of methods and paths.
const callColumns = 40

// jobPainter shows jobs. lipgloss takes the colours away where NO_COLOR is set,
// or where there is no terminal.
type jobPainter struct {
	states map[job.State]lipgloss.Style
	dim    lipgloss.Style
	width  int // columns of the terminal; 0: there is none, and nothing is cut
}

func newJobPainter(out io.Writer) jobPainter {
	r := lipgloss.NewRenderer(out)
	colour := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	p := jobPainter{
		states: map[job.State]lipgloss.Style{
			job.Waiting: r.NewStyle(), job.Running: colour("6"), job.Done: colour("2"), job.Failed: colour("1"), job.Cancelled: colour("3"),
		},
		dim: r.NewStyle().Faint(true),
	}
	if isTerminal(out) {
		p.width, _, _ = term.GetSize(int(out.(*os.File).Fd())) // 0 if it does not know
	}
	return p
}

// isTerminal reports whether a person is at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// list prints a table of jobs.
func (p jobPainter) list(out io.Writer, jobs []job.Job, now time.Time) error {
	rows := [][]string{{"ID", "STATE", "UPSTREAM", "CLIENT", "CALL", "ATTEMPTS", "STATUS", "AGE", "REASON"}}
	for _, j := range jobs {
		rows = append(rows, []string{
			j.ID, p.state(j.State), orDash(j.Upstream), orDash(j.Client), ansi.Truncate(call(j), callColumns, "…"),
			strconv.Itoa(j.Attempted), statusText(j.Status), age(now.Sub(j.CreatedAt)), printable(j.Reason),
		})
	}
	return p.table(out, rows)
}

// table prints rows, of which the first is the head.
func (p jobPainter) table(out io.Writer, rows [][]string) error {
	for i, line := range columns(rows) {
		if i == 0 {
			line = p.dim.Render(line)
		}
		if p.width > 0 {
			line = ansi.Truncate(line, p.width, "…")
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// columns sets rows in columns as wide as their widest cells, two apart.
func columns(rows [][]string) []string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], ansi.StringWidth(cell))
		}
	}
	var lines []string
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[i]-ansi.StringWidth(cell)+2))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// line is a job that has ended, in short.
func (p jobPainter) line(j job.Job) string {
	line := j.ID + " " + p.state(j.State)
	if j.Status != 0 {
		line += " " + strconv.Itoa(j.Status)
	}
	if j.Reason != "" {
		line += " " + printable(j.Reason)
	}
	return line
}

// show prints all that is told of a job, and what happened to it.
func (p jobPainter) show(out io.Writer, j job.Job, now time.Time) error {
	state := p.state(j.State)
	if j.Reason != "" {
		state += ": " + printable(j.Reason)
	}
	rows := [][]string{{"job", j.ID}, {"state", state}, {"call", call(j)}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("upstream", printable(j.Upstream))
	add("client", printable(j.Client))
	add("priority", strconv.Itoa(j.Priority))
	if j.Status != 0 {
		add("response", fmt.Sprintf("status %d; headgate jobs show %s --response prints its body", j.Status, j.ID))
	}
	add("callback", printable(j.Callback))
	add("callback of", j.Parent)
	if j.Losses > 0 {
		add("lost", fmt.Sprintf("%d × with the worker that ran it", j.Losses))
	}
	if j.NotBefore != nil {
		add("runs", "in "+age(j.NotBefore.Sub(now)))
	}
	if j.ExpiresAt != nil {
		add("deleted", "in "+age(j.ExpiresAt.Sub(now)))
	}
	for _, line := range append(columns(rows), append([]string{""}, p.timeline(j)...)...) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// timeline tells what happened to a job, counted from when it was stored.
func (p jobPainter) timeline(j job.Job) []string {
	rows := [][]string{{j.CreatedAt.UTC().Format(time.RFC3339), "", "stored"}}
	at := func(t time.Time) []string {
		return []string{t.UTC().Format(time.RFC3339), p.dim.Render("+" + short(t.Sub(j.CreatedAt)))}
	}
	first := j.Attempted - len(j.Attempts) + 1
	if first > 1 {
		rows = append(rows, []string{"", "", fmt.Sprintf("attempts 1 to %d are not kept", first-1)})
	}
	for i, a := range j.Attempts {
		rows = append(rows, append(at(a.At), fmt.Sprintf("attempt %d: %s", first+i, attempt(a))))
	}
	switch {
	case j.EndedAt != nil:
		rows = append(rows, append(at(*j.EndedAt), p.state(j.State)))
	case j.State == job.Running && j.StartedAt != nil:
		rows = append(rows, append(at(*j.StartedAt), p.state(j.State)))
	}
	return columns(rows)
}

// attempt says what an attempt came to, and what was waited for then.
func attempt(a job.Attempt) string {
	said := "no answer"
	if a.Status != 0 {
		said = strings.TrimSpace(strconv.Itoa(a.Status) + " " + printable(a.Reading))
	}
	said += " after " + short(time.Duration(a.TookMS)*time.Millisecond)
	if a.Reason != "" {
		said += ": " + printable(a.Reason)
	}
	if a.DelayMS > 0 {
		said += "; then a wait of " + short(time.Duration(a.DelayMS)*time.Millisecond)
	}
	return said
}

func (p jobPainter) state(s job.State) string { return p.states[s].Render(printable(string(s))) }

func call(j job.Job) string { return printable(j.Method + " " + j.Path) }

func statusText(status int) string {
	if status == 0 {
		return "–"
	}
	return strconv.Itoa(status)
}

func orDash(s string) string { return cmp.Or(printable(s), "–") }

// short is a duration to three digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// age is a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}
