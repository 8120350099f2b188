//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// The upstream and its callers speak as much HTTP/1.1 as they need, by hand: the
// machine has the gates and Redis to carry too.

// instanceHeader tells the upstream which instance a request came by.
const instanceHeader = "Bench-Instance"

const (
	answerOK        = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	answerThrottled = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
	answerBad       = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

// listen answers as an upstream until the listener is closed. Connections end
// with their callers.
func (s *strict) listen(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_ = s.answer(conn, bufio.NewReader(conn)) // the caller has gone
		}()
	}
}

// answer answers requests without a body, one after the other.
func (s *strict) answer(w io.Writer, r *bufio.Reader) error {
	for {
		_, instance, err := readHead(r, instanceHeader)
		if err != nil {
			return err
		}
		text := answerOK
		if instance < 0 {
			text = answerBad
		} else if !s.serve(instance) {
			text = answerThrottled
		}
		if _, err := io.WriteString(w, text); err != nil || instance < 0 {
			return err
		}
	}
}

// callers call gates, each again as soon as it is answered.
type callers struct {
	running       sync.WaitGroup
	ended         atomic.Bool
	calls, failed atomic.Int64 // failed: of calls, those not answered 200
}

// start has n more callers call a gate, over a connection each.
func (c *callers) start(addr string, instance, n int) error {
	request := fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: api.test\r\n%s: %d\r\n\r\n", instanceHeader, instance)
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		c.running.Go(func() {
			defer conn.Close()
			r := bufio.NewReader(conn)
			for !c.ended.Load() {
				ok, err := call(conn, r, request)
				c.calls.Add(1)
				if !ok || err != nil {
					c.failed.Add(1)
				}
				if err != nil {
					return
				}
			}
		})
	}
	return nil
}

// end lets each caller hear the answer that it waits for, and no more.
func (c *callers) end() {
	c.ended.Store(true)
	c.running.Wait()
}

// call sends a request and reads its answer.
func call(w io.Writer, r *bufio.Reader, request []byte) (ok bool, err error) {
	if _, err := w.Write(request); err != nil {
		return false, err
	}
	ok, size, err := readHead(r, "Content-Length")
	if err != nil {
		return false, err
	}
	if size < 0 {
		return false, errors.New("answer without Content-Length")
	}
	_, err = r.Discard(size)
	return ok, err
}

// readHead reads the first line of a message, which is a 200 if ok, and its
// fields. It returns the number in one of them; -1 if it is missing.
func readHead(r *bufio.Reader, field string) (ok bool, n int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return false, 0, err
	}
	ok, n = bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")), -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return false, 0, err
		}
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		if len(name) == 0 {
			return ok, n, nil
		}
		if bytes.EqualFold(name, []byte(field)) {
			if n, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return false, 0, err
			}
		}
	}
}
