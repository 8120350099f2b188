package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/headgate/headgate/internal/dialect"
)

func newExplain(w World) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [--dialect D] [--method M] [--url U] [--now RFC3339] [--json] [--list]",
		Short: "Say how Headgate reads an HTTP response, and why",
		Long: `Explain reads one HTTP response on stdin, as "curl -i" prints it, and says how
Headgate reads it: its class, whether the call may be repeated and when, what it
tells of limits, and which of its signals decided that.`,
		Example: `  curl -si https://api.example.com/v1/items | headgate explain
  printf 'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\n\r\n' | headgate explain --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runExplain(cmd, w, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.dialect, "dialect", "auto", "`NAME` of the dialect to read it in; see --list")
	f.StringVar(&o.method, "method", "GET", "`METHOD` of the request")
	f.StringVar(&o.url, "url", "", "`URL` of the request; its host helps to recognise the dialect")
	f.StringVar(&o.now, "now", "", "`TIME` of arrival in RFC 3339 (default now)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.list, "list", false, "list the dialects and end")
	return cmd
}

type explainOptions struct {
	dialect, method, url, now string
	json, list                bool
}

func runExplain(cmd *cobra.Command, w World, o explainOptions) error {
	if o.list {
		return listDialects(w.Out, o.json)
	}
	d, ok := dialect.Lookup(o.dialect)
	if !ok {
		hint := didYouMean("", o.dialect, dialect.Names())
		if hint == "" {
			hint = "; headgate explain --list names them"
		}
		return misused(cmd, "--dialect %q: unknown dialect%s", o.dialect, hint)
	}
	target, err := url.Parse(o.url)
	if err != nil || (o.url != "" && target.Host == "") {
		return misused(cmd, "--url %q: want a URL such as https://api.example.com/v1/items", o.url)
	}
	now := time.Now()
	if o.now != "" {
		if now, err = time.Parse(time.RFC3339, o.now); err != nil {
			return misused(cmd, "--now %q: want a time such as 2006-01-02T15:04:05Z", o.now)
		}
	}
	if f, ok := w.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(w.Err, `reading a response from stdin, as "curl -i" prints it; Ctrl-D ends it`)
	}
	status, header, body, err := dialect.ReadResponse(w.In)
	if err != nil {
		return err
	}
	e := newExplanation(read(d, dialect.Answer{
		Method: strings.ToUpper(o.method),
		Host:   target.Host,
		Path:   target.Path,
		Status: status,
		Header: header,
		Body:   body,
	}, now))
	if o.json {
		enc := json.NewEncoder(w.Out)
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	}
	return e.print(w.Out)
}

// read reads an answer, and the first event if it is a stream, as a gate does.
func read(d dialect.Dialect, a dialect.Answer, now time.Time) dialect.Reading {
	r := d.Read(a, now)
	if r.Class == dialect.OK && a.Status == http.StatusOK && dialect.IsEventStream(a.Header) {
		event, data, _ := dialect.FirstEvent(append(a.Body, "\n\n"...))
		if class, ok := dialect.EventClass(event, data); ok {
			return r.Streamed(a, class, data)
		}
	}
	return r
}

// listDialects prints the dialects, a line or a JSON object for each.
func listDialects(out io.Writer, asJSON bool) error {
	all := []listedDialect{{Name: "auto", Remark: "each answer is read in the dialect that it is recognised as"}}
	for _, d := range dialect.Describe() {
		all = append(all, listedDialect{d.Name, d.Hosts, d.Fields, d.Marks, d.Remark, d.Preset.Methods, d.Preset.Limits})
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return enc.Encode(all)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, d := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", d.Name, d.recognisedBy(), d.Remark)
	}
	return t.Flush()
}

type listedDialect struct {
	Name    string   `json:"name"`
	Hosts   []string `json:"hosts,omitempty"`
	Fields  []string `json:"fields,omitempty"`
	Marks   string   `json:"marks,omitempty"`
	Remark  string   `json:"remark"`
	Methods string   `json:"methods,omitempty"`
	Limits  []string `json:"limits,omitempty"`
}

// recognisedBy names the first thing by which a dialect is recognised: of
// several hosts or fields one is enough to know it by.
func (d listedDialect) recognisedBy() string {
	switch {
	case len(d.Hosts) > 0:
		return d.Hosts[0]
	case len(d.Fields) > 0:
		return d.Fields[0] + ":"
	}
	return strings.ReplaceAll(d.Marks, "`", "")
}

// explanation is a reading as explain prints it; nil is unknown.
type explanation struct {
	Dialect   string           `json:"dialect"`
	Class     string           `json:"class"`
	Retryable bool             `json:"retryable"`
	WaitMS    *int64           `json:"wait_ms"`
	Scope     *string          `json:"scope"`
	Limits    []explainedLimit `json:"limits"`
	Why       string           `json:"why"`
}

type explainedLimit struct {
	Dimension string `json:"dimension"`
	Limit     *int64 `json:"limit"`
	Remaining *int64 `json:"remaining"`
	ResetMS   *int64 `json:"reset_ms"`
}

func newExplanation(r dialect.Reading) explanation {
	e := explanation{
		Dialect:   r.Dialect,
		Class:     r.Class.String(),
		Retryable: r.Retryable,
		Limits:    []explainedLimit{},
		Why:       r.Why(),
	}
	if r.HasWait {
		e.WaitMS = known(r.Wait.Milliseconds())
	}
	if r.Scope != "" {
		e.Scope = &r.Scope
	}
	for _, l := range r.Limits {
		reset := int64(-1)
		if l.Reset >= 0 {
			reset = l.Reset.Milliseconds()
		}
		e.Limits = append(e.Limits, explainedLimit{l.Dimension, known(l.Limit), known(l.Remaining), known(reset)})
	}
	return e
}

// known is nil for what a reading does not know.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func (e explanation) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "dialect\t%s\n", e.Dialect)
	fmt.Fprintf(t, "class\t%s\n", e.Class)
	fmt.Fprintf(t, "retryable\t%s\n", map[bool]string{true: "yes", false: "no"}[e.Retryable])
	fmt.Fprintf(t, "wait\t%s\n", milliseconds(e.WaitMS))
	if e.Scope != nil {
		fmt.Fprintf(t, "scope\t%s\n", *e.Scope)
	}
	for _, l := range e.Limits {
		fmt.Fprintf(t, "limit\t%s: %s of %s left, reset %s\n", printable(l.Dimension), number(l.Remaining), number(l.Limit), milliseconds(l.ResetMS))
	}
	fmt.Fprintf(t, "why\t%s\n", e.Why)
	return t.Flush()
}

func milliseconds(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return (time.Duration(*n) * time.Millisecond).String()
}

// printable is foreign text without what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func number(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return fmt.Sprint(*n)
}
