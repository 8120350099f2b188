package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/internal/source"
)

// newSources looks after queues that a running instance drains.
func newSources(w World) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sources list|dead|retry|purge",
		Short: "Look after the queues that a running instance drains",
		Long: `Sources are Redis lists and streams whose messages are made calls. What cannot
be done is a dead letter, with the reason. The commands ask a running instance, at
the address of its admin listener.`,
		Example: `  headgate sources list
  headgate sources dead reviews --match "no entry for key"
  headgate sources retry reviews --match "status 500" --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(cmd, "%w", unknownCommand(cmd, args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSourcesList(w), newSourcesDead(w))
	for _, act := range letterActs {
		cmd.AddCommand(newLettersAct(w, act))
	}
	return cmd
}

// openSources returns the instance that the flags name, to be asked for sources.
func (o *jobsFlags) openSources(cmd *cobra.Command) (*jobServer, error) {
	s, err := o.open(cmd)
	if err == nil {
		s.root = "/api/v1/sources"
	}
	return s, err
}

func newSourcesList(w World) *cobra.Command {
	var o jobsFlags
	cmd := &cobra.Command{
		Use:     "list [--json]",
		Short:   "List sources, and how many messages wait",
		Example: `  headgate sources list`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := o.openSources(cmd)
			if err != nil {
				return err
			}
			var answer struct{ Sources []source.Status }
			if err := server.ask(cmd.Context(), askPatience, http.MethodGet, "", nil, nil, &answer); err != nil {
				return err
			}
			switch {
			case o.json:
				return printJSON(w.Out, answer.Sources)
			case len(answer.Sources) == 0:
				fmt.Fprintln(w.Err, "no sources")
				return nil
			}
			return listSources(w.Out, answer.Sources)
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func listSources(out io.Writer, all []source.Status) error {
	rows := [][]string{{"NAME", "UPSTREAM", "WAITING", "RUNNING", "DONE", "DEAD", "FAULT"}}
	for _, s := range all {
		waiting := "?"
		if s.Waiting >= 0 {
			waiting = strconv.FormatInt(s.Waiting, 10)
		}
		rows = append(rows, []string{
			printable(s.Name), printable(s.Upstream), waiting, strconv.FormatInt(s.Running, 10),
			strconv.FormatInt(s.Done, 10), strconv.FormatInt(s.Dead, 10), printable(s.Fault),
		})
	}
	return newJobPainter(out).table(out, rows)
}

// deadLetter is as source.WriteLetter writes it.
type deadLetter struct {
	ID       string    `json:"id"`
	Reason   string    `json:"reason"`
	Status   int       `json:"status"`
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
}

func newSourcesDead(w World) *cobra.Command {
	var (
		o     jobsFlags
		match string
		limit int
	)
	cmd := &cobra.Command{
		Use:   "dead NAME [--match TEXT] [--limit N] [--json]",
		Short: "List the dead letters of a source, latest first",
		Example: `  headgate sources dead reviews
  headgate sources dead reviews --match "status 500" --json`,
		Args: wantSource,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return misused(cmd, "--limit %d: want a number from 1", limit)
			}
			server, err := o.openSources(cmd)
			if err != nil {
				return err
			}
			answer, err := server.letters(cmd.Context(), args[0], match, limit)
			if err != nil {
				return err
			}
			if answer.More {
				fmt.Fprintf(w.Err, "the latest %d; --limit shows more\n", len(answer.Letters))
			}
			switch {
			case o.json:
				return printJSON(w.Out, answer.Letters)
			case len(answer.Letters) == 0:
				fmt.Fprintln(w.Err, "no dead letters")
				return nil
			}
			return listLetters(w.Out, answer.Letters, time.Now())
		},
	}
	f := cmd.Flags()
	f.StringVar(&match, "match", "", "those with `TEXT` in ID, reason or message")
	f.IntVar(&limit, "limit", 50, "list at most `N` letters")
	o.add(f)
	return cmd
}

func wantSource(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return misused(cmd, "want the name of one source")
	}
	return nil
}

type letterPage struct {
	Letters []json.RawMessage
	More    bool
}

// letters returns up to limit dead letters that have a text in them.
func (s *jobServer) letters(ctx context.Context, name, match string, limit int) (page letterPage, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if match != "" {
		query.Set("q", match)
	}
	return page, s.ask(ctx, actPatience, http.MethodGet, "/"+name+"/dead", query, nil, &page)
}

func listLetters(out io.Writer, letters []json.RawMessage, now time.Time) error {
	rows := [][]string{{"ID", "STATUS", "ATTEMPTS", "AGE", "REASON"}}
	for _, raw := range letters {
		var l deadLetter
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("read a dead letter: %w", err)
		}
		rows = append(rows, []string{printable(l.ID), statusText(l.Status), strconv.Itoa(l.Attempts), age(now.Sub(l.At)), printable(l.Reason)})
	}
	return newJobPainter(out).table(out, rows)
}

// letterAct is what can be done to dead letters.
type letterAct struct{ name, done, short, long string }

var letterActs = []letterAct{
	{"retry", "retried", "Have the messages of dead letters wait again, behind all others",
		`Retry puts the messages of dead letters into their queue again, behind all
