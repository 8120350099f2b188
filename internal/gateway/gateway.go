// Package gateway is the reverse proxy in front of the door: it knows callers
// by their keys, holds them to limits of their own, and turns what they send
// into calls through the door and what comes back into responses.
//
// It does not wait, retry, count against upstreams or add credentials: package
// headgate does. It is careful about HTTP instead. Paths pass byte for byte.
// Hop-by-hop fields end here, on both sides. Nothing is added that would tell
// an upstream who called: no Via, Forwarded or X-Forwarded-For, no Host of ours
// and no User-Agent where the caller sent none. What the caller sent of these
// passes.
//
// A call that prefers an answer later becomes a stored job (see enqueue.go),
// and its caller comes back for it (see jobs.go). Package worker runs it.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/jobhttp"
)

// Door is the way to the upstreams; *headgate.Gate is one. A round tripper is
// given requests whose URL has a path and a query only. It may send a request
// more than once, taking further copies of the body from GetBody, which fails
// once the body is too long to be kept.
type Door interface {
	RoundTripper(upstream string) http.RoundTripper
}

// Options are settings that no file holds.
type Options struct {
	RootMount bool // mount the upstream named "default" at /, and no other

	// Jobs keeps calls that are to be answered later; nil: all are answered
	// now, and /jobs/ is a path like any other.
	Jobs job.Records

	// Callbacks judges where callers want to be told of an end; nil: nowhere.
	Callbacks Callbacks
}

// Callbacks says whether a URL may be called back. The error is for the caller.
type Callbacks interface {
	CheckURL(url string) error
}

var _ Door = (*headgate.Gate)(nil)

// defaultUpstream is the one that RootMount mounts.
const defaultUpstream = "default"

// Gateway is the http.Handler of the data plane. It is safe for use by many
// goroutines at once.
type Gateway struct {
	door  Door
	opts  Options
	table atomic.Pointer[table]
	cert  atomic.Pointer[tls.Certificate] // nil: no TLS
	watch *jobhttp.Watch                  // of Options.Jobs; nil: there are none

	base context.Context         // of every request of our servers
	stop context.CancelCauseFunc // ends base

	mu struct {
		sync.Mutex
		servers  []*http.Server
		stopping bool
	}
	upgraded sync.WaitGroup // calls that have left their server; none is added once stopping
}

// New returns a gateway to what cfg mounts. cfg must be valid and complete:
// what config.Read returns. The error is about the certificate, a client's key
// or a client's limits.
func New(door Door, cfg config.Config, opts Options) (*Gateway, error) {
	g := &Gateway{door: door, opts: opts}
	if opts.Jobs != nil {
		g.watch = jobhttp.NewWatch(opts.Jobs)
	}
	if err := g.Reload(cfg); err != nil {
		return nil, err
	}
	g.base, g.stop = context.WithCancelCause(context.Background())
	return g, nil
}

// Reload puts another configuration in force for calls that come from now on.
// On error the old one stays. Clients whose name and limits are as before keep
// their counts. A changed certificate is taken up; whether there is TLS at all
// was decided when the server was made. The door must know the upstreams of cfg
// already. Reload is called by one goroutine at a time.
func (g *Gateway) Reload(cfg config.Config) error {
	t, err := newTable(g.door, cfg, g.opts, g.table.Load(), time.Now())
	if err != nil {
		return err
	}
	if cfg.TLS != (config.TLS{}) {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return err
		}
		g.cert.Store(&cert)
	}
	g.table.Store(t)
	return nil
}

// ServeHTTP answers one call.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions && r.RequestURI == "*" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	c := &call{gateway: g, w: w, in: r}
	if g.watch != nil {
		if id, part, ok := cutJob(r.URL.Path); ok {
			c.serveJob(g.table.Load(), id, part)
			return
		}
	}
	if err := c.enter(g.table.Load()); err != nil {
		c.fail(err)
		return
	}
	if c.client != nil && c.client.limits != nil {
		defer c.client.limits.end(c.cost)
	}
	if c.later != nil {
		c.enqueue()
		return
	}
	c.forward()
}

// Hear wakes callers who wait for the job that n tells of. It does not block.
func (g *Gateway) Hear(n job.Notice) {
	if g.watch != nil {
		g.watch.Hear(n)
	}
}

// call is one request of a caller on its way to an upstream and back.
type call struct {
	gateway *Gateway
	w       http.ResponseWriter
	in      *http.Request
	client  *client // nil: anyone may call
	route   *route
	path    mounted
	cost    headgate.Cost // as the caller declared it
	quota   string        // RateLimit field of a client with limits
	body    body
	later   *later // nil: the answer is wanted now

	out    http.Request // what goes through the door
	target url.URL      // of out

	hints    sync.Mutex // guards w and answered while an attempt may bring interim responses
	answered bool       // the call's own response has begun
}

// enter checks all that can be checked before the body is read. A call that
// is let in counts against its client's limits.
func (c *call) enter(t *table) error {
	if err := checkTarget(c.in); err != nil {
		return err
	}
	var err error
	if c.client, err = t.identify(c.in.Header); err != nil {
		return err
	}
	if c.route, c.path, err = t.find(c.in.URL); err != nil {
		return err
	}
	if !c.client.mayCall(c.route.upstream) {
		return errForbidden
	}
	if c.cost, err = checkFields(c.in.Header); err != nil {
		return err
	}
	if n := c.in.ContentLength; c.route.maxBody > 0 && n > c.route.maxBody {
		return tooLarge(c.route.maxBody)
	}
	if err = c.readLater(); err != nil {
		return err
	}
	if c.client == nil || c.client.limits == nil {
		return nil
	}
	c.quota, err = c.client.limits.take(time.Now(), c.cost, c.in.ContentLength)
	return err
}

// errShuttingDown is why calls end that outlast a Shutdown.
var errShuttingDown = errors.New("the gateway is shutting down")
