package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load reads and validates the file at path. The error is that of Parse, or
// says why the file could not be read.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, &Error{File: path, Msg: whyUnreadable(err), err: err}
	}
	return Parse(path, data)
}

// whyUnreadable says in words why a file could not be read.
func whyUnreadable(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user"
	case errors.Is(err, syscall.EISDIR):
		return "is a directory; want a file"
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return err.Error()
}

// Parse reads and validates the text of a file; name stands in errors. It
// expands ${env:NAME} and ${file:PATH} in every string value: a relative PATH
// is taken from the working directory, $${ writes a literal ${, and a value
// that holds an expansion appears in no error and not in Print. Nothing is
// defaulted: see WithDefaults.
//
// The error joins one *Error for each fault, in the order of the file. A fault
// of the YAML syntax stands alone, as nothing behind it can be trusted.
func Parse(name string, data []byte) (Config, error) {
	return parse(name, data, lookup{env: os.LookupEnv, file: readValueFile})
}

func parse(name string, data []byte, from lookup) (Config, error) {
	root, fault := parseYAML(data)
	if fault != nil {
		fault.File = name
		return Config{}, fault
	}
	var c Config
	d := newDecoder(from)
	d.decode("", root, reflect.ValueOf(&c).Elem())
	c.hidden = d.hidden

	v := &validator{cfg: c, written: d.places, bad: d.bad}
	v.run()
	for _, f := range v.faults {
		at := d.placeOf(f.Path)
		f.Line, f.Column = at.line, at.column
	}
	faults := append(d.faults, v.faults...)
	for _, f := range faults {
		f.File = name
	}
	if err := join(faults); err != nil {
		return Config{}, err
	}
	return c, nil
}

// parseYAML returns the only document of data as a tree.
func parseYAML(data []byte) (root ast.Node, fault *Error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if fault := badText(data); fault != nil {
		return nil, fault
	}
	// The decoder reports a key that is there twice, together with all other
	// faults.
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxFault(err)
	}
	var body []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			body = append(body, doc.Body)
		}
	}
	switch len(body) {
	case 0:
		return nil, &Error{Line: 1, Column: 1, Msg: "the file is empty"}
	case 1:
		return body[0], nil
	}
	at := start(body[1])
	return nil, &Error{Line: at.line, Column: at.column, Msg: "a second YAML document begins here; want one"}
}

// badText finds what YAML forbids in any file: bytes that are not UTF-8, and
// control characters.
func badText(data []byte) *Error {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			return &Error{Line: line, Column: column, Msg: "the file is not UTF-8 text"}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f:
			return &Error{Line: line, Column: column, Msg: "the file holds a control character"}
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return nil
}

// syntaxFault turns an error of the YAML parser into one sentence with a place.
func syntaxFault(err error) *Error {
	f := &Error{Line: 1, Column: 1, Msg: "not YAML"}
	if ye, ok := errors.AsType[yaml.Error](err); ok {
		msg, _, _ := strings.Cut(ye.GetMessage(), "\n")
		if strings.Contains(msg, "'\t'") || strings.HasPrefix(msg, "tab character") {
			msg = "a tab stands here; indent with spaces"
		}
		f.Msg = "not YAML: " + msg
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			f.Line, f.Column = max(tk.Position.Line, 1), max(tk.Position.Column, 1)
		}
	}
	return f
}
