package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/stores"
)

const (
	askTimes   = 3
	askTimeout = 5 * time.Second // for all of them
)

var errSilent = fmt.Errorf("no answer within %v", askTimeout)

// askState asks a store that is no memory about itself, a few times: the round
// trip is the median, the difference of the clocks that of the quickest answer,
// which is wrong by the least. An error says what to try, and shows no password.
func askState(ctx context.Context, at config.Store) (redisstore.Facts, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, errSilent)
	defer cancel()
	store, err := redisstore.Open(stores.Redis(at, ""))
	if err != nil {
		return redisstore.Facts{}, fmt.Errorf("state %s: %w", at, err)
	}
	defer store.Close()
	var answers []redisstore.Facts
	for range askTimes {
		facts, err := store.Probe(ctx)
		if err != nil {
			return redisstore.Facts{}, fmt.Errorf("state %s: %w%s", at, err, tryInstead(at, err))
		}
		answers = append(answers, facts)
	}
	slices.SortStableFunc(answers, func(a, b redisstore.Facts) int { return cmp.Compare(a.RoundTrip, b.RoundTrip) })
	facts := answers[len(answers)/2]
	facts.Ahead = answers[0].Ahead
	return facts, nil
}

// tryInstead is the end of a message: what may help against an error of a
// store, "" if nobody knows.
func tryInstead(at config.Store, err error) string {
	var (
		noName    *net.DNSError
		notTLS    tls.RecordHeaderError
		untrusted *tls.CertificateVerificationError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &noName):
		return "; is the name of the host right?"
	case errors.As(err, &notTLS):
		return "; the server does not speak TLS: try " + strings.Replace(scheme(at), "rediss", "redis", 1)
	case errors.As(err, &untrusted):
		return "; have this machine trust who signed the certificate, as with SSL_CERT_FILE"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "; is the server running, and the port right?"
	case errors.Is(err, errSilent), errors.As(err, &timeout) && timeout.Timeout():
		if at.TLS {
			return "; is the address right, and does the server speak TLS there?"
		}
		return "; is the address right, and does a firewall let us through?"
	case !at.TLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return "; the server hung up: if it wants TLS, try " + strings.Replace(scheme(at), "redis", "rediss", 1)
	}
	switch codeOf(err) {
	case "NOAUTH":
		if at.Kind == config.Sentinel {
			return "; the master wants " + scheme(at) + "USER:PASSWORD@…, a Sentinel ?sentinel_password=PASSWORD"
		}
		return "; it wants a password: " + scheme(at) + "USER:PASSWORD@…, or :PASSWORD@… for the default user"
	case "WRONGPASS":
		return "; user or password is wrong"
	case "NOPERM":
		return "; check needs +info, +config|get, +cluster and +time, and what docs/sharing.md lists"
	}
	return ""
}

func scheme(at config.Store) string {
	before, _, _ := strings.Cut(at.String(), "://")
	return before + "://"
}

// codeOf returns the first word of what a server answered, which is the kind
// of its errors (Redis serialization protocol, "Simple errors").
func codeOf(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	code, _, _ := strings.Cut(err.Error(), " ")
	return code
}
