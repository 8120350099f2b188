package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/job"
)

// bubbletea is not used, for the reason that drawDemo gives.
const (
	topSilence = 5 * time.Second // without a word: the instance, which speaks each second, is gone
	topAgain   = 2 * time.Second // until it is asked again
	topNotes   = 50              // of what happened, that are kept
	topMessage = 4 << 20         // bytes, the most of one message
)

func newTop(w World) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "top [--server ADDRESS]",
		Short: "Watch a running instance: limits, lines, pauses, and what happens",
		Long: `Top shows in the terminal what the page of an instance shows: how much of each
limit is in use, who waits, what is paused, and what upstreams said. q ends it.
Where the output is no terminal it prints once how the instance stands.`,
		Example: `  headgate top
  headgate top --server http://10.0.0.5:8788`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := newJobServer(address)
			if err != nil {
				return misused(cmd, "--server: %w", err)
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			t := &top{server: server}
			out, isFile := w.Out.(*os.File)
			in, hasKeys := w.In.(*os.File)
			if !isFile || !term.IsTerminal(int(out.Fd())) || !hasKeys || !term.IsTerminal(int(in.Fd())) || os.Getenv("TERM") == "dumb" {
				return t.once(ctx, w.Out)
			}
			return t.watch(ctx, stop, in, out)
		},
	}
	cmd.Flags().StringVar(&address, "server", defaultServer, "`ADDRESS` of the admin listener of the instance")
	return cmd
}

// top is what is known of an instance.
type top struct {
	server *jobServer

	mu struct {
		sync.Mutex
		said  topStatus
		notes []topNote // latest first
		err   error     // why nothing is heard; nil: it is
	}
}

// topStatus is what the instance says each second.
type topStatus struct {
	Status struct {
		Version   string
		State     string
		Store     *headgate.StoreStatus
		Upstreams []headgate.UpstreamStatus
		Jobs      map[job.State]int64
	}
	At       time.Time
	Attempts map[string]map[string]int64 // that ended in the last second
}

// topNote is something that happened.
type topNote struct {
	At          time.Time
	Kind        string
	Upstream    string
	Status      int
	Attempt, Of int
	DelayMS     int64 `json:"delay_ms"`
	Until       time.Time
	State       string
	Reason      string
	Request     string
}

// once prints how the instance stands.
func (t *top) once(ctx context.Context, w io.Writer) error {
	heard, done := context.WithCancel(ctx)
	defer done()
	err := t.listen(heard, done)
	if t.mu.said.At.IsZero() {
		return err
	}
	p := newTopPainter(lipgloss.NewRenderer(w), 100, 1000)
	_, err = fmt.Fprintln(w, strings.Join(p.page(t), "\n"))
	return err
}

// watch draws the instance until a key or the context ends it.
func (t *top) watch(ctx context.Context, stop func(), in, out *os.File) error {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), before) }()
	if _, err := io.WriteString(out, ansi.SetAltScreenSaveCursorMode+ansi.HideCursor); err != nil {
		return err
	}
	defer func() { _, _ = io.WriteString(out, ansi.ShowCursor+ansi.ResetAltScreenSaveCursorMode) }()
	go waitForQuit(in, stop) // a read of a terminal cannot be ended: it ends with the process
	changed := make(chan struct{}, 1)
	changed <- struct{}{}
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { t.follow(ctx, changed) })
	tick := time.NewTicker(time.Second) // the window may have another size
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil || width == 0 || height == 0 { // not every terminal knows
			width, height = 80, 24
		}
		lines := newTopPainter(lipgloss.NewRenderer(out), width, height).page(t)
		frame := ansi.CursorHomePosition + strings.Join(lines, ansi.EraseLineRight+"\r\n") + ansi.EraseLineRight + ansi.EraseScreenBelow
		if _, err := io.WriteString(out, frame); err != nil {
			return err
		}
	}
}

// waitForQuit calls quit once q, Escape or Ctrl-C was pressed, or there are no
// more keys.
func waitForQuit(keys io.Reader, quit func()) {
	defer quit()
	one := make([]byte, 1)
	for {
		if _, err := keys.Read(one); err != nil || one[0] == 'q' || one[0] == 0x1b || one[0] == 3 {
			return
		}
	}
}

// follow listens, and listens again when nothing is heard, until ctx ends.
func (t *top) follow(ctx context.Context, changed chan<- struct{}) {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for ctx.Err() == nil {
		err := t.listen(ctx, tell)
		t.mu.Lock()
		t.mu.err = err
		t.mu.Unlock()
		tell()
		select {
		case <-ctx.Done():
		case <-time.After(topAgain):
		}
	}
}

// listen takes in what the instance says, and calls heard for each word, until
// it says nothing more or ctx ends.
func (t *top) listen(ctx context.Context, heard func()) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	silence := time.AfterFunc(topSilence, func() { end(fmt.Errorf("nothing heard for %v", topSilence)) })
	defer silence.Stop()
	resp, err := t.server.send(ctx, http.MethodGet, "/api/v1/events", nil, http.Header{"Accept": {"text/event-stream"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, topMessage)
	for event := ""; lines.Scan(); {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = name
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		silence.Reset(topSilence)
		if err := t.take(event, data); err != nil {
			return &unreachableError{t.server, fmt.Errorf("read what it says: %w", err)}
		}
		heard()
	}
	return &unreachableError{t.server, causeOf(ctx, errors.New("it ended the connection"))}
}

// take takes in a word.
func (t *top) take(event, data string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.err = nil
	switch event {
	case "snapshot", "status":
		var said topStatus
		if err := json.Unmarshal([]byte(data), &said); err != nil {
			return err
		}
		t.mu.said = said
		if event == "snapshot" {
			t.mu.notes = nil // what is kept of them comes next
		}
	case "retry", "pause", "breaker", "change":
		var n topNote
		if err := json.Unmarshal([]byte(data), &n); err != nil {
			return err
		}
		t.mu.notes = append([]topNote{n}, t.mu.notes[:min(len(t.mu.notes), topNotes-1)]...)
	}
	return nil
}
