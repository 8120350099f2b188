package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Bounds of a server.
const (
	headTimeout  = 10 * time.Second  // for a request's line and fields
	idleTimeout  = 120 * time.Second // of a connection between requests
	maxHeadBytes = 64 << 10          // of a request's line and fields
	maxStreams   = 1000              // calls at once on an HTTP/2 connection: most wait, and cost little
	lastWords    = 2 * time.Second   // for calls that Shutdown has cancelled to say so
)

// Server returns a server for g that speaks HTTP/1.1 and HTTP/2, with TLS if
// the configuration names a certificate and in plain text otherwise, HTTP/2
// then by prior knowledge (h2c). There is no timeout for responses: events may
// come for hours. The caller calls Serve with it; Shutdown ends it.
//
// In plain text, requests whose framing is ambiguous are refused before
// net/http sees them. Under TLS it takes some that RFC 9112 lets a server
// refuse: lines that end in LF alone, folded fields, and Transfer-Encoding
// beside Content-Length, which it then ignores. They leave here framed anew.
func (g *Gateway) Server() *http.Server {
	srv := &http.Server{
		Handler:                      g,
		ReadHeaderTimeout:            headTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeadBytes,
		DisableGeneralOptionsHandler: true,
		Protocols:                    new(http.Protocols),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		BaseContext:                  func(net.Listener) context.Context { return g.base },
		ConnState:                    followState,
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	if g.cert.Load() != nil {
		srv.TLSConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.cert.Load(), nil },
		}
	}
	g.mu.Lock()
	g.mu.servers = append(g.mu.servers, srv)
	g.mu.Unlock()
	return srv
}

// Serve serves ln until srv, which is one of Server, is shut down, which is not
// an error.
func Serve(srv *http.Server, ln net.Listener) error {
	var err error
	if srv.TLSConfig != nil {
		err = srv.ServeTLS(ln, "", "")
	} else {
		err = srv.Serve(frame(srv, ln))
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops the servers from accepting, and returns when the last call
// has ended, calls that have switched protocols included. Who waits for a job is
// told at once how it stands. When ctx ends before
// that, calls that are left are cancelled: those that have no answer yet get a
// problem of type shutting-down, the others break off. The error is then that
// of ctx. Shutdown is called once, and is the end of g.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.mu.stopping = true
	servers := g.mu.servers
	g.mu.Unlock()
	if g.watch != nil {
		g.watch.Stop()
	}

	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var wg sync.WaitGroup
		for _, srv := range servers {
			wg.Go(func() {
				if srv.Shutdown(last) != nil {
					srv.Close()
				}
			})
		}
		wg.Wait()
		g.upgraded.Wait()
	}()

	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.stop(errShuttingDown)
	if err != nil {
		late := time.AfterFunc(lastWords, cancel)
		defer late.Stop()
		<-ended
	}
	return err
}
