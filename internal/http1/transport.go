// Package http1 is an HTTP/1.1 client that works on its caller's goroutine: a
// request is written, and its answer read, by whoever called RoundTrip and
// reads the body. That leaves out the two goroutines and the channels that
// http.Transport keeps for each connection, and with them half of what a call
// costs above the kernel's part (BenchmarkRoundTrip).
//
// It is made for the common attempt: no TLS, a request that is complete before
// it is sent, an answer of any kind. All else goes to another RoundTripper.
// Answers are parsed by http.ReadResponse.
package http1

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

const (
	dialTimeout = 30 * time.Second // and between keep-alive probes, as http.DefaultTransport has it
	idleTimeout = 90 * time.Second // as http.DefaultTransport has it
	maxBody     = 64 << 10         // bytes of a request's body: kernels take that much without the peer reading
)

// Transport is an http.RoundTripper that sends requests over kept-alive
// HTTP/1.1 connections, without TLS. The zero value works. It is safe for
// concurrent use, and must not be copied after first use.
//
// A request goes to Fallback if its scheme is not http, if a proxy of the
// environment applies to it, if its body is of unknown length or above 64 KiB,
// if its host is anything but letters, digits and "._-:[]", or if it has
// trailers, a transfer coding, a Cancel channel, Close, the method CONNECT, or
// one of the fields Connection, Upgrade and Expect.
//
// A body is read to its end before a connection is taken, and the request is
// written in one piece. Hooks of httptrace are called, but for
// WroteHeaderField and those of Expect; WroteRequest is not, if the body could
// not be read.
//
// An idle connection that breaks before the first byte of the answer gives way
// to a fresh one, once for each call, if the request is idempotent by the
// rules of http.Transport, or if none of it was sent.
//
// When a request's context ends, its connection is closed, and what waited
// returns the context's Err. So is the request's body, if it was being read:
// a body whose Close does not end its Read holds RoundTrip up.
type Transport struct {
	// Fallback takes what this Transport is not made for. nil:
	// http.DefaultTransport.
	Fallback http.RoundTripper

	// Dial makes connections. nil: a net.Dialer with a timeout of 30 s and
	// keep-alive probes every 30 s.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// MaxIdlePerHost bounds the idle connections to a host. 0: no bound;
	// negative: none are kept.
	MaxIdlePerHost int

	// IdleTimeout is how long a connection stays idle before it is closed. 0:
	// 90 s; negative: for ever.
	IdleTimeout time.Duration

	pool pool
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !made(req) {
		return t.fallback().RoundTrip(req)
	}
	resp, err := t.roundTrip(req)
	if err != nil {
		if ended := req.Context().Err(); ended != nil {
			err = ended
		}
		return nil, err
	}
	return resp, nil
}

// CloseIdleConnections closes the connections that no call uses, and those of
// Fallback if one is set. Connections in use are closed when they fall idle, unless another
// call has begun by then.
func (t *Transport) CloseIdleConnections() {
	t.pool.close()
	if f, ok := t.Fallback.(interface{ CloseIdleConnections() }); ok {
		f.CloseIdleConnections()
	}
}

func (t *Transport) fallback() http.RoundTripper {
	if t.Fallback != nil {
		return t.Fallback
	}
	return http.DefaultTransport
}

// made says whether a Transport is made for a request. What net/http would
// refuse for other reasons than its method and fields is left to net/http.
func made(req *http.Request) bool {
	if req.URL == nil || req.URL.Scheme != "http" || req.Header == nil || req.Method == http.MethodConnect ||
		req.Close || len(req.Trailer) > 0 || len(req.TransferEncoding) > 0 || cancellable(req) {
		return false
	}
	if !plainHost(req.URL.Host) || req.Host != "" && !plainHost(req.Host) {
		return false
	}
	if hasBody(req) && (req.ContentLength <= 0 || req.ContentLength > maxBody) || req.Body == nil && req.ContentLength != 0 {
		return false
	}
	for _, field := range [...]string{"Connection", "Upgrade", "Expect"} {
		if _, has := req.Header[field]; has {
			return false
		}
	}
	proxy, err := http.ProxyFromEnvironment(req)
	return proxy == nil && err == nil
}

func cancellable(req *http.Request) bool {
	//lint:ignore SA1019 who still sets it counts on it
	return req.Cancel != nil
}

// plainHost says whether a host is ASCII, can stand in a request as it is, and
// is not empty.
func plainHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && !strings.ContainsRune("._-:[]", rune(c)) {
			return false
		}
	}
	return s != ""
}

// noTrace stands for the hooks of a request that has none.
var noTrace httptrace.ClientTrace

func (t *Transport) roundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	m, err := newMessage(req)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		m.release()
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	defer m.release()
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		trace = &noTrace
	}
	if trace.GetConn != nil {
		trace.GetConn(address(req.URL))
	}
	if err := m.readBody(req); err != nil {
		return nil, err
	}
	c := t.pool.take(req.URL.Host)
	if c != nil {
		resp, stale, err := c.exchange(req, m, trace)
		if !stale || ctx.Err() != nil {
			return resp, err
		}
		if trace.GetConn != nil {
			trace.GetConn(address(req.URL))
		}
	}
	c, err = t.dial(ctx, req.URL)
	if err != nil {
		return nil, err
	}
	resp, _, err := c.exchange(req, m, trace)
	return resp, err
}

var dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}

func (t *Transport) dial(ctx context.Context, u *url.URL) (*conn, error) {
	dial := t.Dial
	if dial == nil {
		dial = dialer.DialContext
	}
	nc, err := dial(ctx, "tcp", address(u))
	if err != nil {
		return nil, err
	}
	return newConn(nc, strings.Clone(u.Host), t), nil
}

// address returns the host and port that a URL leads to.
func address(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), "80")
}
