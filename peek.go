package headgate

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/dialect"
)

// maxPeek bounds how long the beginning of a body is waited for. Who sends the
// head of a refusal has its body at hand, and what the head says must not be
// held up by a body that does not come.
const maxPeek = time.Second

// peekFor returns how long the beginning of a body is waited for.
func (u *upstream) peekFor() time.Duration {
	if d := time.Duration(u.timeout.Attempt); d > 0 {
		return min(d, maxPeek)
	}
	return maxPeek
}

// maxEvent bounds what is read of a stream to see its first event, in bytes:
// errors are short.
const maxEvent = 16 << 10

// readFirstEvent looks whether a stream begins with an error that says "too
// many" or "not now", and makes it count as one. The answer waits for its
// first event.
func (c *call) readFirstEvent(resp *http.Response, a dialect.Answer, r dialect.Reading) dialect.Reading {
	start := peek(resp, maxEvent, 0, func(start []byte) bool {
		_, _, ended := dialect.FirstEvent(start)
		return ended
	})
	event, data, _ := dialect.FirstEvent(start)
	if class, ok := dialect.EventClass(event, data); ok {
		a.Model = c.model()
		return r.Streamed(a, class, data)
	}
	return r
}

// peek returns the beginning of a response's body: what has come of it when it
// is enough, when it has n bytes or ends, or after within; 0: whenever that is. It
// puts back what it read, with the error that ended it.
func peek(resp *http.Response, n int, within time.Duration, enough func(start []byte) bool) []byte {
	if resp.Body == http.NoBody {
		return nil
	}
	p := &peekedBody{ReadCloser: resp.Body, ended: make(chan struct{})}
	resp.Body = p
	if within <= 0 {
		p.ahead(n, enough)
		return p.mu.start
	}
	go p.ahead(n, enough)
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.stop = true
	return slices.Clip(p.mu.start)
}

// peekedBody is a body whose beginning is read ahead. The read that is under way
// when nobody waits for it any more is the last one ahead: the body's reader gets
// what it brings. It ends with the body's Close or the attempt's context.
type peekedBody struct {
	io.ReadCloser
	ended chan struct{} // closed when nothing more is read ahead
	read  int           // bytes of the start that the reader has

	mu struct {
		sync.Mutex
		start []byte
		err   error // that ended the start
		stop  bool  // one more read is enough
	}
}

// ahead reads the beginning.
func (p *peekedBody) ahead(n int, enough func([]byte) bool) {
	defer close(p.ended)
	buf := make([]byte, min(n, 4<<10))
	for more := n > 0; more; {
		m, err := p.ReadCloser.Read(buf[:min(len(buf), n)])
		n -= m
		p.mu.Lock()
		p.mu.start = append(p.mu.start, buf[:m]...)
		p.mu.err = err
		more = n > 0 && err == nil && !p.mu.stop
		if more && enough != nil && bytes.IndexByte(buf[:m], '\n') >= 0 {
			more = !enough(p.mu.start)
		}
		p.mu.Unlock()
	}
}

func (p *peekedBody) Read(b []byte) (int, error) {
	if n := p.take(b); n > 0 || len(b) == 0 {
		return n, nil
	}
	<-p.ended
	if n := p.take(b); n > 0 {
		return n, nil
	}
	if p.mu.err != nil { // the lock is nobody else's any more
		return 0, p.mu.err
	}
	return p.ReadCloser.Read(b)
}

// take copies what is left of the start.
func (p *peekedBody) take(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.mu.start[p.read:])
	p.read += n
	return n
}
