package config

import (
	"os"
	"reflect"
)

// ParseRequest reads the text of a request template that stands alone: a
// mapping with method, path, headers and body as sources have it, but without an
// upstream. It expands and reports as Parse does; the templates themselves are
// their user's to parse. name stands in errors.
func ParseRequest(name string, data []byte) (SourceRequest, error) {
	root, fault := parseYAML(data)
	if fault != nil {
		fault.File = name
		return SourceRequest{}, fault
	}
	var r SourceRequest
	d := newDecoder(lookup{env: os.LookupEnv, file: readValueFile})
	d.decode("", root, reflect.ValueOf(&r).Elem())
	if r.Upstream != "" {
		d.fault("upstream", &Error{Msg: "is not said here: the upstream is that of the command"})
	}
	if r.Path == "" && !d.bad["path"] {
		d.fault("path", &Error{Msg: "is missing"})
	}
	for _, f := range d.faults {
		f.File = name
	}
	if err := join(d.faults); err != nil {
		return SourceRequest{}, err
	}
	return r, nil
}
