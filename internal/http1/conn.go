package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"
)

const (
	readSize = 4 << 10  // bytes read ahead from a connection
	maxHead  = 10 << 20 // bytes of an answer's head, interim answers included: as http.Transport
	max1xx   = 5        // interim answers to a request
)

// conn is a connection. From take or dial to release it belongs to one call.
type conn struct {
	net       net.Conn
	host      string // of the URLs it serves
	transport *Transport
	buf       *bufio.Reader // reads from the conn itself
	left      int64         // bytes that may still be read from the network
	quiet     func() bool   // whether the peer has neither closed nor said anything
	idleSince time.Time     // zero: fresh
	abort     func()        // closes net
	stop      func() bool   // keeps abort from being called when the call's context ends; nil: nothing to keep
}

func newConn(nc net.Conn, host string, t *Transport) *conn {
	c := &conn{net: nc, host: host, transport: t, quiet: newProbe(nc), abort: func() { nc.Close() }}
	c.buf = bufio.NewReaderSize(c, readSize)
	return c
}

// errLeft is what reading ends with when no more may be read.
var errLeft = errors.New("no more may be read")

// Read reads from the network, within what is left.
func (c *conn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errLeft
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.net.Read(p)
	c.left -= int64(n)
	return n, err
}

// exchange sends a request and returns its answer, whose body then owns the
// connection. It releases the message once it will not be sent again. stale
// says that the connection, which had been idle, was found broken, and that
// the message is there to be sent on a fresh one.
func (c *conn) exchange(req *http.Request, m *message, trace *httptrace.ClientTrace) (resp *http.Response, stale bool, err error) {
	ctx := req.Context()
	reused := !c.idleSince.IsZero()
	if trace.GotConn != nil {
		info := httptrace.GotConnInfo{Conn: c.net, Reused: reused, WasIdle: reused}
		if reused {
			info.IdleTime = time.Since(c.idleSince)
		}
		trace.GotConn(info)
	}
	if ctx.Done() != nil {
		c.stop = context.AfterFunc(ctx, c.abort)
	}
	n, broken := c.net.Write(m.bytes())
	if trace.WroteHeaders != nil && broken == nil {
		trace.WroteHeaders()
	}
	if trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: broken})
	}
	if broken != nil && n == 0 && reused {
		c.release(false, trace)
		return nil, true, fmt.Errorf("write request to %s: %w", c.host, broken)
	}
	again := reused && m.idempotent
	if !again {
		m.release()
	}
	// A peer may answer and close before it has read everything: the answer is
	// worth more than the error.
	c.left = maxHead
	if _, err := c.buf.Peek(1); err != nil {
		c.release(false, trace)
		if broken != nil {
			return nil, again, fmt.Errorf("write request to %s: %w", c.host, broken)
		}
		return nil, again, fmt.Errorf("await answer of %s: %w", c.host, unexpected(err))
	}
	m.release()
	if trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	resp, err = c.readHead(req, trace)
	if err != nil {
		c.release(false, trace)
		return nil, false, fmt.Errorf("read answer of %s: %w", c.host, unexpected(err))
	}
	c.left = math.MaxInt64
	keep := broken == nil && !resp.Close && resp.StatusCode >= 200
	if resp.Body == http.NoBody {
		c.release(keep, trace)
	} else {
		resp.Body = &body{src: resp.Body, conn: c, ctx: ctx, trace: trace, keep: keep}
	}
	return resp, false, nil
}

// readHead reads the head of the final answer.
func (c *conn) readHead(req *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
	for interim := 0; ; interim++ {
		resp, err := http.ReadResponse(c.buf, req)
		switch {
		case err != nil && c.left == 0:
			return nil, fmt.Errorf("head exceeds %d bytes", maxHead)
		case err != nil:
			return nil, err
		case resp.StatusCode < 100 || resp.StatusCode > 199:
			return resp, nil
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("it switched protocols unasked")
		case interim == max1xx:
			return nil, fmt.Errorf("more than %d interim answers", max1xx)
		}
		if trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
				return nil, err
			}
		}
	}
}

// release ends a call's use of the connection: it is kept for the next one, if
// it may be, or closed. Nothing may touch it afterwards.
func (c *conn) release(keep bool, trace *httptrace.ClientTrace) {
	if c.stop != nil && !c.stop() {
		keep = false // the context has ended, and abort runs at any moment: nobody else may have it
	}
	c.stop = nil
	if !keep || c.buf.Buffered() > 0 {
		c.net.Close()
		return
	}
	err := c.transport.pool.put(c)
	if err != nil {
		c.net.Close()
	}
	if trace.PutIdleConn != nil {
		trace.PutIdleConn(err)
	}
}

// unexpected returns err, where the end of the connection is not one of the
// answer.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
