// Package webhook tells others that a job has ended: a POST signed by the
// Standard Webhooks scheme (github.com/standard-webhooks/standard-webhooks, as
// of November 2026), to addresses that a client of ours has named.
//
// What a client names may be a machine of our own network, or may turn into one
// once it has been looked at. So addresses are checked when they are connected
// to, behind DNS, and redirects are not followed. When a callback is sent, and
// how often, is the business of package worker; each goes through a door of its
// own host, so that one that is dead holds up no other.
package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/headgate/headgate/config"
)

// Bounds on a URL and on a secret. The scheme asks for 24 to 64 bytes.
const (
	maxURL    = 2048 // bytes
	minSecret = 24   // bytes
)

// ErrAddress is returned for a callback to an address that is not one of the
// public Internet and that is not allowed.
var ErrAddress = errors.New("a callback may not go to a private or reserved address: callbacks.allow lists the networks that it may")

// Policy says how callbacks are signed and where they may go. It is safe for
// use by many goroutines at once, and must not be copied or changed once in use.
type Policy struct {
	Secret config.Secret  // "whsec_" and base64
	Allow  []netip.Prefix // networks that callbacks may go to although they are not public

	resolver *net.Resolver // nil: that of the system

	once sync.Once
	http *http.Transport
}

// Check returns what is wrong with the policy; the error does not hold the
// secret.
func (p *Policy) Check() error {
	_, err := p.signer()
	return err
}

func (p *Policy) signer() (*standardwebhooks.Webhook, error) {
	const want = "callbacks.secret: want whsec_ and base64 of at least 24 bytes, as `openssl rand -base64 32` makes them"
	text, ok := strings.CutPrefix(p.Secret.Reveal(), "whsec_")
	if !ok || len(text) < (minSecret+2)/3*4 {
		return nil, errors.New(want)
	}
	w, err := standardwebhooks.NewWebhook(text)
	if err != nil {
		return nil, errors.New(want) // its own error quotes the secret
	}
	return w, nil
}

// Sign adds the fields of the scheme to h: id tells repetitions of a message
// apart from new ones, at is when it is sent. Receivers refuse those that are
// older than some minutes, so that each attempt is signed anew.
func (p *Policy) Sign(h http.Header, id string, at time.Time, body []byte) error {
	w, err := p.signer()
	if err != nil {
		return err
	}
	signature, err := w.Sign(id, at, body)
	if err != nil {
		return fmt.Errorf("sign callback %s: %w", id, err)
	}
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return nil
}

// CheckURL says what is wrong with a URL as the goal of a callback. A name is
// not looked up: what it stands for is checked whenever it is connected to.
func (p *Policy) CheckURL(s string) error {
	if len(s) > maxURL {
		return fmt.Errorf("callback URL has %d bytes: want at most %d", len(s), maxURL)
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("callback URL: %w", errors.Unwrap(err)) // without the URL, which may hold a secret
	}
	host := strings.TrimSuffix(u.Hostname(), ".")
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("callback URL has scheme %q: want http or https", u.Scheme)
	case host == "":
		return errors.New("callback URL has no host")
	case u.User != nil:
		return errors.New("callback URL has a user in it: callbacks authenticate by their signature")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return p.checkAddr(addr)
	}
	if host = strings.ToLower(host); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return p.checkAddr(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return nil
}

// checkAddr returns ErrAddress if a callback may not go to addr.
func (p *Policy) checkAddr(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, allowed := range p.Allow {
		if allowed.Contains(addr) {
			return nil
		}
	}
	if nat64.Contains(addr) {
		b := addr.As16()
		return p.checkAddr(netip.AddrFrom4([4]byte(b[12:])))
	}
	if !public(addr) {
		return ErrAddress
	}
	return nil
}
