//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// requestBody is what POSTs carry when CPU is measured, in bytes: a short
// prompt.
const requestBody = 1900

// get and post return a request as a usual SDK writes it. Its credential is the
// caller's own and passed through.
func get() []byte { return []byte("GET /v1/items/42 HTTP/1.1\r\n" + fields + "\r\n") }

func post(size int) []byte {
	const head, tail = `{"text":"`, `"}`
	return fmt.Appendf(nil, "POST /v1/items HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s%s%s",
		fields, size, head, strings.Repeat("x", size-len(head)-len(tail)), tail)
}

const fields = "Host: api.test\r\n" +
	"User-Agent: bench/1.0\r\n" +
	"Accept: application/json\r\n" +
	"Accept-Encoding: gzip, deflate\r\n" +
	"Authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\n"

// conn is a keep-alive connection of a caller. It is not an http.Client: one
// core has to carry the load and the upstream, and must not be what limits the
// front.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReader(c)}, nil
}

// call sends a request and reads its answer. Anything but the upstream's own
// answer is an error: what is measured must be what was meant.
func (c *conn) call(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	size, err := c.readHead()
	if err != nil {
		return err
	}
	if size != answerSize {
		return fmt.Errorf("answer of %d bytes, want %d", size, answerSize)
	}
	_, err = c.r.Discard(size)
	return err
}

// readHead reads a status line, which must be 200, and fields. It returns the
// Content-Length.
func (c *conn) readHead() (int, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		rest, _ := io.ReadAll(io.LimitReader(c.r, int64(c.r.Buffered())))
		return 0, fmt.Errorf("answer is not 200: %s%s", line, rest)
	}
	size := -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return size, nil
		}
		const field = "content-length:"
		if len(line) > len(field) && bytes.EqualFold(line[:len(field)], []byte(field)) {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(line[len(field):]))); err != nil {
				return 0, err
			}
		}
	}
}

// callers are goroutines with a connection each.
type callers struct {
	conns []*conn
	wg    sync.WaitGroup
	done  atomic.Int64 // calls answered
	ended atomic.Bool  // stop has been called
	err   atomic.Pointer[error]
}

// startCallers opens n connections to addr and runs work with each until it
// ends or fails.
func startCallers(addr string, n int, work func(*callers, *conn) error) (*callers, error) {
	c := &callers{}
	for range n {
		one, err := dial(addr)
		if err != nil {
			return nil, c.failed(err)
		}
		c.conns = append(c.conns, one)
	}
	for _, one := range c.conns {
		c.wg.Go(func() {
			if err := work(c, one); err != nil && !c.ended.Load() {
				c.err.CompareAndSwap(nil, &err)
			}
		})
	}
	return c, nil
}

// closedLoop calls as fast as answers come.
func closedLoop(request []byte) func(*callers, *conn) error {
	return func(c *callers, one *conn) error {
		for !c.ended.Load() {
			if err := one.call(request); err != nil {
				return err
			}
			c.done.Add(1)
		}
		return nil
	}
}

// failed stops the callers and returns err, or why one of them failed.
func (c *callers) failed(err error) error {
	if e := c.stop(); e != nil {
		return e
	}
	return err
}

// stop ends the callers, and returns why one of them failed, if one did.
func (c *callers) stop() error {
	c.ended.Store(true)
	for _, one := range c.conns {
		one.Close()
	}
	c.wg.Wait()
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

// pass waits for d, or until ctx ends or one of the callers has failed.
func (c *callers) pass(ctx context.Context, d time.Duration) error {
	if err := sleep(ctx, d); err != nil {
		return err
	}
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
