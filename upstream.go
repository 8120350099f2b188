package headgate

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/ledger"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/line"
	"github.com/headgate/headgate/internal/retry"
)

// upstream is an upstream as one configuration has it. It never changes; a
// reload makes another. What outlives it hangs on the desk.
type upstream struct {
	name     string
	base     *url.URL // nil: requests say where they go
	send     http.RoundTripper
	traces   bool // send calls httptrace hooks
	desk     *desk
	dialect  dialect.Dialect // nil: by host and answer
	preset   dialect.Preset  // of a dialect that the configuration names
	fallback []string

	namespace   string // of the fleet, whose instances have to name credentials alike; "": there is none
	credentials []config.Credential
	keys        []credentialKey
	prints      []string // fingerprints of the configured credentials

	rules         []ledger.Rule
	ledgerOptions ledger.Options
	countsTokens  bool       // by its rules; see limitsTokens
	estimator     *estimator // of tokens
	urgent        [2]int     // priorities, both included, that the reserve is for
	bounds        line.Bounds
	maxWait       time.Duration
	breaker       breaker.Config
	policy        retry.Policy
	budget        *budget
	budgetShare   float64
	timeout       config.Timeout
}

// newUpstream builds an upstream from a configuration with its defaults filled
// in. Its desk and budget are set by the caller.
func newUpstream(name string, c config.Upstream, send http.RoundTripper) (*upstream, error) {
	u := &upstream{
		name:     name,
		send:     send,
		fallback: c.Fallback,
		bounds:   line.Bounds{MaxLength: c.Line.MaxLength, MaxBytes: int64(c.Line.MaxBytes)},
		maxWait:  time.Duration(c.Line.MaxWait),
		timeout:  c.Timeout,
		breaker: breaker.Config{
			Throttled: c.Breaker.OpenAfter.Throttled,
			In:        c.Breaker.OpenAfter.In,
			Share:     float64(c.Breaker.Failures.Share),
			Of:        c.Breaker.Failures.Of,
			OpenFor:   time.Duration(c.Breaker.OpenFor),
		},
		ledgerOptions: ledger.Options{
			Strict:  c.Guard == "strict",
			Reserve: float64(c.Line.Reserve.Share),
		},
		urgent:      [2]int{c.Line.Reserve.From, c.Line.Reserve.To},
		credentials: c.Credentials,
	}
	if c.URL != "" {
		base, err := url.Parse(c.URL)
		if err != nil {
			return nil, fmt.Errorf("upstreams.%s.url: %w", name, err)
		}
		base.Path = strings.TrimSuffix(base.Path, "/")
		base.RawPath = strings.TrimSuffix(base.RawPath, "/")
		u.base = base
	}
	switch send.(type) {
	case *sender, *http.Transport:
		u.traces = true
	}
	if c.Dialect != "" && c.Dialect != "auto" {
		d, ok := dialect.Lookup(c.Dialect)
		if !ok {
			return nil, fmt.Errorf("upstreams.%s.dialect: unknown dialect %q", name, c.Dialect)
		}
		u.dialect = d
		u.preset, _ = dialect.PresetOf(c.Dialect)
	}
	for _, c := range c.Credentials {
		u.prints = append(u.prints, fingerprint(c))
		u.keys = append(u.keys, credentialKey{name: "credential " + fingerprint(c)})
	}
	u.ledgerOptions.Learn = len(c.Limits) == 0
	limits, source := c.Limits, ledger.Configured
	if len(limits) == 0 {
		source = ledger.Told // answers correct them
		for _, l := range u.preset.Limits {
			limits = append(limits, config.Limit{Limit: l})
		}
	}
	for i, l := range limits {
		r, err := newRule(l)
		if err != nil {
			return nil, fmt.Errorf("upstreams.%s.limits[%d] %w", name, i, err)
		}
		r.Source = source
		u.rules = append(u.rules, r)
		u.countsTokens = u.countsTokens || r.Limit.Dimension == limit.Tokens
	}
	if c.Retry.Methods == "" {
		c.Retry.Methods = u.preset.Methods
	}
	host := ""
	if u.base != nil {
		host = u.base.Host
	}
	u.estimator = newEstimator(u.dialect, host)
	var err error
	u.policy, err = newPolicy(c.Retry)
	if err != nil {
		return nil, fmt.Errorf("upstreams.%s.retry: %w", name, err)
	}
	return u, nil
}

func newRule(c config.Limit) (ledger.Rule, error) {
	l, err := limit.Parse(c.Limit)
	if err != nil {
		return ledger.Rule{}, err
	}
	r := ledger.Rule{Limit: l}
	switch path, ok := strings.CutPrefix(c.Scope, "path:"); {
	case ok:
		r.Scope, r.Path = ledger.PerPath, path
	case c.Scope == "upstream":
		r.Scope = ledger.PerUpstream
	case c.Scope != "" && c.Scope != "credential":
		return r, fmt.Errorf("scope %q: want credential, upstream or path:/prefix*", c.Scope)
	}
	return r, nil
}

func newPolicy(c config.Retry) (retry.Policy, error) {
	jitter, err := retry.ParseJitter(c.Jitter)
	if err != nil {
		return retry.Policy{}, err
	}
	p := retry.Policy{
		Attempts: c.Attempts,
		Base:     time.Duration(c.Base),
		Cap:      time.Duration(c.Cap),
		Jitter:   jitter,
	}
	switch c.Methods {
	case "", "safe":
	case "any":
		p.Methods = retry.Any
	case "idempotent":
		p.Methods = retry.Idempotent
	case "none":
		p.Methods = retry.Never
	default:
		return p, fmt.Errorf("methods %q: want any, idempotent or none", c.Methods)
	}
	return p, nil
}

