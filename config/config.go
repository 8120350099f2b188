// Package config is the shape of the configuration file: its types, their
// syntax, defaults and validation, and how a file is read and watched.
//
// It decides nothing and opens nothing but the file: package headgate turns an
// upstream into a gate, and the daemon turns a file into a running process.
package config

import "time"

// Config is a whole file. Its zero value is valid and serves nothing; fields
// left zero mean the default that WithDefaults writes in.
type Config struct {
	Listen      string              `yaml:"listen,omitempty"`        // data plane; default 127.0.0.1:8787
	Admin       string              `yaml:"admin,omitempty"`         // admin plane; default 127.0.0.1:8788; "off": none
	AdminKey    string              `yaml:"admin_key,omitempty"`     // who changes something at admin must show the key with this hash: "sha256:" and what `headgate key` prints; default none: changes are let through on a loopback address, and refused elsewhere
	TLS         TLS                 `yaml:"tls,omitempty"`           // of the data plane; off unless both files are named
	State       string              `yaml:"state,omitempty"`         // where quotas, pauses and breakers are kept: memory, or an address that begins with redis:// or its like (see Store); default memory
	Namespace   string              `yaml:"namespace,omitempty"`     // instances with the same state and namespace share; 1 to 64 letters, digits, ".", "_" and "-"; default "default"
	OnStoreLoss string              `yaml:"on_store_loss,omitempty"` // what an instance does while it cannot reach the state: share (go on with limit / instances last alive), wait or fail; default share
	Jobs        string              `yaml:"jobs,omitempty"`          // where jobs are kept: the path of a SQLite file, an address that begins with redis:// or its like (see Store), or none; default ./headgate.db, made by the first job
	Retention   Duration            `yaml:"retention,omitempty"`     // how long a job that has ended is kept; default 24h
	Callbacks   Callbacks           `yaml:"callbacks,omitempty"`     // who may be told that a job has ended; default nobody
	Log         Log                 `yaml:"log,omitempty"`
	Upstreams   map[string]Upstream `yaml:"upstreams,omitempty"`
	Clients     []Client            `yaml:"clients,omitempty"` // none: anyone who reaches the listener may call
	Sources     []Source            `yaml:"sources,omitempty"`

	hidden map[string]bool // paths of values that hold an expansion; set by Parse, read only
}

// TLS names the certificate of a listener.
type TLS struct {
	Cert string `yaml:"cert,omitempty"` // PEM file with the chain
	Key  string `yaml:"key,omitempty"`  // PEM file with the private key
}

// Callbacks say how those are told that a job has ended who asked for it by
// Headgate-Callback: by a POST, signed as Standard Webhooks has it.
type Callbacks struct {
	Secret Secret   `yaml:"secret,omitempty"` // "whsec_" and the key in base64; without it there are no callbacks
	Allow  []string `yaml:"allow,omitempty"`  // private addresses that may be told, such as 10.0.0.0/8; default none
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level,omitempty"`  // debug, info, warn or error; default info
	Format string `yaml:"format,omitempty"` // text or json; default text
}

// Upstream is an HTTP API that somebody else runs and limits.
type Upstream struct {
	URL         string       `yaml:"url"`                   // http, https, or h2c for HTTP/2 without TLS
	Dialect     string       `yaml:"dialect,omitempty"`     // default auto
	Credentials []Credential `yaml:"credentials,omitempty"` // none: the caller's own are passed through
	Limits      []Limit      `yaml:"limits,omitempty"`
	Quota       string       `yaml:"quota,omitempty"` // upstreams with the same quota count on one ledger; default the upstream's own
	Guard       string       `yaml:"guard,omitempty"` // adaptive or strict; default adaptive
	Retry       Retry        `yaml:"retry,omitempty"`
	Breaker     Breaker      `yaml:"breaker,omitempty"`
	Line        Line         `yaml:"line,omitempty"`
	Timeout     Timeout      `yaml:"timeout,omitempty"`
	Fallback    []string     `yaml:"fallback,omitempty"` // upstreams to try while this one is open or its line is full
	MaxBody     Size         `yaml:"max_body,omitempty"` // largest request body; 0: no bound
}

// Credential authenticates the gate to an upstream.
type Credential struct {
	Header string `yaml:"header"` // e.g. Authorization
	Value  Secret `yaml:"value"`  // may hold ${env:NAME} and ${file:PATH}
}

// Limit is a limit and what it covers. In a file it is a string such as
// "50/1m", or a mapping with both fields.
type Limit struct {
	Limit string `yaml:"limit"`
	Scope string `yaml:"scope,omitempty"` // credential, upstream or path:/prefix*; default credential
}

