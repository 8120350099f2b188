package webhook

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/config"
)

// Bounds on a callback. The scheme asks senders to give up after 15 to 30 s.
const (
	answerWithin  = 15 * time.Second // connected, sent and answered, with the answer's body
	connectWithin = 5 * time.Second
	maxAnswer     = 16 << 10 // bytes of the answer's body: nobody reads more
	atOnce        = "concurrent:8"
)

// Transport returns the way to one host: a door of its own, so that what it
// learns of the host hits no other. It tries once. Answers are cut to 16 KiB;
// an address that callbacks may not go to is ErrAddress.
func (p *Policy) Transport() http.RoundTripper {
	p.once.Do(func() {
		p.http = &http.Transport{
			Proxy:                  nil, // it would connect in our place, past the check
			DialContext:            p.dialer().DialContext,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			TLSHandshakeTimeout:    connectWithin,
			MaxIdleConnsPerHost:    2,
			MaxIdleConns:           100,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}
	})
	return headgate.Transport(
		headgate.Base(bounded{p.http}),
		headgate.Limit(atOnce),
		headgate.Retry(config.Retry{Attempts: 1}),
	)
}

func (p *Policy) dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:  connectWithin,
		Resolver: p.resolver,
		Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return p.checkAddr(to.Addr())
		},
	}
}

// bounded holds an exchange to its bounds.
type bounded struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), answerWithin)
	resp, err := b.Transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.ContentLength = -1
	resp.Body = &boundedBody{io.LimitReader(resp.Body, maxAnswer), resp.Body, cancel}
	return resp, nil
}

// boundedBody is the start of a body, and frees its context when closed.
type boundedBody struct {
	io.Reader
	body   io.Closer
	cancel context.CancelFunc
}

func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.body.Close()
}
