package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate"
)

var (
	errBadRequest = errors.New("bad request")
	errMethod     = errors.New("method not allowed here")
)

// badRequestError is errBadRequest with a reason.
type badRequestError struct{ why string }

func badRequest(format string, args ...any) error {
	return &badRequestError{fmt.Sprintf(format, args...)}
}

func (e *badRequestError) Error() string { return e.why }

func (e *badRequestError) Unwrap() error { return errBadRequest }

// methodError is errMethod with the methods that are allowed, as in Allow.
type methodError struct{ method, allow string }

func (e *methodError) Error() string { return fmt.Sprintf("%v: %s", errMethod, e.method) }

func (e *methodError) Unwrap() error { return errMethod }

// checkTarget refuses what only a forward proxy could answer: CONNECT, and the
// absolute form (RFC 9112, section 3.2.2) of an address that is not ours.
// net/http puts that address in place of Host, so that all we can compare it
// with is the address the caller connected to. It refuses TRACE too, which
// would show the caller our credential.
func checkTarget(r *http.Request) error {
	u := r.URL
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return &methodError{r.Method, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	case u.Host != "" && !isOwnHost(r):
		return badRequest("host %s is not served here", u.Host)
	case !strings.HasPrefix(u.Path, "/") || u.User != nil || u.Scheme != "" && u.Host == "":
		return badRequest("the target is not a path")
	}
	return nil
}

// isOwnHost reports whether a request's absolute form names the address that
// it came to.
func isOwnHost(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || r.Host != r.URL.Host {
		return false
	}
	ip, port, err := net.SplitHostPort(local.String())
	if err != nil {
		return false
	}
	if p := r.URL.Port(); p != port && (p != "" || port != "80" && port != "443") {
		return false
	}
	host := r.URL.Hostname()
	return host == ip || host == "localhost" && net.ParseIP(ip).IsLoopback()
}

// checkFields refuses fields of ours that are malformed: who sets one relies
// on it. It returns the cost that the caller declares, nil if none.
func checkFields(h http.Header) (headgate.Cost, error) {
	if v := h["Headgate-Max-Wait"]; len(v) > 0 {
		if d, err := time.ParseDuration(v[0]); err != nil || d <= 0 || len(v) > 1 {
			return nil, badRequest(`Headgate-Max-Wait: want one duration above 0, such as "30s"`)
		}
	}
	v := h["Headgate-Cost"]
	if len(v) == 0 {
		return nil, nil
	}
	if len(v) > 1 {
		return nil, badRequest("Headgate-Cost: want one field")
	}
	cost, err := headgate.ParseCost(v[0])
	if err != nil {
		return nil, badRequest("Headgate-Cost: %v", err)
	}
	return cost, nil
}

// request returns what goes through the door, after body has been taken. The
// caller's header is passed on itself, not a copy: nobody else has it.
func (c *call) request(ctx context.Context) *http.Request {
	h := c.in.Header
	protocol := ""
	if c.in.ProtoMajor == 1 {
		protocol = upgradeType(h)
	}
	trailers := hasToken(h["Te"], "trailers")
	removeHopByHop(h)
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if protocol != "" {
		h["Connection"] = []string{"Upgrade"}
		h["Upgrade"] = []string{protocol}
	}
	delete(h, "Expect") // net/http answers it when the body is read
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // none, rather than net/http's
	}
	if c.client != nil {
		c.limitPriority(h)
		ctx = headgate.WithCaller(ctx, c.client.caller)
	}

	out := &c.out
	if *out = *c.in; ctx != c.in.Context() {
		*out = *c.in.WithContext(ctx)
	}
	c.target = c.targetURL()
	out.URL = &c.target
	out.Host, out.RequestURI, out.RemoteAddr = "", "", ""
	out.TransferEncoding, out.Close = nil, false
	out.TLS = nil
	out.Trailer = nil
	c.body.attach(out)
	return out
}

// targetURL returns what is asked of the upstream: path and query.
func (c *call) targetURL() url.URL {
	return url.URL{Path: c.path.path, RawPath: c.path.raw, RawQuery: c.in.URL.RawQuery, ForceQuery: c.in.URL.ForceQuery}
}

// limitPriority sees to it that a caller's Priority (RFC 9218) asks for no more
// than its client may have: it can make a call less urgent, never more. The
// field is written anew, so that nobody behind us can read it differently.
// Where no clients are configured the field passes as it is.
func (c *call) limitPriority(h http.Header) {
	if len(h["Priority"]) == 0 {
		return
	}
	urgency, incremental := readPriority(h["Priority"])
	h["Priority"] = []string{writePriority(max(urgency, c.client.caller.Priority), incremental)}
}

func writePriority(urgency int, incremental bool) string {
	field := "u=" + strconv.Itoa(urgency)
	if incremental {
		field += ", i"
	}
	return field
}

// readPriority reads u and i of a Priority field; u is -1 if it is not there or
// malformed. Other members are skipped.
func readPriority(values []string) (urgency int, incremental bool) {
	urgency = -1
	for _, line := range values {
		for member := range strings.SplitSeq(line, ",") {
			member, _, _ = strings.Cut(member, ";")
			switch key, value, _ := strings.Cut(textproto.TrimString(member), "="); key {
			case "u":
				if len(value) == 1 && value[0] >= '0' && value[0] <= '7' {
					urgency = int(value[0] - '0')
				}
			case "i":
				incremental = value != "?0"
			}
		}
	}
	return urgency, incremental
}

// withHints passes on interim responses such as 103 Early Hints (RFC 8297) to
// callers with HTTP/2. Old HTTP/1.1 clients take them for the answer, as the RFC
// warns, and joining this trace with the door's costs 2 µs a call. Interim
// responses come on goroutines of whoever sends; they are dropped once the
// call's own response has begun.
func (c *call) withHints(ctx context.Context) context.Context {
	if c.in.ProtoMajor < 2 {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: c.passHint})
}

// passHint passes on an interim response.
func (c *call) passHint(code int, h textproto.MIMEHeader) error {
	c.hints.Lock()
	defer c.hints.Unlock()
	if c.answered || code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil
	}
	header := c.w.Header()
	removeHopByHop(http.Header(h))
	maps.Copy(header, http.Header(h))
	c.w.WriteHeader(code)
	clear(header)
	return nil
}

// endHints returns once no interim response can be written any more.
func (c *call) endHints() {
	c.hints.Lock()
	c.answered = true
	c.hints.Unlock()
}
