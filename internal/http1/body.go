package http1

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// body is the body of an answer. It owns the connection until its last byte,
// an error, or Close. Close may be called during a Read, and ends it.
type body struct {
	src   io.ReadCloser // http.ReadResponse's, never closed: that would read on
	conn  *conn
	ctx   context.Context // the request's
	trace *httptrace.ClientTrace
	keep  bool        // the connection may be kept after the last byte
	ended atomic.Bool // whoever sets it releases the connection

	mu  sync.Mutex // held while reading
	err error      // guarded by mu: what Read returns from now on
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.src.Read(p)
	if err != nil {
		b.err = b.end(err)
	}
	return n, b.err
}

// Close lets go of the connection. It is kept if the rest of the body was read
// ahead already, and closed otherwise. It returns nil.
func (b *body) Close() error {
	if !b.mu.TryLock() { // a Read is under way
		if b.ended.CompareAndSwap(false, true) {
			b.conn.release(false, b.trace)
		}
		return nil
	}
	defer b.mu.Unlock()
	if b.err == nil {
		b.end(b.drain())
	}
	b.err = http.ErrBodyReadAfterClose
	return nil
}

// drain reads what was read ahead. It returns io.EOF if that was the rest.
func (b *body) drain() error {
	b.conn.left = 0
	if _, err := io.Copy(io.Discard, b.src); err != nil {
		return err
	}
	return io.EOF
}

// end releases the connection after a read that ended with err, and returns
// what the reader is told.
func (b *body) end(err error) error {
	host := b.conn.host
	if !b.ended.CompareAndSwap(false, true) {
		return http.ErrBodyReadAfterClose
	}
	b.conn.release(b.keep && err == io.EOF, b.trace)
	if err == io.EOF {
		return err
	}
	if ended := b.ctx.Err(); ended != nil {
		return ended
	}
	return fmt.Errorf("read body from %s: %w", host, err)
}
