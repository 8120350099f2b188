package batch

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Bounds of the journal.
const (
	// syncEvery is how long a result may be written and not yet on the disk. A
	// killed process loses nothing that is written; a power cut may.
	syncEvery = 100 * time.Millisecond

	// mostUnwritten is how many bytes of results may wait for a slow disk.
	mostUnwritten = 32 << 20
)

// journal appends results to the output. Those that come at the same time are
// written in one step.
type journal struct {
	file *os.File
	path string
	size int64         // bytes that were written, whole lines all; the writer's
	wake chan struct{} // there is something to write, or nothing more to come; room for one
	fail func(error)   // told once, when nothing can be written any more

	mu struct {
		sync.Mutex
		room    sync.Cond // told when unwritten gets shorter
		lines   []byte    // unwritten
		broken  error     // why nothing can be written
		unsaved bool      // something was written and not synced
		closed  bool
	}
	running sync.WaitGroup
}

// startJournal appends to a file of whole lines, whose size is given.
func startJournal(file *os.File, path string, size int64, fail func(error)) *journal {
	j := &journal{file: file, path: path, size: size, wake: make(chan struct{}, 1), fail: fail}
	j.mu.room.L = &j.mu
	ended := make(chan struct{})
	j.running.Go(func() { defer close(ended); j.write() })
	j.running.Go(func() { j.syncUntil(ended) })
	return j
}

// add appends a line. It waits while the disk is far behind.
func (j *journal) add(line []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.mu.lines) > mostUnwritten && j.mu.broken == nil {
		j.mu.room.Wait()
	}
	j.mu.lines = append(j.mu.lines, line...)
	j.awake()
}

// close writes and syncs what is left, and returns why it could not. The file
// holds whole lines then, whatever happened.
func (j *journal) close() error {
	j.mu.Lock()
	j.mu.closed = true
	j.mu.Unlock()
	j.awake()
	j.running.Wait()
	if j.mu.broken != nil && len(j.mu.lines) > 0 {
		// There may be room again, and these were paid for.
		j.mu.broken = j.append(j.mu.lines)
	}
	return errors.Join(j.mu.broken, j.sync())
}

func (j *journal) awake() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// write writes until the journal is closed or broken.
func (j *journal) write() {
	var spare []byte
	for range j.wake {
		j.mu.Lock()
		lines, closed := j.mu.lines, j.mu.closed
		j.mu.lines = spare[:0]
		j.mu.room.Broadcast()
		j.mu.Unlock()
		if len(lines) > 0 {
			if err := j.append(lines); err != nil {
				j.breakOff(lines, err)
				return
			}
		}
		if spare = lines; cap(spare) > 1<<20 {
			spare = nil
		}
		if closed {
			return
		}
	}
}

// breakOff keeps what could not be written, in front of what has come since.
func (j *journal) breakOff(lines []byte, err error) {
	j.mu.Lock()
	j.mu.lines = append(lines, j.mu.lines...)
	j.mu.broken = err
	j.mu.room.Broadcast()
	j.mu.Unlock()
	j.fail(err)
}

// append writes lines at the end, or nothing of them.
func (j *journal) append(lines []byte) error {
	n, err := j.file.Write(lines)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, j.file.Truncate(j.size))
		}
		return outFault(j.path, err)
	}
	j.size += int64(n)
	j.mu.Lock()
	j.mu.unsaved = true
	j.mu.Unlock()
	return nil
}

func (j *journal) syncUntil(ended <-chan struct{}) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			if err := j.sync(); err != nil {
				j.fail(err)
				return
			}
		}
	}
}

func (j *journal) sync() error {
	j.mu.Lock()
	unsaved := j.mu.unsaved
	j.mu.unsaved = false
	j.mu.Unlock()
	if !unsaved {
		return nil
	}
	if err := j.file.Sync(); err != nil {
		return outFault(j.path, err)
	}
	return nil
}

// OutputError is why the output could not be written. It holds whole lines, and
// the same command goes on behind them.
type OutputError struct {
	Path string
	Err  error
}

func (e *OutputError) Error() string {
	s := fmt.Sprintf("write %s: %v", e.Path, e.Err)
	if errors.Is(e.Err, syscall.ENOSPC) || errors.Is(e.Err, syscall.EDQUOT) {
		s += "; what is in it is whole: make room, and the same command goes on"
	}
	return s
}

func (e *OutputError) Unwrap() error { return e.Err }

func outFault(path string, err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err
	}
	return &OutputError{path, err}
}
