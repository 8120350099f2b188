//go:build linux

package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// reverseProxyCommand, as the first of three arguments, has this program be a
// front instead: the standard library's reverse proxy, as one would tune it.
const reverseProxyCommand = "reverseproxy"

// serveReverseProxy passes calls at addr on to an upstream until it is killed.
func serveReverseProxy(addr, upstream string) error {
	to, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:              addr,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: &httputil.ReverseProxy{
			Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(to) },
			BufferPool: &bufferPool{},
			Transport: &http.Transport{
				MaxIdleConnsPerHost: 1 << 14,
				DisableCompression:  true,
			},
		},
	}
	return server.ListenAndServe()
}

// bufferPool keeps the buffers that bodies are copied with.
type bufferPool struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
