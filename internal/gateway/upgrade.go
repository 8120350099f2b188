package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// switchProtocols turns the caller's connection into a pipe to the upstream,
// which has agreed to switch (RFC 9110, section 7.8). It returns when both
// directions have ended, or one has broken, or the call's context has ended.
func (c *call) switchProtocols(res *http.Response) {
	defer res.Body.Close()
	asked, agreed := upgradeType(c.in.Header), upgradeType(res.Header)
	upstream, ok := res.Body.(io.ReadWriteCloser)
	if !ok || asked == "" || !strings.EqualFold(asked, agreed) {
		c.fail(fmt.Errorf("the upstream switched to protocol %q, asked for was %q", agreed, asked))
		return
	}
	if !c.gateway.beginUpgraded() {
		c.fail(errShuttingDown)
		return
	}
	defer c.gateway.upgraded.Done()
	conn, rw, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		c.fail(fmt.Errorf("switch protocols: %w", err))
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(c.in.Context(), func() {
		conn.Close()
		upstream.Close()
	})
	defer stop()

	removeHopByHop(res.Header)
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", agreed)
	c.addQuota(res.Header)
	if writeSwitch(rw.Writer, res.Header) != nil {
		return
	}
	// What rw holds already, and then conn itself: rw would cancel the call's
	// context when the caller ends its direction.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	done := make(chan error, 2)
	go func() { done <- pipe(upstream, io.MultiReader(bytes.NewReader(early), conn)) }()
	go func() { done <- pipe(conn, upstream) }()
	err = <-done
	if err != nil {
		conn.Close()
		upstream.Close()
	}
	<-done
}

func writeSwitch(w *bufio.Writer, h http.Header) error {
	_, _ = w.WriteString("HTTP/1.1 101 Switching Protocols\r\n") // Flush repeats an error
	_ = h.Write(w)
	_, _ = w.WriteString("\r\n")
	return w.Flush()
}

// pipe copies from src until it ends, and ends dst for writing. The error says
// that the other direction is of no use any more.
func pipe(dst io.Writer, src io.Reader) error {
	buf := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(buf)
	// Without their own ways to copy, which would take buffers of their own.
	if _, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, *buf); err != nil {
		return err
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// beginUpgraded counts a call that leaves its server, unless it is too late.
// The caller calls upgraded.Done in the end.
func (g *Gateway) beginUpgraded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.stopping {
		return false
	}
	g.upgraded.Add(1)
	return true
}
