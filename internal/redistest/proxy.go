package redistest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
)

// Proxy passes connections on to a server and spoils them on demand. One fault
// is in force at a time: the next replaces it, on connections that are open
// and on those to come.
type Proxy struct {
	// Addr is where it listens.
	Addr string

	tb       testing.TB
	upstream string
	listener net.Listener
	serving  sync.WaitGroup // the accept loop, and a goroutine for each pair

	mu struct {
		sync.Mutex
		faults   *toxiproxy.ToxicCollection
		swallows bool // faults drops bytes
		closed   bool
		pairs    map[*pair]struct{}
	}
}

// StartProxy starts a proxy without a fault; addr is where the server
// listens. A connection is closed if the server takes none.
func StartProxy(tb testing.TB, addr string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String(), tb: tb, upstream: addr, listener: listener}
	p.mu.faults = newFaults()
	p.mu.pairs = make(map[*pair]struct{})
	p.serving.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Latency delays each answer by d, in whole milliseconds: a round trip takes
// so much longer. Throughput is not lessened.
func (p *Proxy) Latency(d time.Duration) {
	p.tb.Helper()
	p.spoil(false, fault("latency", "downstream", "latency", d.Milliseconds()))
}

// Blackhole swallows all bytes in both directions. Connections are taken and
// stay open.
func (p *Proxy) Blackhole() {
	p.tb.Helper()
	p.spoil(true, fault("timeout", "upstream", "timeout", 0), fault("timeout", "downstream", "timeout", 0))
}

// HalfOpen swallows answers only: commands arrive and take effect, and the
// client never hears of it.
func (p *Proxy) HalfOpen() {
	p.tb.Helper()
	p.spoil(true, fault("timeout", "downstream", "timeout", 0))
}

// Reset resets all connections now open (TCP RST), whatever was on its way.
// New ones pass, under the fault in force.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resetLocked()
}

// Heal ends the fault. Connections that may have lost bytes are reset, because
// they could never be right again; those that were only slow go on.
func (p *Proxy) Heal() {
	p.tb.Helper()
	p.spoil(false)
}

// spoil replaces the fault in force by toxics, none for a sound connection.
// A toxic is JSON as in toxiproxy's API; swallows says that they drop bytes.
func (p *Proxy) spoil(swallows bool, toxics ...string) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.swallows {
		p.resetLocked()
		p.mu.faults = newFaults()
	} else {
		p.mu.faults.ResetToxics(context.Background())
	}
	p.mu.swallows = swallows
	for _, toxic := range toxics {
		if _, err := p.mu.faults.AddToxicJson(strings.NewReader(toxic)); err != nil {
			p.tb.Fatalf("add toxic %s: %v", toxic, err)
		}
	}
}

func (p *Proxy) resetLocked() {
	for pair := range p.mu.pairs {
		pair.reset()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // close has closed it
		}
		p.serving.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

// serve passes on one connection until it ends.
func (p *Proxy) serve(client *net.TCPConn) {
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		client.Close()
		return
	}
	pair := &pair{client: client, server: server.(*net.TCPConn)}
	p.mu.Lock()
	if p.mu.closed {
		p.mu.Unlock()
		pair.reset()
		return
	}
	p.mu.pairs[pair] = struct{}{}
	pair.link(p.mu.faults)
	p.mu.Unlock()

	pair.links.Wait()
	p.mu.Lock()
	delete(p.mu.pairs, pair)
	p.mu.Unlock()
}

// close ends the proxy after its last goroutine.
func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.mu.closed = true
	p.mu.faults.ResetToxics(context.Background()) // what was delayed is not waited for
	p.resetLocked()
	p.mu.Unlock()
	p.serving.Wait()
}

func newFaults() *toxiproxy.ToxicCollection {
	return toxiproxy.NewToxicCollection(new(toxiproxy.Proxy))
}

// fault returns a toxic as toxiproxy's API takes it.
func fault(kind, direction, attribute string, value int64) string {
	return fmt.Sprintf(`{"type": %q, "stream": %q, "toxicity": 1, "attributes": {%q: %d}}`, kind, direction, attribute, value)
}

// pair is one connection of a client and the one to the server that it is
// passed on to, joined by a link in each direction.
type pair struct {
	client, server *net.TCPConn
	links          sync.WaitGroup
}

// link starts both links. A link ends when its source does, and then closes
// its other side.
func (p *pair) link(faults *toxiproxy.ToxicCollection) {
	metrics := &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)} // none are kept
	name := p.client.RemoteAddr().String()
	p.links.Add(2)
	faults.StartLink(metrics, name+" up", p.client, &sink{p, p.server}, stream.Upstream)
	faults.StartLink(metrics, name+" down", p.server, &sink{p, p.client}, stream.Downstream)
}

// reset ends both connections by RST.
func (p *pair) reset() {
	for _, conn := range []*net.TCPConn{p.client, p.server} {
		conn.SetLinger(0) // fails only on a closed connection, as Close does
		conn.Close()
	}
}

// sink is the far end of a link. toxiproxy leaves a link's goroutines blocked
// for ever when a write fails; so a failed write resets the pair instead, and
// the link runs dry.
type sink struct {
	pair *pair
	conn *net.TCPConn
}

func (s *sink) Write(b []byte) (int, error) {
	if _, err := s.conn.Write(b); err != nil {
		s.pair.reset()
	}
	return len(b), nil
}

// Close is called once, by the link, when it has ended.
func (s *sink) Close() error {
	defer s.pair.links.Done()
	return s.conn.Close()
}
