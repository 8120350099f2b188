package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// spool keeps a request body while it comes in, so that attempts can read it
// from its beginning, each at its own pace:
//
//	0             inMemory            kept
//	├─ mem ──────────┼─ file ───────────┼─ tail ─┼─ not kept ───▶
//
// One goroutine fills it until the body ends or is too long to be kept, whether
// anybody reads or not. What comes after belongs to the first reader that gets
// there; from then on no other attempt is possible. A disk that cannot be
// written makes the body too long to be kept.
type spool struct {
	src      io.ReadCloser
	fault    func(error) // called once if src ends otherwise than with EOF
	atEOF    func()      // called once src has; nil: nothing
	inMemory int64       // bytes
	kept     int64       // bytes, those in memory included
	max      int64       // bytes the body may have; 0: no bound

	mu      sync.Mutex
	changed sync.Cond // of what follows
	mem     []byte
	file    *os.File // nil: none yet
	named   bool     // the file is still in its directory
	inFile  int64    // bytes
	tail    []byte   // read, but for nothing to keep it in
	rest    int64    // bytes that were not kept
	end     error    // io.EOF or why src broke off; nil: there is more
	filling bool
	over    bool         // no more is kept
	owner   *spoolReader // of what is not kept; nil: nobody has got there
	reading bool         // the owner is
	closed  bool
}

var (
	errNotKept   = errors.New("the request body was too long to be kept for another attempt")
	errBodyEnded = errors.New("the call has ended")
)

// newSpool returns a spool of src that keeps nothing. The caller sets its
// bounds, calls fill, and close in the end.
func newSpool(src io.ReadCloser, fault func(error)) *spool {
	s := &spool{src: src, fault: fault, filling: true}
	s.changed.L = &s.mu
	return s
}

// fill reads what can be kept.
func (s *spool) fill() {
	for s.fillMemory() {
	}
	s.fillFile()
	s.mu.Lock()
	s.filling = false
	s.over = s.over || s.end == nil
	s.changed.Broadcast()
	s.mu.Unlock()
}

// fillMemory reads once into memory, and reports whether more fits.
func (s *spool) fillMemory() bool {
	s.mu.Lock()
	have := len(s.mem)
	if s.closed || s.end != nil || int64(have) >= s.inMemory {
		s.mu.Unlock()
		return false
	}
	if cap(s.mem) == have {
		s.mem = slices.Grow(s.mem, max(have, 4<<10))
	}
	free := s.mem[have:min(int64(cap(s.mem)), s.inMemory)]
	s.mu.Unlock()

	n, err := s.src.Read(free) // beyond len(s.mem): readers do not look there

	s.mu.Lock()
	s.mem = s.mem[:have+n]
	s.mu.Unlock()
	return s.passed(err)
}

// fillFile reads on, into a file, as far as it goes.
func (s *spool) fillFile() {
	s.mu.Lock()
	more := !s.closed && s.end == nil && int64(len(s.mem)) < s.kept
	s.mu.Unlock()
	if !more {
		return
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := s.src.Read(*buf)
		if n > 0 {
			werr := s.write((*buf)[:n])
			s.mu.Lock()
			if werr == nil {
				s.inFile += int64(n)
			} else {
				s.tail, s.over = slices.Clone((*buf)[:n]), true
			}
			s.mu.Unlock()
		}
		if !s.passed(err) {
			return
		}
	}
}

// write appends to the file.
func (s *spool) write(p []byte) error {
	if int64(len(s.mem))+s.inFile+int64(len(p)) > s.kept {
		return errNotKept
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "headgate-body-*")
		if err != nil {
			return err
		}
		unlinked := os.Remove(f.Name()) // not everywhere while it is open: then close does it
		s.mu.Lock()
		s.file, s.named = f, unlinked != nil
		s.mu.Unlock()
	}
	_, err := s.file.WriteAt(p, s.inFile)
	return err
}

// passed takes note of how a read of src ended, and reports whether to go on.
func (s *spool) passed(err error) bool {
	s.mu.Lock()
	size := int64(len(s.mem)) + s.inFile + int64(len(s.tail)) + s.rest
	switch {
	case s.max > 0 && size > s.max:
		err = tooLarge(s.max)
	case err != nil && err != io.EOF:
		err = fmt.Errorf("%w: %w", errBodyBroken, err)
	}
	if err == io.EOF && s.atEOF != nil {
		s.atEOF()
	}
	s.end = err
	more := err == nil && !s.closed && !s.over
	s.changed.Broadcast()
	s.mu.Unlock()
	if err != nil && err != io.EOF {
		s.fault(err)
	}
	return more
}

// wait returns once the body has been read as far as it is kept, or ctx ends.
func (s *spool) wait(ctx context.Context) {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.filling && ctx.Err() == nil {
		s.changed.Wait()
	}
}

// ended reports whether all of the body has been read.
func (s *spool) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end == io.EOF
}

// getBody returns a reader from the beginning, as http.Request.GetBody does.
func (s *spool) getBody() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errBodyEnded
	case s.owner != nil:
		return nil, errNotKept
	}
	return s.reader(), nil
}

func (s *spool) reader() *spoolReader { return &spoolReader{spool: s} }

// close ends all readers and waits until nobody reads src, which its owner has
// to see to if it blocks.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changed.Broadcast()
	for s.filling || s.reading {
		s.changed.Wait()
	}
	if s.file != nil {
		s.file.Close()
		if s.named {
			os.Remove(s.file.Name())
		}
	}
	s.src.Close()
	s.mem, s.tail = nil, nil
}

// spoolReader is the body of one attempt.
type spoolReader struct {
	spool  *spool
	off    int64
	closed bool // guarded by spool.mu
}

// Read waits for more if there is none yet.
func (r *spoolReader) Read(p []byte) (int, error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		inMem := int64(len(s.mem))
		switch {
		case r.closed || s.closed:
			return 0, errBodyEnded
		case len(p) == 0:
			return 0, nil
		case r.off < inMem:
			n := copy(p, s.mem[r.off:])
			r.off += int64(n)
			return n, nil
		case r.off < inMem+s.inFile:
			return r.readFileLocked(p, r.off-inMem)
		case r.off < inMem+s.inFile+int64(len(s.tail)):
			n := copy(p, s.tail[r.off-inMem-s.inFile:])
			r.off += int64(n)
			return n, nil
		case s.owner != nil && s.owner != r:
			return 0, errNotKept
		case s.end != nil:
			return 0, s.end
		case s.over && !s.filling:
			return r.readRestLocked(p)
		}
		s.changed.Wait()
	}
}

func (r *spoolReader) readFileLocked(p []byte, at int64) (int, error) {
	s := r.spool
	p = p[:min(int64(len(p)), s.inFile-at)]
	file := s.file
	s.mu.Unlock()
	n, err := file.ReadAt(p, at)
	s.mu.Lock()
	r.off += int64(n)
	return n, err
}

// readRestLocked reads what is not kept, and makes r its owner.
func (r *spoolReader) readRestLocked(p []byte) (int, error) {
	s := r.spool
	s.owner, s.reading = r, true
	s.mu.Unlock()
	n, err := s.src.Read(p)
	s.mu.Lock()
	s.rest += int64(n)
	s.mu.Unlock()
	s.passed(err)
	s.mu.Lock()
	s.reading = false
	if s.rest == 0 {
		s.owner = nil // all was kept after all
	}
	s.changed.Broadcast()
	if s.end != nil {
		return n, s.end
	}
	return n, nil
}

// Close ends the attempt's reading.
func (r *spoolReader) Close() error {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	r.closed = true
	r.spool.changed.Broadcast()
	return nil
}
