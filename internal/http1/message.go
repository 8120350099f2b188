package http1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"sync"
)

const (
	userAgent  = "Go-http-client/1.1" // as http.Transport calls itself
	smallSize  = 4 << 10              // bytes: most requests, body and all
	largeSize  = maxBody + smallSize  // bytes: nearly all others
	emptyReads = 100                  // of a body in a row, before it is given up: as package bufio
)

// message is a request as it goes over the wire: head, then body.
type message struct {
	buf        *buffer // nil once released
	idempotent bool    // by the rules of http.Transport
}

// newMessage returns the head of a request. An error says what cannot be sent
// of it; values are left out, as they may be secret.
func newMessage(req *http.Request) (*message, error) {
	m := &message{buf: small.Get().(*buffer), idempotent: idempotent(req)}
	b, err := appendHead(m.buf.b[:0], req)
	m.buf.b = b
	return m, err
}

func (m *message) bytes() []byte { return m.buf.b }

// release gives the message's memory back. It may be called twice.
func (m *message) release() {
	if m.buf != nil {
		m.buf.free()
		m.buf = nil
	}
}

// readBody appends the body of a request and closes it. The body must be as
// long as it says; it is closed early if the request's context ends.
func (m *message) readBody(req *http.Request) error {
	body := req.Body
	if !hasBody(req) {
		if body != nil {
			body.Close()
		}
		return nil
	}
	var once sync.Once
	shut := func() { once.Do(func() { body.Close() }) }
	defer shut()
	if req.Context().Done() != nil {
		defer context.AfterFunc(req.Context(), shut)()
	}
	n := int(req.ContentLength)
	m.reserve(n + 1)
	space := m.buf.b[len(m.buf.b):][:n+1] // one more than there should be
	got, empty := 0, 0
	for {
		k, err := body.Read(space[got:])
		got += k
		switch {
		case got > n:
			return fmt.Errorf("read request body: longer than its Content-Length of %d", n)
		case err == io.EOF && got < n:
			return fmt.Errorf("read request body: shorter (%d bytes) than its Content-Length of %d", got, n)
		case err == io.EOF:
			m.buf.b = m.buf.b[:len(m.buf.b)+n]
			return nil
		case err != nil:
			return fmt.Errorf("read request body: %w", err)
		}
		if k > 0 {
			empty = 0
		} else if empty++; empty == emptyReads {
			return fmt.Errorf("read request body: %w", io.ErrNoProgress)
		}
	}
}

// reserve makes room for n more bytes.
func (m *message) reserve(n int) {
	if cap(m.buf.b)-len(m.buf.b) >= n {
		return
	}
	b := large.Get().(*buffer)
	b.b = slices.Grow(append(b.b[:0], m.buf.b...), n)
	m.buf.free()
	m.buf = b
}

// buffer is memory for a message.
type buffer struct{ b []byte }

var (
	small = sync.Pool{New: func() any { return &buffer{make([]byte, 0, smallSize)} }}
	large = sync.Pool{New: func() any { return &buffer{make([]byte, 0, largeSize)} }}
)

// free returns the buffer to its pool, unless it has outgrown it.
func (b *buffer) free() {
	switch cap(b.b) {
	case smallSize:
		small.Put(b)
	case largeSize:
		large.Put(b)
	}
}

// appendHead appends a request's head, as http.Transport writes it but for the
// order of fields.
func appendHead(b []byte, req *http.Request) ([]byte, error) {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	if !token(method) {
		return b, fmt.Errorf("invalid method %q", method)
	}
	target := req.URL.RequestURI()
	for i := range len(target) {
		if control(target[i]) {
			return b, errors.New("invalid URL: control character in the request target")
		}
	}
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	b = append(append(append(b, method...), ' '), target...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), host...)
	b = append(b, "\r\n"...)
	agent := userAgent
	if _, has := req.Header["User-Agent"]; has {
		agent = req.Header.Get("User-Agent")
	}
	if agent != "" {
		b = appendField(b, "User-Agent", agent)
	}
	if hasBody(req) {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, req.ContentLength, 10), "\r\n"...)
	} else if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		b = append(b, "Content-Length: 0\r\n"...)
	}
	for name, values := range req.Header {
		if !token(name) {
			return b, fmt.Errorf("invalid header field name %q", name)
		}
		written := true
		switch name {
		case "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer":
			written = false // said above, or not the header's to say
		}
		for _, value := range values {
			if !fieldValue(value) {
				return b, fmt.Errorf("invalid header field value for %q", name)
			}
			if written {
				b = appendField(b, name, value)
			}
		}
	}
	return append(b, "\r\n"...), nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, textproto.TrimString(value)...), "\r\n"...)
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// idempotent says whether a request may be sent again without asking: the
// rules of http.Transport, but that a body need not have GetBody, for the
// message has it.
func idempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	if _, has := req.Header["Idempotency-Key"]; has {
		return true
	}
	_, has := req.Header["X-Idempotency-Key"]
	return has
}

// token says whether s is a token (RFC 9110, section 5.6.2).
func token(s string) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

var tokenByte = func() (is [256]bool) {
	for c := range is {
		is[c] = alphanumeric(byte(c))
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		is[c] = true
	}
	return is
}()

// fieldValue says whether s may be a field's value: no control character but
// the tab.
func fieldValue(s string) bool {
	for i := range len(s) {
		if control(s[i]) && s[i] != '\t' {
			return false
		}
	}
	return true
}

func control(c byte) bool { return c < ' ' || c == 0x7f }

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
