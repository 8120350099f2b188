package admin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// guard lets through what may use the admin plane, and marks every answer as
// none to be framed, sniffed, cached or used by another site.
//
// A page of another site in a browser on this machine could read a loopback
// listener by having its own name resolve to 127.0.0.1 (DNS rebinding). Such a
// request bears the name of that site in Host, so that only names of loopback
// and the host of the listener are allowed there; addresses cannot be rebound.
// Where the listener is on all addresses, the one that the connection came in
// on is its host. Origin, which browsers send with scripted requests, must be
// the same as Host, and what changes something must not come from another site
// by what browsers say of it in other ways (Sec-Fetch-Site).
func guard(listen string, next http.Handler) http.Handler {
	listenHost, _, err := net.SplitHostPort(listen)
	if err != nil {
		listenHost = listen
	}
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		switch {
		case !allowedHost(r, listenHost):
			text(w, http.StatusForbidden, "Host must be a loopback name or address, or the host of the admin listener\n")
		case !allowedOrigin(r):
			text(w, http.StatusForbidden, "Origin must be this server\n")
		case sites.Check(r) != nil:
			text(w, http.StatusForbidden, "pages of other sites may change nothing here\n")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func allowedHost(r *http.Request, listenHost string) bool {
	host := bareHost(r.Host)
	if host == "" {
		return false
	}
	if host == "localhost" || strings.EqualFold(host, listenHost) {
		return true
	}
	asked, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	asked = asked.Unmap()
	if asked.IsLoopback() {
		return true
	}
	if listens, err := netip.ParseAddr(listenHost); listenHost != "" && (err != nil || !listens.IsUnspecified()) {
		return err == nil && listens.Unmap() == asked
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	on, err := netip.ParseAddrPort(local.String())
	return err == nil && on.Addr().Unmap() == asked
}

func allowedOrigin(r *http.Request) bool {
	if len(r.Header.Values("Origin")) == 0 {
		return true
	}
	o, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && len(r.Header.Values("Origin")) == 1 &&
		(o.Scheme == "http" || o.Scheme == "https") && strings.EqualFold(o.Host, r.Host)
}

// bareHost is the host of host:port, in lower case, without the brackets of an
// IPv6 address and without the dot that may end a name.
func bareHost(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
