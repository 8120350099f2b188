package cli

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headgate/headgate/config"
)

// defaultUpstream is what the upstream given by flags is called.
const defaultUpstream = "default"

// upstreamFlags describe one upstream without a file. Values stay text: they
// are put into the shape of the file, so that there is one reader and one judge
// for both.
type upstreamFlags struct {
	url, dialect                 string
	limits, credentials          []string
	maxWait, maxLength, attempts string
	openAfter, openFor           string
}

// upstreamFlagNames are the flags of add: each says something that a file says
// too.
var upstreamFlagNames = []string{
	"upstream", "limit", "credential", "dialect", "max-wait", "max-length", "retry-attempts",
	"breaker-open-after", "breaker-open-for",
}

func (u *upstreamFlags) add(f *pflag.FlagSet) {
	u.addAPI(f)
	f.StringVar(&u.maxWait, "max-wait", "", "`DURATION` a call may wait in line (default 2m)")
	f.StringVar(&u.maxLength, "max-length", "", "`CALLS` that may wait in line (default 10000)")
	f.StringVar(&u.attempts, "retry-attempts", "", "`ATTEMPTS` of a call in all (default 5)")
	f.StringVar(&u.openAfter, "breaker-open-after", "", "`WHEN` to leave the API alone, such as \"10 throttled in 1m\" (default off)")
	f.StringVar(&u.openFor, "breaker-open-for", "", "`DURATION` an open breaker stays open (default 30s)")
}

// addAPI adds those that say what the upstream is.
func (u *upstreamFlags) addAPI(f *pflag.FlagSet) {
	f.StringVarP(&u.url, "upstream", "u", "", "`URL` of the API")
	f.StringArrayVarP(&u.limits, "limit", "l", nil, "`LIMIT` of the API, such as 50/1m or concurrent:8; may be repeated")
	f.StringArrayVar(&u.credentials, "credential", nil, "`'HEADER: VALUE'` to send instead of the caller's; a list of processes shows it,\nso write ${env:NAME} or ${file:PATH} for the secret; may be repeated")
	f.StringVar(&u.dialect, "dialect", "", "`NAME` of how the API says no; see headgate explain --list (default auto)")
}

// given returns the first of the flags that was used, or "".
func (u *upstreamFlags) given(f *pflag.FlagSet) string {
	for _, name := range upstreamFlagNames {
		if f.Changed(name) {
			return name
		}
	}
	return ""
}

// config reads the flags as if they stood in a file. JSON is YAML, and the
// decoder's rules, expansions and secrets are those of the file.
func (u *upstreamFlags) config(cmd *cobra.Command, p processFlags) (config.Config, error) {
	upstream := section{"url": u.url}
	if len(u.limits) > 0 {
		upstream["limits"] = u.limits
	}
	upstream.put("dialect", u.dialect)
	upstream.under("line").put("max_wait", u.maxWait).put("max_length", wholeNumber(u.maxLength))
	upstream.under("retry").put("attempts", wholeNumber(u.attempts))
	upstream.under("breaker").put("open_after", u.openAfter).put("open_for", u.openFor)
	var credentials []section
	for _, c := range u.credentials {
		header, value, ok := strings.Cut(c, ":")
		if !ok {
			return config.Config{}, misused(cmd, "--credential: want 'Header: value', such as 'Authorization: Bearer ${env:API_KEY}'")
		}
		credentials = append(credentials, section{"header": strings.TrimSpace(header), "value": strings.TrimSpace(value)})
	}
	if len(credentials) > 0 {
		upstream["credentials"] = credentials
	}
	file := section{"upstreams": section{defaultUpstream: upstream}}
	for _, s := range p.settings() {
		file.at(s.path, s.text)
	}
	text, err := json.Marshal(file)
	if err != nil {
		return config.Config{}, err
	}
	c, err := config.Parse("flags", text)
	if err != nil {
		return config.Config{}, &usageError{cmd, inWordsOfFlags(err)}
	}
	return c, nil
}

// section is a mapping of the file.
type section map[string]any

// put sets a key, unless the value is "".
func (s section) put(key string, value any) section {
	if value != "" {
		s[key] = value
	}
	return s
}

// at puts a value where a path such as log.level says, as put does.
func (s section) at(path, value string) {
	if above, below, ok := strings.Cut(path, "."); ok {
		s.under(above).at(below, value)
		return
	}
	s.put(path, value)
}

// under returns the mapping at a key.
func (s section) under(key string) section {
	below, ok := s[key].(section)
	if !ok {
		below = section{}
		s[key] = below
	}
	return below
}

// wholeNumber is the number that s writes, or else s itself, for the reader of
// the file to refuse.
func wholeNumber(s string) any {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return s
}

// flagOf is the flag that stands for a path of the file, by the path's start.
var flagOf = []struct{ path, flag string }{
	{"listen", "--listen"},
	{"admin", "--admin"},
	{"state", "--state"},
	{"namespace", "--namespace"},
	{"on_store_loss", "--on-store-loss"},
	{"jobs", "--jobs"},
	{"retention", "--retention"},
	{"log.level", "--log-level"},
	{"log.format", "--log-format"},
	{"upstreams.default.url", "--upstream"},
	{"upstreams.default.limits", "--limit"},
	{"upstreams.default.credentials", "--credential"},
	{"upstreams.default.dialect", "--dialect"},
	{"upstreams.default.line.max_wait", "--max-wait"},
	{"upstreams.default.line.max_length", "--max-length"},
	{"upstreams.default.retry.attempts", "--retry-attempts"},
	{"upstreams.default.breaker.open_after", "--breaker-open-after"},
	{"upstreams.default.breaker.open_for", "--breaker-open-for"},
}

// inWordsOfFlags renames what the faults of a configuration are about.
func inWordsOfFlags(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, inWordsOfFlags(e))
		}
		return errors.Join(all...)
	}
	fault, ok := errors.AsType[*config.Error](err)
	if !ok {
		return err
	}
	renamed := *fault
	renamed.File, renamed.Line, renamed.Column = "", 0, 0
	for _, f := range flagOf {
		if strings.HasPrefix(fault.Path, f.path) {
			renamed.Path = f.flag
			break
		}
	}
	return &renamed
}
