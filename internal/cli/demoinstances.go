package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/headgate/headgate/config"
)

// demoInstances is how many gates share the quota, and where. The zero value
// is one gate alone.
type demoInstances struct {
	count  int
	config config.Config // what is common to them; State "": a Redis of the demo's own
}

// open makes the Redis ready that the instances share, if there are any, and
// says which it is. It must be closed in the end.
func (d *demoInstances) open(ctx context.Context, w io.Writer) (closing func() error, err error) {
	closing = func() error { return nil }
	if d.count == 0 {
		return closing, nil
	}
	if d.config.State == "" {
		server, err := startRedis(ctx)
		if err != nil {
			return nil, err
		}
		d.config.State, closing = "redis://"+server.addr, server.close
	}
	d.config.Namespace = "demo-" + rand.Text() // what others count there is theirs
	at, err := d.config.Store()
	if err != nil {
		return nil, errors.Join(err, closing())
	}
	facts, err := askState(ctx, at)
	if err != nil {
		return nil, errors.Join(err, closing())
	}
	if why := unfit(at, facts); why != "" {
		return nil, errors.Join(fmt.Errorf("state %s: %s", at, why), closing())
	}
	fmt.Fprintf(w, "Through the gate they go by %d instances, which share the quota through %s %s at %s.\n",
		d.count, facts.Server, facts.Version, facts.Addr)
	return closing, nil
}

// gates runs what the instances are: gates in front of an upstream.
func (d *demoInstances) gates(upstream string, l config.Limit) (*demoGates, error) {
	c := d.config
	c.Listen, c.Admin = "127.0.0.1:0", "off"
	c.Upstreams = map[string]config.Upstream{defaultUpstream: {URL: upstream, Limits: []config.Limit{l}}}
	configs := make([]config.Config, max(d.count, 1))
	for i := range configs {
		configs[i] = c
	}
	return openDemoGates(configs)
}

// clients returns how many clients the fleet has, each with an instance of its
// own if there are several.
func (d *demoInstances) clients() int {
	if d.count > 0 {
		return d.count
	}
	return demoClients
}
