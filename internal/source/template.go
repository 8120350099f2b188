package source

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"
)

// Request is what a message is made a call by: path, values of headers and body
// are templates of package text/template.
type Request struct {
	Method  string // "": POST
	Path    string
	Headers map[string]string
	Body    string
}

// Template makes calls of messages. It may be used by many goroutines at once.
//
// What its templates see of a message:
//
//	.Message   the message as it came
//	.JSON      what it says as JSON; numbers keep their digits
//	.ID        its name; see Message.ID
//
// Besides what package text/template has (urlquery is one) they may call
//
//	json X        X as JSON
//	base64 X      text in base64
//	pathescape X  text as one segment of a path
//	int X         a number that can be compared with others
//
// What an object does not have is an error; {{ index .JSON "x" }} asks for what
// may be missing, and json writes it as null.
type Template struct {
	method     string
	path, body *template.Template
	header     []headerField
}

type headerField struct {
	name  string
	value *template.Template
}

// TemplateError is a fault of a request's template.
type TemplateError struct {
	Field string // path, body, method or headers.NAME
	Line  int    // of the field's text, from 1; 0: it is about all of it
	Msg   string
}

func (e *TemplateError) Error() string {
	if e.Line > 1 {
		return fmt.Sprintf("%s: line %d: %s", e.Field, e.Line, e.Msg)
	}
	return e.Field + ": " + e.Msg
}

var (
	methodForm = regexp.MustCompile(`^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$`)
	nameForm   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, section 5.6.2
)

// ownFields are not the template's to set: HTTP clients set them.
var ownFields = []string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// ParseTemplate returns the template that r says. The error joins all faults,
// each a *TemplateError.
func ParseTemplate(r Request) (*Template, error) {
	var faults []error
	fault := func(field, msg string) { faults = append(faults, &TemplateError{Field: field, Msg: msg}) }
	part := func(field, text string) *template.Template {
		t, err := template.New(field).Funcs(functions).Option("missingkey=error").Parse(text)
		if err != nil {
			faults = append(faults, parseFault(field, err))
		}
		return t
	}
	t := &Template{method: r.Method}
	if t.method == "" {
		t.method = http.MethodPost
	}
	if !methodForm.MatchString(t.method) {
		fault("method", fmt.Sprintf("%q: want a method in capitals, such as POST", t.method))
	}
	if !strings.HasPrefix(r.Path, "/") && !strings.HasPrefix(r.Path, "{{") {
		fault("path", fmt.Sprintf("%q: want a path such as /v1/analyze", r.Path))
	}
	t.path, t.body = part("path", r.Path), part("body", r.Body)
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		field := "headers." + name
		switch key := textproto.CanonicalMIMEHeaderKey(name); {
		case !nameForm.MatchString(name):
			fault(field, "is not the name of a header field")
		case slices.Contains(ownFields, key):
			fault(field, "is set by the connection")
		case slices.ContainsFunc(t.header, func(h headerField) bool { return h.name == key }):
			fault(field, "is there twice")
		default:
			t.header = append(t.header, headerField{key, part(field, r.Headers[name])})
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return t, nil
}

// parseFault reads what package template says: "template: FIELD:LINE: MSG".
func parseFault(field string, err error) error {
	rest := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "template: "), field+":")
	if line, msg, ok := strings.Cut(rest, ": "); ok {
		if n, err := strconv.Atoi(line); err == nil {
			return &TemplateError{Field: field, Line: n, Msg: msg}
		}
	}
	return &TemplateError{Field: field, Msg: rest}
}

// functions are what templates may call besides those of package template.
var functions = template.FuncMap{
	"json":       jsonText,
	"base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"pathescape": url.PathEscape,
	"int":        whole,
}

func jsonText(v any) (string, error) {
	if s, ok := v.(string); ok {
		text, ok := plain(s)
		if !ok {
			return "", errors.New("the text is not UTF-8: write it with base64")
		}
		return text, nil
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func whole(v any) (int64, error) {
	switch v := v.(type) {
	case json.Number:
		return v.Int64()
	case string:
		return strconv.ParseInt(v, 10, 64)
	}
	return 0, fmt.Errorf("%v is not a whole number", v)
}

// seen is what templates see of a message.
type seen struct {
	ID      string
	Message string
	body    []byte
	decoded *any
}

// JSON returns what the message says as JSON.
func (s *seen) JSON() (any, error) {
	if s.decoded == nil {
		if !utf8.Valid(s.body) {
			return nil, errors.New("the message is not UTF-8, and so not JSON")
		}
		v, err := decode(s.body)
		if err != nil {
			return nil, fmt.Errorf("the message is not JSON: %w", err)
		}
		s.decoded = &v
	}
	return *s.decoded, nil
}

// Rendered is the call of a message.
type Rendered struct {
	Method string
	Target *url.URL // path and query
	Header http.Header
	Body   []byte
}

// Render makes the call of a message. The error says what is wrong with the
// message, and shows nothing of the template's text but its expressions.
func (t *Template) Render(m Message) (Rendered, error) {
	s := &seen{ID: m.ID, Message: string(m.Body), body: m.Body}
	r := Rendered{Method: t.method, Header: make(http.Header, len(t.header)+2)}
	path, err := render(t.path, s)
	if err == nil {
		r.Target, err = target(string(path))
	}
	if err != nil {
		return Rendered{}, err
	}
	for _, h := range t.header {
		value, err := render(h.value, s)
		if err == nil && bytes.ContainsFunc(value, isControl) {
			err = errors.New(h.value.Name() + ": the value has a line end or another control character in it")
		}
		if err != nil {
			return Rendered{}, err
		}
		r.Header[h.name] = []string{string(value)}
	}
	if r.Body, err = render(t.body, s); err != nil {
		return Rendered{}, err
	}
	if len(r.Body) > 0 && r.Header["Content-Type"] == nil && json.Valid(r.Body) {
		r.Header["Content-Type"] = []string{"application/json"}
	}
	return r, nil
}

func render(t *template.Template, s *seen) ([]byte, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return nil, execFault(t.Name(), err)
	}
	return b.Bytes(), nil
}

// execFault shortens what package template says of a message that does not fit.
func execFault(field string, err error) error {
	text := strings.TrimPrefix(err.Error(), "template: ")
	if _, rest, ok := strings.Cut(text, `executing "`+field+`" at `); ok {
		text = rest
	}
	return errors.New(field + ": " + text)
}

// target reads a path with its query. Segments that climb are refused: the path
// is the configuration's to say, and not the message's.
func target(path string) (*url.URL, error) {
	if strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == utf8.RuneError }) {
		return nil, fmt.Errorf("path: %q has a character that paths have not: write it with pathescape or urlquery", path)
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path: %q is not one", path)
	}
	for segment := range strings.SplitSeq(u.EscapedPath(), "/") {
		if plain, err := url.PathUnescape(segment); err != nil || plain == "." || plain == ".." {
			return nil, fmt.Errorf("path: %q climbs", path)
		}
	}
	return u, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
