package worker

import (
	"net/http"
	"net/url"
	"strings"
)

// location returns where the upstream says that the answer will be, as the door
// takes it; ok is false if what came is the answer. A result that takes long is
// handed out that way by 303 See Other (RFC 9110, section 15.4.4; Modal does so
// after 150 s, modal.com/docs/guide/webhook-timeouts as of November 2026). One
// at another host is the client's to follow: credentials are not for there.
func (s *settling) location() (target string, ok bool) {
	r := s.result.Response
	if r.Status != http.StatusSeeOther {
		return "", false
	}
	asked := s.job.Location
	if asked == "" {
		asked = s.job.Path
	}
	return locate(s.worker.options.URL(s.job.Upstream), asked, r.Header.Get("Location"))
}

// locate resolves a Location that came from path asked of the upstream at base,
// "" if that is not known.
func locate(base, asked, location string) (target string, ok bool) {
	to, err := url.Parse(location)
	if err != nil || location == "" {
		return "", false
	}
	up, err := url.Parse(base)
	if err != nil {
		return "", false
	}
	from, err := url.ParseRequestURI(asked)
	if err != nil {
		return "", false
	}
	mount := strings.TrimSuffix(up.EscapedPath(), "/")
	at, err := url.Parse(mount + from.RequestURI())
	if err != nil {
		return "", false
	}
	if at.Scheme, at.Host = up.Scheme, up.Host; at.Scheme == "h2c" {
		at.Scheme = "http"
	}
	to = at.ResolveReference(to)
	if to.Scheme != at.Scheme || !strings.EqualFold(to.Host, at.Host) || to.User != nil {
		return "", false
	}
	rest, ok := strings.CutPrefix(to.EscapedPath(), mount)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	if rest == "" {
		rest = "/"
	}
	if to.RawQuery != "" {
		rest += "?" + to.RawQuery
	}
	return rest, true
}
