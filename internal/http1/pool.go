package http1

import (
	"errors"
	"sync"
	"time"
)

var (
	errTooManyIdle = errors.New("too many idle connections to the host")
	errClosing     = errors.New("idle connections are being closed")
)

// pool keeps the idle connections of a Transport. The zero value works.
type pool struct {
	mu struct {
		sync.Mutex
		idle    map[string][]*conn // by host; the last to fall idle is the last
		sweeper *time.Timer        // nil: nothing will have to be closed
		closing bool               // close was called, and no take since
	}
}

// take returns the connection to a host that fell idle last and is still
// sound, or nil.
func (p *pool) take(host string) *conn {
	for {
		c := p.pop(host)
		if c == nil || c.quiet() {
			return c
		}
		c.net.Close()
	}
}

func (p *pool) pop(host string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.closing = false
	idle := p.mu.idle[host]
	last := len(idle) - 1
	if last < 0 {
		return nil
	}
	c := idle[last]
	idle[last] = nil
	p.mu.idle[host] = idle[:last]
	return c
}

// put keeps a connection for the next call to its host. An error says why not:
// then it is the caller's to close.
func (p *pool) put(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := c.transport
	idle := p.mu.idle[c.host]
	switch {
	case p.mu.closing:
		return errClosing
	case t.MaxIdlePerHost < 0 || t.MaxIdlePerHost > 0 && len(idle) >= t.MaxIdlePerHost:
		return errTooManyIdle
	}
	if p.mu.idle == nil {
		p.mu.idle = make(map[string][]*conn)
	}
	c.idleSince = time.Now()
	p.mu.idle[c.host] = append(idle, c)
	if timeout := t.idleTimeout(); p.mu.sweeper == nil && timeout > 0 {
		p.mu.sweeper = time.AfterFunc(timeout, func() { p.sweep(timeout) })
	}
	return nil
}

// sweep closes the connections that have been idle for the timeout, forgets
// hosts without any, and comes again when the next will be due.
func (p *pool) sweep(timeout time.Duration) {
	for _, c := range p.expired(timeout) {
		c.net.Close()
	}
}

func (p *pool) expired(timeout time.Duration) []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.sweeper == nil {
		return nil // close was faster
	}
	var old []*conn
	now, next := time.Now(), timeout
	for host, idle := range p.mu.idle {
		n := 0
		for n < len(idle) && now.Sub(idle[n].idleSince) >= timeout {
			n++
		}
		old = append(old, idle[:n]...)
		if n == len(idle) {
			delete(p.mu.idle, host)
			continue
		}
		next = min(next, timeout-now.Sub(idle[n].idleSince))
		kept := copy(idle, idle[n:])
		clear(idle[kept:])
		p.mu.idle[host] = idle[:kept]
	}
	if len(p.mu.idle) == 0 {
		p.mu.sweeper = nil
	} else {
		p.mu.sweeper.Reset(next)
	}
	return old
}

// close closes all connections, and until the next take those that fall idle.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.mu.idle
	p.mu.idle = nil
	p.mu.closing = true
	if p.mu.sweeper != nil {
		p.mu.sweeper.Stop()
		p.mu.sweeper = nil
	}
	p.mu.Unlock()
	for _, conns := range idle {
		for _, c := range conns {
			c.net.Close()
		}
	}
}

func (t *Transport) idleTimeout() time.Duration {
	if t.IdleTimeout == 0 {
		return idleTimeout
	}
	return t.IdleTimeout
}
