package headgate

import (
	"net/http"
	"time"

	"github.com/headgate/headgate/internal/http1"
)

// sender is what sends attempts unless Base says otherwise. It keeps as many
// connections as there are calls: how many there may be is the limits'
// business.
type sender struct {
	http *http1.Transport // HTTP/1.1; and net/http's, for TLS, HTTP/2 and whatever the lean one is not made for
	h2c  *http.Transport  // HTTP/2 without TLS, for URLs that ask for it
}

func newSender() *sender {
	plain := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConnsPerHost:   1 << 14,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // bodies pass as they are
	}
	h2c := plain.Clone()
	h2c.Protocols = new(http.Protocols)
	h2c.Protocols.SetUnencryptedHTTP2(true)
	return &sender{http: &http1.Transport{Fallback: plain}, h2c: h2c}
}

// RoundTrip implements http.RoundTripper.
func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "h2c" {
		return s.http.RoundTrip(req)
	}
	to := *req.URL
	to.Scheme = "http"
	again := *req
	again.URL = &to
	return s.h2c.RoundTrip(&again)
}

// CloseIdleConnections closes the connections that no attempt uses.
func (s *sender) CloseIdleConnections() {
	s.http.CloseIdleConnections()
	s.h2c.CloseIdleConnections()
}
