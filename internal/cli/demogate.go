package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/daemon"
)

// demoGates are gateways in front of one upstream, run as serve does.
type demoGates struct {
	urls  []string
	stop  context.CancelFunc
	ended chan error // of each
}

// openDemoGates runs a gateway of each configuration.
func openDemoGates(configs []config.Config) (*demoGates, error) {
	ctx, cancel := context.WithCancel(context.Background())
	g := &demoGates{stop: cancel, ended: make(chan error, len(configs))}
	for running, c := range configs {
		c.Jobs = "none" // a demonstration leaves no files
		addr := make(chan net.Addr, 1)
		go func() {
			g.ended <- daemon.Run(ctx, daemon.Options{
				Load:      func() (config.Config, error) { return c, c.Validate() },
				RootMount: true,
				Grace:     time.Second,
				Listening: func(_ string, a net.Addr) { addr <- a },
			})
		}()
		select {
		case a := <-addr:
			g.urls = append(g.urls, "http://"+a.String())
		case err := <-g.ended:
			return nil, errors.Join(fmt.Errorf("open the gate: %w", err), g.end(running))
		}
	}
	return g, nil
}

// close ends all of them, and returns what went wrong while they ran.
func (g *demoGates) close() error { return g.end(len(g.urls)) }

// end ends those that run.
func (g *demoGates) end(running int) error {
	g.stop()
	var errs []error
	for range running {
		errs = append(errs, <-g.ended)
	}
	return errors.Join(errs...)
}
