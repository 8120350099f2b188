package batch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/template"

	"github.com/headgate/headgate/config"
)

// Template makes calls of lines that hold any JSON value. Method, path, header
// values and body are templates (text/template) with these fields:
//
//	.Message   the line as it stands there; a row of CSV as a JSON object
//	.JSON      the line decoded; numbers keep their digits
//	.ID        its custom_id, or else line-N
//	.Line      its number
//
// {{ json X }} writes X as JSON, {{ urlquery X }} for a query. A field that an
// object does not have is an error.
type Template struct {
	text               string
	method, path, body *template.Template
	header             map[string]*template.Template
}

// ParseTemplate reads a template: YAML or JSON with method (default POST), path,
// headers and body. name stands in errors, which are of package config.
func ParseTemplate(name, text string) (*Template, error) {
	r, err := config.ParseRequest(name, []byte(text))
	if err != nil {
		return nil, err
	}
	t := &Template{text: text, header: make(map[string]*template.Template)}
	part := func(path, text string) *template.Template {
		p, e := template.New(path).Funcs(functions).Option("missingkey=error").Parse(text)
		if e != nil && err == nil {
			err = &config.Error{File: name, Path: path, Msg: "line " + strings.TrimPrefix(e.Error(), "template: "+path+":")}
		}
		return p
	}
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	t.method, t.path, t.body = part("method", r.Method), part("path", r.Path), part("body", r.Body)
	for field, value := range r.Headers {
		t.header[http.CanonicalHeaderKey(field)] = part("headers."+field, value)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// functions are what templates may call besides those of text/template, of which
// urlquery is one.
var functions = template.FuncMap{"json": jsonText}

// jsonText writes a value as JSON, as it would stand in a file: <, > and & as
// they are.
func jsonText(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// message is what templates see of a line.
type message struct {
	Message string
	JSON    any
	ID      string
	Line    int64
}

// request makes the call of a line. The error is a badLine.
func (t *Template) request(l line, id string, upstream *url.URL) (*http.Request, error) {
	m := message{Message: string(l.text), ID: id, Line: l.number}
	d := json.NewDecoder(bytes.NewReader(l.text))
	d.UseNumber()
	if err := d.Decode(&m.JSON); err != nil {
		return nil, bad("not JSON: %v", err)
	}
	var err error
	render := func(p *template.Template) []byte {
		var b bytes.Buffer
		if e := p.Execute(&b, m); e != nil && err == nil {
			err = bad("%s", strings.TrimPrefix(e.Error(), "template: "))
		}
		return b.Bytes()
	}
	method, path, body := render(t.method), render(t.path), render(t.body)
	header := make(http.Header, len(t.header)+1)
	for field, p := range t.header {
		header[field] = []string{string(render(p))}
	}
	if err != nil {
		return nil, err
	}
	target, err := targetOf(string(path), upstream)
	if err != nil {
		return nil, err
	}
	if header.Get("Content-Type") == "" && json.Valid(body) {
		header.Set("Content-Type", "application/json")
	}
	return newRequest(string(method), target, header, body)
}

// fieldsOf checks the header of a request. The error is a badLine.
func fieldsOf(h http.Header) error {
	for field, values := range h {
		if slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, "\r\n\x00") }) {
			return bad("the value of the header field %s has a line end in it", field)
		}
	}
	return nil
}

// newRequest is the request of a call. The error is a badLine.
func newRequest(method string, target *url.URL, header http.Header, body []byte) (*http.Request, error) {
	if err := fieldsOf(header); err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, "/", bytes.NewReader(body))
	if err != nil {
		return nil, &badLine{fmt.Sprintf("method %q: want one such as POST", method)}
	}
	if len(body) == 0 {
		req.Body, req.GetBody = nil, nil
	}
	req.URL, req.Host = target, ""
	req.Header = header
	header["Headgate-Max-Wait"] = []string{maxWait}
	return req, nil
}

// maxWait is how long calls of a batch wait for a permit: as long as it takes.
const maxWait = "876000h"
