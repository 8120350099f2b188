package redistest

import (
	"fmt"
	"slices"
	"strings"
)

// Option changes how a server is started.
type Option interface{ apply(*settings) }

// WithAOF keeps each write in an append-only file before it is answered, so
// that Restart finds all that was answered before Kill.
func WithAOF() Option { return aofOption{} }

// WithPassword makes the server ask for a user and a password. The user may
// do everything; "" and "default" are the default user, which is closed
// otherwise.
func WithPassword(user, password string) Option { return passwordOption{user, password} }

// WithConfig adds lines of redis.conf, such as "maxmemory-policy allkeys-lru".
// They stand last, and so win over the others.
func WithConfig(lines ...string) Option { return configOption(lines) }

type (
	aofOption      struct{}
	passwordOption struct{ user, password string }
	configOption   []string
)

func (aofOption) apply(s *settings)        { s.aof = true }
func (o passwordOption) apply(s *settings) { s.user, s.password = o.user, o.password }
func (o configOption) apply(s *settings)   { s.lines = append(s.lines, o...) }

// settings is what options make. The zero value is a server without
// persistence or password.
type settings struct {
	sentinel bool
	aof      bool
	user     string
	password string
	lines    []string
}

func newSettings(opts []Option) settings {
	var s settings
	for _, o := range opts {
		o.apply(&s)
	}
	return s
}

// file returns the redis.conf. A file rather than flags: passwords would
// show in the list of processes, and sentinels and nodes rewrite theirs.
func (s settings) file(port int, dir string) string {
	lines := []string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", port),
		fmt.Sprintf("dir %q", dir),
	}
	if !s.sentinel {
		lines = append(lines, `save ""`)
	}
	if s.aof {
		lines = append(lines, "appendonly yes", "appendfsync always")
	}
	switch {
	case s.password == "":
	case s.user == "" || s.user == "default":
		lines = append(lines, fmt.Sprintf("requirepass %q", s.password))
	default:
		lines = append(lines, "user default off", fmt.Sprintf("user %s on %q ~* &* +@all", s.user, ">"+s.password))
	}
	return strings.Join(slices.Concat(lines, s.lines), "\n") + "\n"
}

// login returns the lines that tell somebody else how to log in to the server,
// none if it asks for no password. The arguments are the keywords.
func (s settings) login(user, password string) []string {
	var lines []string
	if s.user != "" && s.password != "" {
		lines = append(lines, user+" "+s.user)
	}
	if s.password != "" {
		lines = append(lines, fmt.Sprintf("%s %q", password, s.password))
	}
	return lines
}