// Retry says when a call gets another attempt.
type Retry struct {
	Attempts int      `yaml:"attempts,omitempty"`  // in all, the first included; default 5
	Base     Duration `yaml:"base,omitempty"`      // first backoff; default 500ms
	Cap      Duration `yaml:"cap,omitempty"`       // largest backoff; default 60s
	Jitter   string   `yaml:"jitter,omitempty"`    // full, equal, decorrelated or none; default full
	Budget   Percent  `yaml:"budget,omitempty"`    // retries of overloaded calls as a share of attempts; default 20%
	Methods  string   `yaml:"methods,omitempty"`   // any, idempotent or none; default what is safe: see docs/retries.md
	Body     Size     `yaml:"body,omitempty"`      // kept in memory for a retry; default 1MiB
	BodyFile Size     `yaml:"body_file,omitempty"` // kept in a temporary file beyond that; default 64MiB
}

// Breaker says when an upstream is left alone.
type Breaker struct {
	OpenAfter OpenAfter `yaml:"open_after,omitempty"` // e.g. "10 throttled in 1m"; default off
	OpenFor   Duration  `yaml:"open_for,omitempty"`   // default 30s
	Failures  Failures  `yaml:"failures,omitempty"`   // e.g. "50% of 20"; "off" for never; default 50% of 20
}

// Line bounds the waiting line.
type Line struct {
	MaxWait   Duration `yaml:"max_wait,omitempty"`   // default 2m
	MaxLength int      `yaml:"max_length,omitempty"` // calls; default 10000
	MaxBytes  Size     `yaml:"max_bytes,omitempty"`  // of request bodies held in memory; default 256MiB
	Reserve   Reserve  `yaml:"reserve,omitempty"`    // e.g. "20% for 0-3"; default none
}

// Timeout bounds attempts. Waiting in line does not count.
type Timeout struct {
	Attempt    Duration `yaml:"attempt,omitempty"`     // from permit to response headers; default 60s
	IdleStream Duration `yaml:"idle_stream,omitempty"` // without a byte of the body; default 60s
}

// Client is a caller of the gateway.
type Client struct {
	Name      string   `yaml:"name"`
	Key       string   `yaml:"key"`                 // "sha256:" and the hash that `headgate key` prints
	Upstreams []string `yaml:"upstreams,omitempty"` // which it may call; none: all
	Priority  *int     `yaml:"priority,omitempty"`  // 0 most urgent to 7 least; default 3
	Weight    int      `yaml:"weight,omitempty"`    // share of the line against others of the same priority; default 1
	Limits    []Limit  `yaml:"limits,omitempty"`    // what the client itself may ask
}

// Source is a Redis queue that is drained through the gate.
type Source struct {
	Name    string        `yaml:"name"`
	Redis   string        `yaml:"redis"`            // address, as in state
	List    string        `yaml:"list,omitempty"`   // key of a list; or:
	Stream  string        `yaml:"stream,omitempty"` // key of a stream
	Group   string        `yaml:"group,omitempty"`  // consumer group of the stream; default headgate
	Request SourceRequest `yaml:"request"`
	Results Destination   `yaml:"results,omitempty"` // where answers go; default nowhere
	Dead    Destination   `yaml:"dead,omitempty"`    // where messages go that cannot be done; default a list named as the queue, with ":dead" behind it
}

// SourceRequest is the template that makes a call of a message. Path, values of
// headers and body are Go templates: .Message is the message, .JSON what it says
// as JSON, .ID its name.
type SourceRequest struct {
	Upstream string            `yaml:"upstream"`
	Method   string            `yaml:"method,omitempty"` // default POST
	Path     string            `yaml:"path"`
	Headers  map[string]string `yaml:"headers,omitempty"`
	Body     string            `yaml:"body,omitempty"`
}

// Destination is where a source writes: the key of one of these.
type Destination struct {
	Hash   string `yaml:"hash,omitempty"`
	List   string `yaml:"list,omitempty"`
	Stream string `yaml:"stream,omitempty"`
}

// Duration is a time.Duration written as in Go, or in whole days: "1d".
type Duration time.Duration

// Percent is a share between 0 and 1, written "20%".
type Percent float64

// Size is a number of bytes, written "64KiB", "1MiB" or plain.
type Size int64

// Secret is text that prints as ***. String never returns it; Reveal does.
type Secret struct{ text string }

// OpenAfter is "10 throttled in 1m"; the zero value is off.
type OpenAfter struct {
	Throttled int
	In        time.Duration
}

// Failures is "50% of 20": that share of the last so many outcomes. The zero
// value is the default; any other with Of 0 is off, as in Failures{Share: 1}.
type Failures struct {
	Share Percent
	Of    int
}

// Reserve is "20% for 0-3": that share of every limit is kept for these
// priorities; the zero value keeps nothing.
type Reserve struct {
	Share    Percent
	From, To int // priorities, both included
}
