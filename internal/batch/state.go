package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// stateSuffix makes the name of an output's state of that of the output.
const stateSuffix = ".headgate"

// fingerprinted is how much of an input's beginning tells it from another, in
// bytes.
const fingerprinted = 64 << 10

// ErrInUse is returned when another process writes the same output.
var ErrInUse = errors.New("another batch writes it")

// ErrChanged is returned when an output was begun with another input or another
// template.
var ErrChanged = errors.New("was begun with another input")

// state is a file beside the output. It says what the output was begun with, and
// is locked as long as a process writes it. It stays when the batch has ended:
// the output can still be gone on with, as after --retry-failed.
type state struct {
	file *os.File
	was  begunWith // zero: the output was not begun yet, or nobody knows
}

// begunWith tells one batch from another.
type begunWith struct {
	Input   string `json:"input"`             // as it was named
	Size    int64  `json:"size"`              // bytes; -1 if that cannot be known
	Head    string `json:"head,omitempty"`    // SHA-256 of the first 64 KiB
	Request string `json:"request,omitempty"` // SHA-256 of the template; "" without
}

// lockState locks the state of an output.
func lockState(out string) (*state, error) {
	f, err := os.OpenFile(out+stateSuffix, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	s := &state{file: f}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w; wait for it, or give another output", out, err), s.close())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", f.Name(), err), s.close())
	}
	if json.Unmarshal(text, &s.was) != nil {
		s.was = begunWith{} // torn, as the power went
	}
	return s, nil
}

func (s *state) close() error { return s.file.Close() }

// known says whether the output is known to be a batch's.
func (s *state) known() bool { return s.was != begunWith{} }

// check refuses to go on with another input or template.
func (s *state) check(out string, now begunWith) error {
	was := s.was
	const mend = "give another output, or --force to go on and match results by custom_id"
	switch {
	case !s.known():
		return nil
	case was.Request != now.Request:
		return fmt.Errorf("%s %w: the template of requests has changed since; %s", out, ErrChanged, mend)
	case was.Size < 0 || now.Size < 0: // who pipes has to know
		return nil
	case was.Size != now.Size:
		return fmt.Errorf("%s %w: %s had %d bytes, and %s has %d; %s", out, ErrChanged, was.Input, was.Size, now.Input, now.Size, mend)
	case was.Head != now.Head:
		return fmt.Errorf("%s %w: %s begins otherwise than %s did; %s", out, ErrChanged, now.Input, was.Input, mend)
	}
	return nil
}

// save notes what the output is begun with.
func (s *state) save(now begunWith) error {
	if s.was == now {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	f := s.file
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt(append(text, '\n'), 0)
	}
	if err = errors.Join(err, f.Sync()); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	s.was = now
	return nil
}

// fingerprint reads what tells an input from another.
func fingerprint(name string, f *os.File, size int64, t *Template) (begunWith, error) {
	b := begunWith{Input: name, Size: size}
	if t != nil {
		b.Request = hash([]byte(t.text))
	}
	if f == nil {
		return b, nil
	}
	head := make([]byte, fingerprinted)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return b, fmt.Errorf("read %s: %w", name, err)
	}
	b.Head = hash(head[:n])
	return b, nil
}

func hash(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}
