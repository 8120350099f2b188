package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/headgate/headgate"
)

// memory keeps what the gate has learned of limits in a small file, so that a
// restart need not find it out again.
type memory struct {
	path string
	kept []byte // what the file holds
}

// keepEvery is how often the file is written at most, but for when the daemon
// stops.
const keepEvery = 5 * time.Second

// remembered is the file.
type remembered struct {
	Version int                `json:"version"`
	Limits  []headgate.Learned `json:"limits"`
}

// mostMemory bounds the file, in bytes.
const mostMemory = 1 << 20

// recall returns what the file holds: nothing if there is none.
func (m *memory) recall() ([]headgate.Learned, error) {
	info, err := os.Stat(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > mostMemory {
		err = fmt.Errorf("%s: %d bytes, want %d at most", m.path, info.Size(), mostMemory)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(m.path)
	if err != nil {
		return nil, err
	}
	var r remembered
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	if r.Version != 1 {
		return nil, fmt.Errorf("%s: version %d, want 1", m.path, r.Version)
	}
	m.kept = text
	return r.Limits, nil
}

// keep writes what was learned, if that is anything new. The file is whole at
// any moment.
func (m *memory) keep(all []headgate.Learned) error {
	if len(all) == 0 {
		return nil // what is there may be of use to the next
	}
	text, err := json.MarshalIndent(remembered{1, all}, "", "  ")
	if err != nil || bytes.Equal(text, m.kept) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), filepath.Base(m.path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone, if it was renamed
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), m.path); err != nil {
		return err
	}
	m.kept = text
	return nil
}

// recall has the gate begin with what was learned before. A damaged file is
// said, and otherwise as none.
func (d *daemon) recall() {
	if d.memory.path == "" {
		return
	}
	all, err := d.memory.recall()
	if err != nil {
		d.log.Warn("what was learned of limits is lost", "error", err)
	}
	d.gate.Recall(all)
}

// keep keeps what the gate learns until ctx ends, and then once more.
func (d *daemon) keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	failing := false
	for stopped := false; !stopped; {
		select {
		case <-ctx.Done():
			stopped = true
		case <-tick.C:
		}
		err := d.memory.keep(d.gate.Learned())
		if err != nil && !failing {
			d.log.Warn("what was learned of limits is not kept", "error", err)
		}
		failing = err != nil
	}
}
