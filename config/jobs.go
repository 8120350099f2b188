package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/source"
)

// JobStore is where jobs are kept: what Jobs says, taken apart. The zero value is
// nowhere.
type JobStore struct {
	File  string // of SQLite; or
	Redis Store  // memory: not there
}

// None says that no jobs are kept.
func (s JobStore) None() bool { return s.File == "" && s.Redis.Kind == Memory }

// String writes the store as Jobs would, with *** for passwords.
func (s JobStore) String() string {
	switch {
	case s.None():
		return noJobs
	case s.File != "":
		return s.File
	}
	return s.Redis.String()
}

const noJobs = "none"

// JobStore returns where jobs are kept. The error is the *Error that Validate
// would report; it shows no password.
func (c Config) JobStore() (JobStore, error) {
	s, fault := parseJobs(c.WithDefaults().Jobs)
	if fault == nil {
		return s, nil
	}
	fault.Path = "jobs"
	if c.hidden["jobs"] {
		hide(fault)
	}
	return JobStore{}, fault
}

// parseJobs reads what jobs says. A fault is like one of parseStore.
func parseJobs(text string) (JobStore, *Error) {
	const want = `want the path of a file, such as "./headgate.db", an address that begins with redis://, or none`
	scheme, rest, address := strings.Cut(text, "://")
	switch {
	case text == noJobs:
		return JobStore{}, nil
	case text == "memory":
		return JobStore{}, &Error{Value: text, Msg: "jobs are kept on disk or not at all: " + want, Hint: "./headgate.db"}
	case scheme == "sqlite" || scheme == "file":
		return JobStore{}, &Error{Value: redact(text), Msg: want, Hint: rest}
	case address:
		s, fault := parseSource(text)
		return JobStore{Redis: s}, fault
	case text == "" || strings.HasSuffix(text, "/") || strings.ContainsRune(text, 0):
		return JobStore{}, &Error{Value: text, Msg: want}
	}
	return JobStore{File: filepath.Clean(text)}, nil
}

func (v *validator) jobs() {
	c := v.cfg
	if !v.absent("jobs", c.Jobs == "") {
		if _, fault := parseJobs(c.Jobs); fault != nil {
			v.fault("jobs", fault.Value, fault.Msg, fault.Hint)
		}
	}
	positive(v, "retention", c.Retention)
	if !c.Callbacks.Secret.IsZero() {
		if err := c.Callbacks.checkSecret(); err != nil {
			v.fault("callbacks.secret", "", err.Error(), "")
		}
	}
	for i, text := range c.Callbacks.Allow {
		if _, err := parsePrefix(text); err != nil {
			v.fault(item("callbacks.allow", i), text, `want an address or a range, such as "10.0.0.0/8"`, "")
		}
	}
	if len(c.Callbacks.Allow) > 0 && c.Callbacks.Secret.IsZero() {
		v.fault("callbacks", "", `needs a secret to sign with: "whsec_" and 24 to 64 bytes in base64, as "openssl rand -base64 32" makes them`, "")
	}
}

func (v *validator) sources() {
	names := map[string]int{}
	for i, s := range v.cfg.Sources {
		path := item("sources", i)
		if v.needed(path+".name", s.Name == "") {
			if first, twice := names[s.Name]; twice {
				v.fault(path+".name", s.Name, "is also the name of "+item("sources", first), "")
			} else {
				names[s.Name] = i
			}
		}
		if v.needed(path+".redis", s.Redis == "") {
			if _, fault := parseSource(s.Redis); fault != nil {
				v.fault(path+".redis", fault.Value, fault.Msg, fault.Hint)
			}
		}
		switch {
		case s.List == "" && s.Stream == "":
			v.fault(path, "", "needs a list or a stream to take from", "")
		case s.List != "" && s.Stream != "":
			v.fault(path+".stream", "", "takes from a list already; make another source of it", "")
		case s.Group != "" && s.Stream == "":
			v.fault(path+".group", "", "a list has no groups", "")
		}
		v.sourceRequest(path+".request", s.Request)
		v.destination(path+".results", s.Results, s)
		v.destination(path+".dead", s.Dead, s)
		if s.Results != (Destination{}) && s.Results == s.withDefaults().Dead {
			v.fault(path+".dead", "", "is where results go; what failed must be told apart", "")
		}
	}
}

// destination checks where a source writes.
func (v *validator) destination(path string, d Destination, s Source) {
	n := 0
	for _, key := range []string{d.Hash, d.List, d.Stream} {
		if key != "" {
			n++
		}
	}
	switch {
	case n > 1:
		v.fault(path, "", "want one of hash, list and stream", "")
	case d.List != "" && d.List == s.List, d.Stream != "" && d.Stream == s.Stream:
		v.fault(path, "", "is where the source takes from: it would never end", "")
	}
}

// parseSource reads an address that is no state's: memory will not do. A fault is
// like one of parseStore.
func parseSource(text string) (Store, *Error) {
	s, fault := parseStore(text)
	if fault == nil && s.Kind == Memory {
		fault = &Error{Value: text, Msg: wantStore, Hint: "redis://localhost:6379/0"}
	}
	if fault != nil {
		fault.Msg = strings.Replace(fault.Msg, wantStore, wantRedis, 1)
	}
	return s, fault
}

// Store returns where the queue is. The error is about Redis; it shows no
// password.
func (s Source) Store() (Store, error) {
	store, fault := parseSource(s.Redis)
	if fault == nil {
		return store, nil
	}
	fault.Path = "redis"
	return Store{}, fmt.Errorf("source %q: %w", s.Name, fault)
}

// sourceRequest checks what a source makes of a message.
func (v *validator) sourceRequest(path string, r SourceRequest) {
	known := slices.Sorted(maps.Keys(v.cfg.Upstreams))
	if v.needed(path+".upstream", r.Upstream == "") && !slices.Contains(known, r.Upstream) {
		v.fault(path+".upstream", r.Upstream, "no upstream has this name", nearest(r.Upstream, known))
	}
	if !v.needed(path+".path", r.Path == "") {
		return
	}
	if _, err := r.Template(); err != nil {
		for _, fault := range faultsOf(err) {
			msg := fault.Msg
			if fault.Line > 1 {
				msg = fmt.Sprintf("line %d: %s", fault.Line, msg)
			}
			v.fault(path+"."+fault.Field, "", msg, "")
		}
	}
}

// Template returns what makes calls of a source's messages. The error is one that
// Validate would report.
func (r SourceRequest) Template() (*source.Template, error) {
	return source.ParseTemplate(source.Request{Method: r.Method, Path: r.Path, Headers: r.Headers, Body: r.Body})
}

// faultsOf takes apart what ParseTemplate joins.
func faultsOf(err error) []*source.TemplateError {
	var faults []*source.TemplateError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			faults = append(faults, faultsOf(e)...)
		}
	} else if fault, ok := errors.AsType[*source.TemplateError](err); ok {
		faults = append(faults, fault)
	}
	return faults
}
