package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// frame puts a gate in front of net/http, which takes requests whose end two
// readers could see in two places: with Transfer-Encoding and Content-Length,
// with lines that end in LF alone, with folded fields. No handler can see them
// afterwards. A ConnState that srv has must call followState.
//
// It is for plain text only. Under TLS net/http finds HTTP/2 in what it knows
// to be a *tls.Conn, so that nothing can stand between the two.
func frame(srv *http.Server, ln net.Listener) net.Listener {
	if srv.ConnState == nil {
		srv.ConnState = followState
	}
	head := srv.MaxHeaderBytes
	if head <= 0 {
		head = http.DefaultMaxHeaderBytes
	}
	return &framedListener{ln, head + headSlack}
}

const (
	// headSlack is what net/http may read of a head beyond MaxHeaderBytes: it
	// allows 4 KiB, and has up to 4 KiB in its buffer before it counts.
	headSlack = 8 << 10

	// lingerTime is how long a caller who was refused may take to read it, as in
	// net/http. If we closed with bytes unread, the reset could overtake the
	// answer.
	lingerTime = 500 * time.Millisecond
)

type framedListener struct {
	net.Listener
	maxHead int
}

func (l *framedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &framedConn{Conn: conn, maxHead: l.maxHead}, nil
}

// framedConn is a connection that hands a request's head to its reader once it
// is whole and clean, then the body, and the next head by another Read. It
// refuses what is ambiguous: the caller gets a problem of type bad-request if
// no answer has begun, and the reader an error. HTTP/2 by prior knowledge
// passes as it is, and so does what follows a switch of protocols.
//
// Read is called by one goroutine at a time, as net/http does.
type framedConn struct {
	net.Conn
	maxHead int // bytes of a head to hold back

	frames frames
	used   bool  // something has been handed over
	asked  bool  // a head has been handed over and not been answered
	timed  bool  // the head that is held back has its deadline
	raw    bool  // nothing is judged any more
	err    error // what Read returns when held has been handed over

	// What was read and not handed over: (*held)[given:whole] is good, what is
	// behind begins the next head. Given back when empty, for connections are
	// idle or held most of their time.
	held         *[]byte
	given, whole int

	mu struct {
		sync.Mutex
		answering bool // the answer to the request in turn has begun
		refused   bool // nothing more is written
	}
}

// heads are buffers for framedConn.held.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, headBuffer); return &b }}

const headBuffer = 4 << 10 // bytes: most heads

