package gateway

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// forward sends the call through the door and its answer to the caller.
func (c *call) forward() {
	ctx, err := c.takeBody(c.in.Context())
	defer c.endBody()
	if err != nil {
		c.fail(err)
		return
	}
	res, err := c.route.door.RoundTrip(c.request(c.withHints(ctx)))
	c.endHints()
	switch {
	case err != nil:
		if cause := context.Cause(ctx); cause != nil {
			err = cause // the body broke off, or we are shutting down
		}
		c.fail(err)
	case res.StatusCode == http.StatusSwitchingProtocols:
		c.switchProtocols(res)
	case res.StatusCode < 200 || res.StatusCode > 999:
		res.Body.Close()
		c.fail(fmt.Errorf("the upstream answered with status %d, which is none", res.StatusCode))
	default:
		c.respond(res)
	}
}

// respond passes an answer on. If it breaks off so does the response: the
// caller must not take a part for the whole.
func (c *call) respond(res *http.Response) {
	defer res.Body.Close()
	h := c.w.Header()
	removeHopByHop(res.Header)
	maps.Copy(h, res.Header)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // none, rather than net/http's guess
	}
	announced := len(res.Trailer)
	if announced > 0 {
		h["Trailer"] = []string{strings.Join(slices.Sorted(maps.Keys(res.Trailer)), ", ")}
		if c.in.ProtoMajor == 1 {
			delete(h, "Content-Length") // HTTP/1.1 has trailers only in chunked bodies
		}
	}
	c.addQuota(h)
	c.closeIfStillSending()
	c.w.WriteHeader(res.StatusCode)
	if err := c.copyBody(res); err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range res.Trailer {
		if len(res.Trailer) != announced {
			name = http.TrailerPrefix + name // some were not announced
		}
		h[name] = values
	}
}

// copyBody copies an answer's body, at once if there is no telling when more
// will come: events, bodies of unknown length, and answers that begin before
// the request has ended.
func (c *call) copyBody(res *http.Response) error {
	events := isEventStream(res.Header)
	atOnce := events || res.ContentLength < 0 || c.body.streaming()
	if atOnce {
		// Some callers wait for the header alone. An error shows at the next write.
		_ = flush(c.w)
	}
	if res.Body == http.NoBody {
		return nil
	}
	pool := &buffers
	if events || res.ContentLength > 0 && res.ContentLength <= smallBuffer {
		pool = &smallBuffers
	}
	buf := pool.Get().(*[]byte)
	defer pool.Put(buf)
	for {
		n, err := res.Body.Read(*buf)
		if n > 0 {
			if _, werr := c.w.Write((*buf)[:n]); werr != nil {
				return werr
			}
			if atOnce && err == nil {
				if ferr := flush(c.w); ferr != nil {
					return ferr
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

const smallBuffer = 4 << 10 // bytes

// buffers are taken once there is something to copy, so that a call that is
// held costs none. Events are short, and their streams are held for long; small
// ones also stay in the processor's cache.
var (
	buffers      = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
)

func flush(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() }

func isEventStream(h http.Header) bool {
	const events = "text/event-stream"
	v := h["Content-Type"]
	return len(v) > 0 && len(v[0]) >= len(events) && strings.EqualFold(v[0][:len(events)], events)
}
