package batch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxResult bounds a line of output, in bytes. An answer of 64 MiB that is not
// JSON may be six times as long when it is written as a string.
const maxResult = 1 << 30

// output is the file of results. It is its own journal: what is in it is done.
type output struct {
	path string // without symbolic links
	file *os.File
	size int64 // bytes

	repaired string // what had to be done to it when it was opened; "" if nothing
}

// openOutput opens the file of results, and tells of all that it holds. A last line
// that is torn is cut off. Lines that are no results, which a power cut can leave
// behind, and those that drop names are taken out; if ours is false, so that the
// file may be anything, neither is done, and what is no result is an error.
func openOutput(path string, ours bool, drop func(known) bool, tell func(known)) (*output, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the output: %w", err)
	}
	o := &output{path: path, file: f}
	err = syncDir(path) // it may be new
	if err == nil {
		err = o.read(ours, drop, tell)
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

func (o *output) close() error { return o.file.Close() }

func (o *output) read(ours bool, drop func(known) bool, tell func(known)) error {
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: results are read back from it to go on", o.path)
	}
	var dropped, damaged, first int64
	torn, err := o.each(func(r entry) error {
		switch {
		case !r.ok:
			if damaged++; damaged == 1 {
				first = r.number
			}
		case drop(r.known):
			dropped++
		default:
			tell(r.known)
		}
		o.size = r.offset + r.length
		return nil
	})
	switch {
	case err != nil:
		return err
	case !ours && damaged > 0:
		return fmt.Errorf("%s: line %d is no result of a batch; give another output", o.path, first)
	case !ours && torn:
		return fmt.Errorf("%s: ends within a line, and nothing says that it is a batch's; give another output, or --force to cut it off", o.path)
	}
	if damaged > 0 {
		o.repaired = fmt.Sprintf("%d lines that are no results were taken out; their calls are made again", damaged)
	}
	if torn {
		o.repaired = "its last line was torn and was cut off; that call is made again"
		if err := o.file.Truncate(o.size); err != nil {
			return outFault(o.path, err)
		}
	}
	if damaged+dropped == 0 {
		return nil
	}
	return o.replace(func(w io.Writer) error {
		_, err := o.each(func(r entry) error {
			if !r.ok || drop(r.known) {
				return nil
			}
			_, err := w.Write(append(bytes.Clone(r.text), '\n'))
			return err
		})
		return err
	})
}

// entry is a line of an output.
type entry struct {
	known
	ok             bool // it is a result
	number         int64
	offset, length int64 // with its end
	text           []byte
}

// each tells of each whole line, which is good until tell returns, and whether
// a torn one follows.
func (o *output) each(tell func(entry) error) (torn bool, err error) {
	l := newLineReader(io.NewSectionReader(o.file, 0, 1<<62), maxResult)
	for {
		offset := l.offset
		text, whole, err := l.raw()
		if errors.Is(err, io.EOF) || err == nil && l.torn {
			return err == nil, nil
		} else if err != nil {
			return false, fmt.Errorf("read %s: %w", o.path, err)
		}
		e := entry{number: l.number, offset: offset, length: l.offset - offset, text: text}
		if whole {
			e.known, e.ok = readResult(text)
		}
		if err := tell(e); err != nil {
			return false, err
		}
	}
}

// replace puts another file in the place of the output, in one step.
func (o *output) replace(write func(io.Writer) error) error {
	f, err := os.OpenFile(o.path+stateSuffix+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write the output anew: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), o.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w; it is as it was", outFault(o.path, err)), os.Remove(f.Name()))
	}
	if err := syncDir(o.path); err != nil {
		return err
	}
	next, err := os.OpenFile(o.path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return outFault(o.path, err)
	}
	old := o.file
	o.file = next
	info, err := next.Stat()
	if err == nil {
		o.size = info.Size()
	}
	return errors.Join(err, old.Close())
}

// syncDir has the entry of a file in its directory be on the disk.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync() // not every system can sync a directory
	return nil
}

// order puts the results in the order of the input: lineOf says where an ID
// stands there, 0 for nowhere. Those go to the end. It takes 16 bytes of memory
// for each line.
func (o *output) order(lines int64, lineOf func(id string) int64) error {
	type span struct{ offset, length int64 }
	var (
		spans  = make([]span, lines+1)
		others []span
		last   int64
		sorted = true
	)
	_, err := o.each(func(r entry) error {
		at := span{r.offset, r.length}
		n := lineOf(r.id)
		if n <= 0 || n > lines {
			others = append(others, at)
			return nil
		}
		sorted = sorted && n > last && len(others) == 0
		last = n
		spans[n] = at
		return nil
	})
	if err != nil || sorted {
		return err
	}
	return o.replace(func(w io.Writer) error {
		var buf []byte
		for _, list := range [][]span{spans, others} {
			for _, s := range list {
				if int64(cap(buf)) < s.length {
					buf = make([]byte, s.length)
				}
				if _, err := o.file.ReadAt(buf[:s.length], s.offset); err != nil {
					return err
				}
				if _, err := w.Write(buf[:s.length]); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
