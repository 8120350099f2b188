package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/limit"
)

var (
	upstreamName = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)            // RFC 3986, section 2.3: unreserved
	headerName   = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110, section 5.6.2: token
	headerBreak  = regexp.MustCompile("[\x00-\x08\x0a-\x1f\x7f]")      // RFC 9110, section 5.5: not in a field value
)

func (v *validator) upstream(path, name string, u Upstream) {
	switch {
	case !upstreamName.MatchString(name) || name == "." || name == "..":
		v.fault(path, "", `the name is part of an address: want letters, digits, "-", ".", "_" and "~"`, "")
	case strings.HasPrefix(name, "_"):
		v.fault(path, "", `names that begin with "_" are the gateway's own`, "")
	}
	v.url(path+".url", u.URL)
	v.choice(path+".dialect", "Upstream.dialect", u.Dialect)
	v.choice(path+".guard", "Upstream.guard", u.Guard)
	v.credentials(path+".credentials", u.Credentials)
	v.limits(path+".limits", u.Limits, true)
	v.retry(path+".retry", u.Retry)
	v.breaker(path+".breaker", u.Breaker)
	v.line(path+".line", u.Line)
	positive(v, path+".timeout.attempt", u.Timeout.Attempt)
	positive(v, path+".timeout.idle_stream", u.Timeout.IdleStream)
	if u.MaxBody < 0 {
		v.fault(path+".max_body", "", "must not be negative", "")
	}
	v.fallback(path+".fallback", name, u.Fallback)
}

// url checks an address. One that does not parse, or with "@", "?" or "#", is
// not shown: it may hold a password.
func (v *validator) url(path, text string) {
	if !v.needed(path, text == "") {
		return
	}
	_, why := parseURL(text)
	if why == "" {
		return
	}
	value, hint := text, ""
	if _, err := url.Parse(text); err != nil || strings.ContainsAny(text, "@?#") {
		value = ""
	} else if guess := "https://" + text; !strings.Contains(text, "://") {
		if _, why := parseURL(guess); why == "" {
			hint = guess
		}
	}
	v.fault(path, value, why, hint)
}

func (v *validator) credentials(path string, list []Credential) {
	for i, c := range list {
		header, value := item(path, i)+".header", item(path, i)+".value"
		if v.needed(header, c.Header == "") && !headerName.MatchString(c.Header) {
			v.fault(header, "", `want the name of a header, such as "Authorization"`, "")
		}
		if v.needed(value, c.Value.IsZero()) && headerBreak.MatchString(c.Value.Reveal()) {
			v.fault(value, "", "must hold no line break or other control character", "")
		}
	}
}

func (v *validator) retry(path string, r Retry) {
	positive(v, path+".attempts", r.Attempts)
	positive(v, path+".base", r.Base)
	positive(v, path+".cap", r.Cap)
	if full := r.withDefaults(); full.Base > full.Cap && r.Base >= 0 && r.Cap >= 0 {
		at := path + ".base"
		if v.absent(at, r.Base == 0) {
			at = path + ".cap"
		}
		v.fault(at, "", "base must not be more than cap (defaults 500ms and 60s)", "")
	}
	v.choice(path+".jitter", "Retry.jitter", r.Jitter)
	v.choice(path+".methods", "Retry.methods", r.Methods)
	v.share(path+".budget", r.Budget, "must be more than 0%; for no retries set attempts to 1")
	positive(v, path+".body", r.Body)
	positive(v, path+".body_file", r.BodyFile)
}

// share refuses what is not in 0% to 100%, and a 0% that was written, for
// which zero says what to do.
func (v *validator) share(path string, p Percent, zero string) {
	switch {
	case !(p >= 0 && p <= 1): // NaN too
		v.fault(path, "", "must be from 0% to 100%", "")
	case p == 0 && !v.absent(path, true):
		v.fault(path, "", zero, "")
	}
}

func (v *validator) breaker(path string, b Breaker) {
	if o := b.OpenAfter; o != (OpenAfter{}) && (o.Throttled < 1 || o.In <= 0) {
		v.fault(path+".open_after", "", "count and time must be more than 0", "")
	}
	positive(v, path+".open_for", b.OpenFor)
	if f := b.Failures; f.Of < 0 || f.Of > 0 && !(f.Share > 0 && f.Share <= 1) {
		v.fault(path+".failures", "", `share and count must be more than 0; write "off" for never`, "")
	}
}

func (v *validator) line(path string, l Line) {
	positive(v, path+".max_wait", l.MaxWait)
	positive(v, path+".max_length", l.MaxLength)
	positive(v, path+".max_bytes", l.MaxBytes)
	r := l.Reserve
	switch {
	case !(r.Share >= 0 && r.Share < 1):
		v.fault(path+".reserve", "", "must be from 0% to less than 100%: the others would never get a turn", "")
	case r.From < 0 || r.To > 7 || r.From > r.To:
		v.fault(path+".reserve", "", "want priorities from 0 to 7, the lower one first", "")
	}
}

func (v *validator) fallback(path, self string, names []string) {
	known := slices.Sorted(maps.Keys(v.cfg.Upstreams))
	for i, name := range names {
		at := item(path, i)
		_, exists := v.cfg.Upstreams[name]
		switch {
		case name == self:
			v.fault(at, name, "an upstream can't be its own fallback", "")
		case !exists:
			v.fault(at, name, "no upstream has this name", nearest(name, known))
		case slices.Contains(names[:i], name):
			v.fault(at, name, "is there twice", "")
		}
	}
}

// fallbackCircles reports each fallback that leads back to where it started.
func (v *validator) fallbackCircles() {
	done := map[string]bool{}
	var trail []string
	var visit func(name string)
	visit = func(name string) {
		trail = append(trail, name)
		for i, next := range v.cfg.Upstreams[name].Fallback {
			if at := slices.Index(trail, next); at >= 0 && next != name {
				circle := append(slices.Clone(trail[at:]), next)
				v.fault(item(child("upstreams", name)+".fallback", i), next, "fallbacks go in a circle: "+strings.Join(circle, ", "), "")
			} else if !done[next] && at < 0 {
				visit(next)
			}
		}
		trail = trail[:len(trail)-1]
		done[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Upstreams)) {
		if !done[name] {
			visit(name)
		}
	}
}

// quotas compares the limits of upstreams that count on one ledger.
func (v *validator) quotas() {
	type member struct {
		name, limits string
		ok           bool
	}
	first := map[string]member{}
	for _, name := range slices.Sorted(maps.Keys(v.cfg.Upstreams)) {
		u := v.cfg.Upstreams[name]
		quota := u.Quota
		if quota == "" {
			quota = name
		}
		m := member{name: name}
		m.limits, m.ok = canonical(u.Limits)
		other, found := first[quota]
		if !found {
			first[quota] = m
			continue
		}
		if m.ok && other.ok && m.limits != other.limits {
			path := child("upstreams", name)
			if u.Quota != "" {
				path += ".quota"
			}
			v.fault(path, u.Quota, "the limits must be those of "+child("upstreams", other.name)+", which counts on the same quota", "")
		}
	}
}

// canonical writes limits and their scopes so that equal sets are equal texts.
func canonical(list []Limit) (text string, ok bool) {
	lines := make([]string, len(list))
	for i, l := range list {
		parsed, err := limit.Parse(l.Limit)
		if err != nil {
			return "", false
		}
		lines[i] = parsed.String() + " " + scopeOf(l)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), true
}