others, and removes the letters: those that are named, or all that a filter means.`},
	{"purge", "purged", "Delete dead letters",
		`Purge deletes dead letters with their messages: those that are named, or all that
a filter means.`},
}

func newLettersAct(w World, act letterAct) *cobra.Command {
	var (
		o     jobsFlags
		match string
		all   bool
		yes   bool
	)
	cmd := &cobra.Command{
		Use:   act.name + " NAME (ID… | --match TEXT | --all) [--yes] [--json]",
		Short: act.short,
		Long:  act.long,
		Example: "  headgate sources " + act.name + " reviews 4711\n" +
			"  headgate sources " + act.name + " reviews --match \"status 500\" --yes",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misused(cmd, "want the name of one source")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name, ids := args[0], args[1:]
			ways := 0
			for _, way := range []bool{len(ids) > 0, match != "", all} {
				if way {
					ways++
				}
			}
			if ways != 1 {
				return misused(cmd, "say which letters: ID…, --match TEXT or --all")
			}
			server, err := o.openSources(cmd)
			if err != nil {
				return err
			}
			if len(ids) == 0 && !yes {
				if err := confirmLetters(cmd, w, server, act, name, match); err != nil {
					return err
				}
			}
			query := url.Values{}
			if match != "" {
				query.Set("q", match)
			}
			for _, id := range ids {
				query.Add("id", id)
			}
			var done map[string]int
			if err := server.ask(cmd.Context(), actPatience, http.MethodPost, "/"+name+"/"+act.name, query, nil, &done); err != nil {
				return err
			}
			if o.json {
				return printJSON(w.Out, done)
			}
			_, err = fmt.Fprintf(w.Out, "%s %s\n", countLetters(done[act.done]), act.done)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&match, "match", "", "those with `TEXT` in ID, reason or message")
	f.BoolVar(&all, "all", false, "all of them")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask before a filter is acted on")
	o.add(f)
	return cmd
}

// confirmLetters asks at the terminal whether a filter is to be acted on.
func confirmLetters(cmd *cobra.Command, w World, server *jobServer, act letterAct, name, match string) error {
	if !isTerminal(w.In) || !isTerminal(w.Err) {
		return misused(cmd, "by a filter: give --yes, there is no terminal to ask at")
	}
	found, err := server.letters(cmd.Context(), name, match, 1000)
	if err != nil {
		return err
	}
	many := countLetters(len(found.Letters))
	if found.More {
		many = "more than " + many
	}
	return ask(w, fmt.Sprintf("%s %s of %s at %s?", act.name, many, name, server))
}

func countLetters(n int) string {
	return strconv.Itoa(n) + " " + cmp.Or(map[bool]string{true: "dead letter"}[n == 1], "dead letters")
}