// dialectFor returns the dialect of an answer: as configured, or as it is
// recognised, to which a field of the request adds: many serve Anthropic's
// interface under hosts of their own.
func (u *upstream) dialectFor(a dialect.Answer, req *http.Request) dialect.Dialect {
	if u.dialect != nil {
		return u.dialect
	}
	d := dialect.Recognise(a)
	if d.Name() == "generic" && firstOf(req.Header, "Anthropic-Version") != "" {
		d, _ = dialect.Lookup("anthropic")
	}
	return d
}

// modest says whether calls of a priority leave the reserve alone. Those that
// have aged into the priorities it is for do not: they stand in front of them,
// and would hold them up.
func (u *upstream) modest(priority int, waited time.Duration) bool {
	if u.ledgerOptions.Reserve == 0 {
		return false
	}
	if priority > u.urgent[1] {
		priority = max(priority-int(waited/line.AgeStep), u.urgent[1])
	}
	return priority < u.urgent[0] || priority > u.urgent[1]
}

// bytesPerToken is what a token of a request's body is taken to be if nobody
// said what the call costs: the rule of thumb for English text.
const bytesPerToken = 4

// limitsTokens says whether tokens are limited, as configured or as answers told.
func (u *upstream) limitsTokens() bool { return u.countsTokens || u.desk.tokens.Load() }

// weigh returns what a call costs: what its caller said, and if that was not
// said the tokens that are expected; 0: a quarter of the bytes of its body. They
// never exceed a limit: what would never fit is for the upstream to refuse.
func (u *upstream) weigh(said Cost, bytes, expected int64) Cost {
	if _, ok := said[limit.Tokens]; ok || !u.limitsTokens() {
		return said
	}
	guess := expected
	if guess == 0 {
		guess = max(bytes/bytesPerToken, 1)
	}
	for _, r := range u.rules {
		if r.Limit.Dimension != limit.Tokens {
			continue
		}
		guess = min(guess, r.Limit.N)
		if r.Limit.Kind == limit.Bucket {
			guess = min(guess, r.Limit.Burst)
		}
	}
	cost := Cost{limit.Tokens: guess}
	maps.Copy(cost, said)
	return cost
}

// credentialFields are where callers carry credentials of their own.
var credentialFields = []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Private-Token"}

var credentialSeed = maphash.MakeSeed()

// fingerprint tells configured credentials apart and says nothing about them.
func fingerprint(c config.Credential) string {
	hash := sha256.Sum256([]byte(http.CanonicalHeaderKey(c.Header) + "\x00" + c.Value.Reveal()))
	return hex.EncodeToString(hash[:4])
}

// inherit names credentials as the configuration before did, so that what was
// counted stays theirs: those that it had, wherever they stand now, and those
// that took the place of one that is gone, because that is how keys are
// rotated.
func (u *upstream) inherit(old *upstream) {
	for i, print := range u.prints {
		if j := slices.Index(old.prints, print); j >= 0 {
			u.keys[i] = old.keys[j]
		} else if i < len(old.prints) && !slices.Contains(u.prints, old.prints[i]) {
			u.keys[i] = old.keys[i]
		}
	}
}

// PassedCredential returns the credential that a request brings along, "" if
// there is none. It is a secret: what becomes of it is to be a hash.
func PassedCredential(h http.Header) string {
	var all strings.Builder
	for _, field := range credentialFields {
		for _, v := range h[field] {
			all.WriteString(field)
			all.WriteByte(0)
			all.WriteString(v)
			all.WriteByte(0)
		}
	}
	return all.String()
}

// passedThrough returns the key of the credential that a request brings along.
// In a fleet all instances have the same for it, which says as little about it.
func (u *upstream) passedThrough(h http.Header) credentialKey {
	if u.namespace != "" {
		return passedThroughOf(u.namespace, h)
	}
	var hash maphash.Hash
	hash.SetSeed(credentialSeed)
	found := false
	for _, field := range credentialFields {
		for _, v := range h[field] {
			found = true
			hash.WriteString(field)
			hash.WriteString(v)
			hash.WriteByte(0)
		}
	}
	if !found {
		return credentialKey{}
	}
	return credentialKey{hash: hash.Sum64()}
}

// passedThroughOf is passedThrough by a hash that cannot be turned round, with
// the namespace for a salt.
func passedThroughOf(namespace string, h http.Header) credentialKey {
	hash := sha256.New()
	found := false
	write := func(s string) {
		io.WriteString(hash, s)
		hash.Write([]byte{0})
	}
	write(namespace)
	for _, field := range credentialFields {
		for _, v := range h[field] {
			found = true
			write(field)
			write(v)
		}
	}
	if !found {
		return credentialKey{}
	}
	sum := hash.Sum(nil)
	return credentialKey{hash: max(binary.BigEndian.Uint64(sum), 1)}
}

// address returns where a request goes.
func (u *upstream) address(target *url.URL) url.URL {
	if u.base == nil {
		return *target
	}
	to := *u.base
	to.RawQuery = target.RawQuery
	to.ForceQuery = target.ForceQuery
	slash := ""
	if target.Path != "" && target.Path[0] != '/' {
		slash = "/"
	}
	to.Path = u.base.Path + slash + target.Path
	to.RawPath = ""
	if u.base.RawPath != "" || target.RawPath != "" {
		to.RawPath = u.base.EscapedPath() + slash + target.EscapedPath()
	}
	return to
}
