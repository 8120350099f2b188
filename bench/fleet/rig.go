//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// rig is what all measurements start with.
type rig struct {
	dir, headgate string
	files         int
}

// file returns a name for the output of a process.
func (g *rig) file(name string) string {
	g.files++
	return filepath.Join(g.dir, fmt.Sprintf("%s-%d.log", name, g.files))
}

// gate is a process that runs `headgate serve`.
type gate struct {
	addr, admin string
	process     *process
}

// startGates starts instances that share limits, and returns when each knows
// all others.
func (g *rig) startGates(ctx context.Context, n int, redis *server, upstream, limit string) (gates []*gate, err error) {
	defer func() {
		if err != nil {
			stopGates(gates)
		}
	}()
	for range n {
		one := &gate{}
		if one.addr, err = freeAddr(); err != nil {
			return gates, err
		}
		if one.admin, err = freeAddr(); err != nil {
			return gates, err
		}
		one.process, err = start(ctx, g.file("headgate"), one.addr, g.headgate, "serve",
			"--upstream", upstream, "--limit", limit, "--state", redis.url(), "--listen", one.addr, "--admin", one.admin)
		if err != nil {
			return gates, err
		}
		gates = append(gates, one)
	}
	for _, one := range gates {
		err = eventually(ctx, "instances don't know each other", func() (bool, error) {
			s, err := one.status(ctx)
			return err == nil && instances(s) == n, nil
		})
		if err != nil {
			return gates, err
		}
	}
	return gates, nil
}

func stopGates(gates []*gate) {
	for _, g := range gates {
		g.process.stop()
	}
}

func (g *gate) status(ctx context.Context) (headgate.Status, error) {
	var s headgate.Status
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+g.admin+"/api/v1/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// instances returns how many are known to share the limits of the only
// credential.
func instances(s headgate.Status) int {
	for _, u := range s.Upstreams {
		for _, c := range u.Credentials {
			return len(c.Instances)
		}
	}
	return 0
}

// inLine returns how many callers wait for a permit.
func inLine(s headgate.Status) int {
	var n int
	for _, u := range s.Upstreams {
		n += u.Line.Length
	}
	return n
}

// upstreamName is that of the gates in this program.
const upstreamName = "api"

// openGate opens a gate in this process; redis "" leaves it alone.
func openGate(ctx context.Context, redis string, limits []string, opts ...headgate.Option) (*headgate.Gate, error) {
	cfg := config.Config{State: redis, Upstreams: map[string]config.Upstream{upstreamName: {URL: "http://api.test"}}}
	u := cfg.Upstreams[upstreamName]
	for _, l := range limits {
		u.Limits = append(u.Limits, config.Limit{Limit: l})
	}
	cfg.Upstreams[upstreamName] = u
	return headgate.Open(ctx, cfg, opts...)
}

// openGates opens instances that share limits, and returns when each knows all
// others.
func openGates(ctx context.Context, n int, redis *server, limits []string, opts ...headgate.Option) (gates []*headgate.Gate, err error) {
	defer func() {
		if err != nil {
			closeGates(gates)
		}
	}()
	for range n {
		g, err := openGate(ctx, redis.url(), limits, opts...)
		if err != nil {
			return gates, err
		}
		gates = append(gates, g)
	}
	for _, g := range gates {
		err := eventually(ctx, "instances don't know each other", func() (bool, error) {
			return instances(g.Status()) == n, nil
		})
		if err != nil {
			return gates, err
		}
	}
	return gates, nil
}

func closeGates(gates []*headgate.Gate) {
	for _, g := range gates {
		_ = g.Close() // it tells what could not be given back, and Redis ends next
	}
}