// preface opens HTTP/2 connections (RFC 9113, section 3.4).
var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// Read reads what belongs to one request, in part or as a whole. Being
// interrupted by a deadline loses nothing.
func (c *framedConn) Read(p []byte) (int, error) {
	for len(p) > 0 {
		switch {
		case c.given < c.whole:
			return c.handOver(p), nil
		case c.err != nil:
			return 0, c.err
		case c.raw && c.held == nil:
			return c.Conn.Read(p)
		case c.raw:
			c.whole = len(*c.held)
		case c.asked && c.frames.at == inHead:
			return 0, c.watch(p)
		case c.held == nil:
			n, err := c.Conn.Read(p)
			if n == 0 {
				return 0, err
			}
			own, err := c.follow(p[:n])
			if err != nil {
				return 0, c.refuse(err)
			}
			c.hold(p[own:n])
			if own > 0 {
				return own, nil
			}
		default:
			if err := c.readHead(); err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}

// follow returns how much of b, which comes next, may be handed over.
func (c *framedConn) follow(b []byte) (int, error) {
	if !c.used {
		if bytes.HasPrefix(b, preface) {
			c.used, c.raw = true, true
			return len(b), nil
		}
		if bytes.HasPrefix(preface, b) {
			return 0, nil
		}
	}
	begins := c.frames.at == inHead
	n, err := c.frames.follow(b)
	if err != nil || n == 0 {
		return 0, err
	}
	c.used, c.timed = true, false
	if begins && n > len("\r\n") {
		c.asked = true
	}
	return n, nil
}

// readHead goes over what is held, which begins a head, and reads once if that
// is not whole.
func (c *framedConn) readHead() error {
	n, err := c.follow(*c.held)
	if err != nil {
		return c.refuse(err)
	}
	if n > 0 {
		c.whole = n
		return nil
	}
	b := *c.held
	if len(b) >= c.maxHead {
		c.whole, c.err = len(b), io.EOF // net/http gives up before
		return nil
	}
	if c.used && !c.timed {
		// net/http's own begins when it sees the first byte, and until then that
		// of an idle connection holds.
		if err := c.Conn.SetReadDeadline(time.Now().Add(headTimeout)); err != nil {
			return err
		}
		c.timed = true
	}
	b = slices.Grow(b, 1)
	n, err = c.Conn.Read(b[len(b):cap(b)])
	*c.held = b[:len(b)+n]
	if n > 0 || err == nil {
		return nil
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return err
	}
	c.whole, c.err = len(b), err // no request, and net/http may say so
	return nil
}

// watch waits for the caller to leave or to send another request, while one is
// unanswered: net/http reads then for no other reason. Nothing is judged before
// its turn. That nothing was read and nothing is wrong ends net/http's watch.
func (c *framedConn) watch(p []byte) error {
	if c.held != nil {
		return nil
	}
	n, err := c.Conn.Read(p[:1])
	c.hold(p[:n])
	if n > 0 {
		return nil
	}
	return err
}

// hold keeps bytes that begin a head.
func (c *framedConn) hold(p []byte) {
	if len(p) == 0 {
		return
	}
	c.held = heads.Get().(*[]byte)
	*c.held = append(*c.held, p...)
}

// handOver copies to p what it can of what is good.
func (c *framedConn) handOver(p []byte) int {
	b := *c.held
	n := copy(p, b[c.given:c.whole])
	if c.given += n; c.given == c.whole {
		*c.held = b[:copy(b, b[c.whole:])]
		c.given, c.whole = 0, 0
		if len(*c.held) == 0 {
			c.letGo()
		}
	}
	return n
}

// letGo gives back the buffer.
func (c *framedConn) letGo() {
	if c.held == nil {
		return
	}
	if cap(*c.held) == headBuffer {
		*c.held = (*c.held)[:0]
		heads.Put(c.held)
	}
	c.held, c.given, c.whole = nil, 0, 0
}

// refuse ends the connection because of why, and returns what Read has to.
// net/http closes without an answer of its own when a read fails so.
func (c *framedConn) refuse(why error) error {
	c.letGo()
	c.err = &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: why}
	c.mu.Lock()
	answering := c.mu.answering
	c.mu.refused = true
	c.mu.Unlock()
	if answering {
		return c.err
	}
	// Errors: a caller who has gone meanwhile.
	_ = c.Conn.SetDeadline(time.Now().Add(lingerTime))
	if _, err := c.Conn.Write(refusal(why, time.Now())); err == nil && c.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.Conn)
	}
	return c.err
}

// refusal is the answer to a request that cannot be read.
func refusal(why error, now time.Time) []byte {
	p := newProblem(why)
	text, _ := json.Marshal(p) // strings: it cannot fail
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n"+
		"Connection: close\r\nContent-Length: %d\r\nDate: %s\r\n\r\n%s",
		p.Status, http.StatusText(p.Status), len(text), now.UTC().Format(http.TimeFormat), text)
}

// Write writes, unless the connection has been refused: the caller must not
// get two answers to one request.
func (c *framedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	refused := c.mu.refused
	if !refused && !bytes.HasPrefix(p, []byte("HTTP/1.1 100 ")) {
		c.mu.answering = true
	}
	c.mu.Unlock()
	if refused {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

// CloseWrite ends our direction. net/http does so before it lingers, and we
// when an upgraded upstream has ended its own.
func (c *framedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// followState tells a framed connection how far net/http is. An upgrade that
// is only asked for changes nothing: the upstream may decline, and HTTP goes
// on. net/http calls it between reads.
func followState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*framedConn)
	if !ok || c.raw {
		return
	}
	switch state {
	case http.StateHijacked:
		c.raw = true
	case http.StateIdle:
		c.asked = false
		c.mu.Lock()
		c.mu.answering = false
		c.mu.Unlock()
	}
}
