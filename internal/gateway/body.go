package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
)

// body is the request body of a call, kept so that the door can send it more
// than once. What is known to be short is read before the call enters the
// door; net/http notices that a caller has left only after the body was read.
// Anything else goes through a spool, which the attempts read while it grows.
type body struct {
	short   []byte       // if spool is nil; nil: there is no body
	first   bytes.Reader // of short
	spool   *spool
	trailer http.Header // of the request; its values are there once the body has been read
	cancel  context.CancelCauseFunc
}

// takeBody begins to keep the body of the call. The context it returns ends
// when the body breaks off; its cause is then why.
func (c *call) takeBody(ctx context.Context) (context.Context, error) {
	in, n := c.in, c.in.ContentLength
	if in.Body == nil || in.Body == http.NoBody || n == 0 {
		return ctx, nil
	}
	if n > 0 && n <= c.route.inMemory && len(in.Trailer) == 0 {
		short, err := readShort(in.Body, n)
		if err != nil {
			return ctx, fmt.Errorf("%w: %w", errBodyBroken, err)
		}
		c.body.short = short
		return ctx, nil
	}

	if in.ProtoMajor == 1 {
		// net/http reads what is left of the body before it writes a header, on
		// the assumption that nobody else does.
		if err := http.NewResponseController(c.w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return ctx, err
		}
	}
	ctx, c.body.cancel = context.WithCancelCause(ctx)
	s := newSpool(in.Body, c.body.cancel)
	s.max = c.route.maxBody
	if n <= c.route.kept { // else not a byte: it would be of no use
		s.inMemory, s.kept = c.route.inMemory, c.route.kept
	}
	c.body.spool = s
	if len(in.Trailer) > 0 {
		c.body.trailer = maps.Clone(in.Trailer)
		s.atEOF = func() { maps.Copy(c.body.trailer, in.Trailer) }
	}
	// net/http adds trailers to the request when it reads the body's end, those
	// that were not announced too. The call goes on with a copy.
	c.in = in.WithContext(in.Context())
	go s.fill()
	if c.body.trailer != nil {
		// An attempt writes trailers as it finds them at the end of its body.
		// Those of a body that was read are there for each attempt.
		s.wait(ctx)
	}
	return ctx, context.Cause(ctx)
}

// readShort reads a body that was announced with n bytes. Memory is taken as
// bytes come, not as they are promised.
func readShort(r io.Reader, n int64) ([]byte, error) {
	buf := make([]byte, min(n, 64<<10))
	var have int
	for {
		m, err := io.ReadFull(r, buf[have:])
		if have += m; err != nil {
			return nil, err
		}
		if int64(have) == n {
			return buf, nil
		}
		grown := make([]byte, min(n, int64(2*len(buf))))
		copy(grown, buf)
		buf = grown
	}
}

// attach makes the body that of out, which goes through the door.
func (b *body) attach(out *http.Request) {
	switch {
	case b.spool != nil:
		out.Body, out.GetBody = b.spool.reader(), b.spool.getBody
		if out.ContentLength > b.spool.kept {
			out.GetBody = nil // known from the start: one attempt
		}
		out.Trailer = b.trailer
	case b.short != nil:
		// As http.NewRequest would make it: transports know by the types that
		// head and body can go out in one piece.
		b.first.Reset(b.short)
		out.Body = io.NopCloser(&b.first)
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.short)), nil }
	default:
		out.Body, out.GetBody = http.NoBody, nil
	}
}

// streaming reports whether the caller is still sending.
func (b *body) streaming() bool { return b.spool != nil && !b.spool.ended() }

// closeIfStillSending has an HTTP/1 connection closed after the response if the
// caller is still sending: there is no telling where the next request begins.
// It is called before the header is written, which then says so.
func (c *call) closeIfStillSending() {
	if c.body.streaming() && c.in.ProtoMajor == 1 {
		closeAfterReply(c.w)
	}
}

// endBody lets go of the body. Nothing reads it any more afterwards.
func (c *call) endBody() {
	s := c.body.spool
	if s == nil {
		return
	}
	if !s.ended() {
		closeAfterReply(c.w)
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Unix(1, 0)) // wakes who reads; not supported: a broken body wakes it
	}
	s.close()
	c.body.cancel(nil)
}

// closeAfterReply has net/http end an HTTP/1 connection after the response, at
// any time, and linger so that the caller can read it. Connection: close does
// so only before the header is written; what always does is a body that was
// found to be too long. On HTTP/2 it does nothing.
func closeAfterReply(w http.ResponseWriter) {
	var b [2]byte
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("..")), 0).Read(b[:])
}
