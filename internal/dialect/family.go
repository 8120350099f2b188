package dialect

import (
	"net/http"
	"strings"
	"time"
)

// A family is a dialect as data and a few functions. What it leaves out is read
// as the standards have it, so that a family says only how it deviates. Its
// functions are called by many goroutines at once and keep nothing.
type family struct {
	name   string
	remark string // one line for people: what is peculiar

	// An answer is of the family if the host that was asked matches one of hosts:
	// a name in lower case, in which each "*" stands for any text. If the host is
	// nobody's, it is of the first family of which it has one of fields, in
	// canonical form, or that it marks.
	hosts  []string
	fields []string
	marks  func(h http.Header) bool
	how    string // what marks looks for, in words

	// triples are the fields that tell of limits, and limits reads what triples
	// cannot: it replaces them, and told names the fields that it looks at. Where
	// limits is nil and triples tell nothing, the standard fields count.
	triples []triple
	limits  func(a *answer) []Limit
	told    []string

	// judge says what the status does not. It is called for answers of status 400
	// and above, and for those below that peeks wants the body of.
	judge func(a *answer) verdict
	peeks func(a Answer) bool

	preset Preset
}

// A verdict is what a family makes of an answer. What is zero is open.
type verdict struct {
	class     Class
	by        signal // what decided the class; zero: the status shall
	hint      time.Duration
	byHint    signal // the part of the body that asks to wait for hint
	penalty   time.Duration
	byPenalty signal // what makes the upstream refuse for the time of penalty
	repeat    bool   // a POST that was overloaded may be repeated
	scope     string // what the wait is about; "" is Credential
}

// errorBodyMax and okBodyMax bound how much of a body is read, in bytes: errors
// are short; what GraphQL says of cost stands at the end of its answer.
const (
	errorBodyMax = 32 << 10
	okBodyMax    = 256 << 10
)

func (f *family) Name() string { return f.name }

// BodyMaxOf wants of a family without a judge only what may change its reading:
// the text of a refusal, and problems.
func (f *family) BodyMaxOf(a Answer) int {
	switch {
	case isEncoded(a.Header):
		return 0
	case succeeded(a.Status):
		if f.peeks != nil && f.peeks(a) {
			return okBodyMax
		}
		return 0
	case f.judge != nil || isProblem(a.Header):
		return errorBodyMax
	case isText(a.Header) && (statusClass(a.Status) != Fatal || a.Status == http.StatusForbidden):
		return errorBodyMax
	}
	return 0
}

// isEncoded reports whether a body is compressed, so that it cannot be read.
func isEncoded(h http.Header) bool {
	v := h["Content-Encoding"]
	return len(v) > 0 && !strings.EqualFold(trim(v[0]), "identity")
}

// isText reports whether a body is announced as JSON or text.
func isText(h http.Header) bool {
	v := h["Content-Type"]
	if len(v) == 0 {
		return false
	}
	kind := strings.ToLower(bare(v[0]))
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "json")
}

func (f *family) Read(a Answer, now time.Time) Reading {
	r := Reading{Dialect: f.name, Scope: Credential, status: a.Status, repeats: f.preset.Methods == MethodsAny && a.Method == http.MethodPost}
	if succeeded(a.Status) && !f.tells(a) {
		return r // the common answer; costs no allocation
	}
	f.read(&r, &answer{Answer: a, base: serverTime(a.Header, now)})
	return r
}

// tells reports whether there is anything to read in an answer that succeeded.
func (f *family) tells(a Answer) bool {
	if f.peeks != nil && f.peeks(a) {
		return true
	}
	for _, field := range f.told {
		if len(a.Header[field]) > 0 {
			return true
		}
	}
	return tripled(a.Header, f.triples) || f.limits == nil && hasLimits(a.Header)
}

func (f *family) read(r *Reading, a *answer) {
	if r.cached = isCached(a.Header); !r.cached {
		a.limits = f.limitsOf(a)
		for i := range a.limits {
			if l := &a.limits[i]; l.Window == 0 {
				l.Window = windowIn(l.Dimension)
			}
		}
		r.Limits = a.limits
	}
	wait, byWait := askedWait(a.Header, a.base)
	v := f.verdict(a, byWait)
	r.Class, r.byClass = v.class, v.by
	if f == standard && v.by == edgeVerdict.by {
		r.Dialect = cloudflareEdge.name
	}
	if r.Class == OK || r.Class == Fatal {
		return
	}
	if v.scope != "" {
		r.Scope = v.scope
	}
	if byWait == (signal{}) {
		wait, byWait = v.hint, v.byHint
	}
	if byWait == (signal{}) {
		wait, byWait = bodyHint(a)
	}
	if byWait == (signal{}) {
		wait, byWait = resetWait(r.Limits)
	}
	if byWait == (signal{}) {
		wait, byWait = v.penalty, v.byPenalty
	}
	r.Wait, r.byWait, r.HasWait = bounded(wait), byWait, byWait != (signal{})
	r.repeats = r.repeats || v.repeat
	r.Retryable, r.byRetry = retryable(a.Answer, r.Class, r.repeats)
	_, told := serverSays(a.Header)
	r.Told = told != (signal{})
}

func (f *family) limitsOf(a *answer) []Limit {
	if f.limits != nil {
		var all []Limit
		for _, l := range f.limits(a) {
			all = addLimit(all, l)
		}
		return all
	}
	if own := readTriples(nil, a.Header, f.triples, a.base); len(own) > 0 {
		return own
	}
	return limits(a.Header, a.base)
}

// verdict is the judgement of the family, and where it has none that of the
// standards. asked is the signal that asks for a wait in the header, if any.
func (f *family) verdict(a *answer, asked signal) verdict {
	if fromEdge(a) {
		return edgeVerdict
	}
	var v verdict
	if f.judge != nil && (!succeeded(a.Status) || f.peeks != nil && f.peeks(a.Answer)) {
		v = f.judge(a)
	}
	if v.by == (signal{}) {
		v.class, v.by = classify(a, asked)
	}
	return v
}

// succeeded reports whether a status says that there is nothing to react to.
func succeeded(status int) bool { return status >= 100 && status < 400 }
