package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A call is a line that may be sent.
type call struct {
	line
	id string // its custom_id, or else line-N

	// Of a line in the form of OpenAI's Batch API; the others are made requests
	// by a template.
	method string
	target *url.URL
	body   []byte
}

// lineID is the custom_id of a line that has none, or none that may be used.
func lineID(number int64) string { return "line-" + strconv.FormatInt(number, 10) }

// openAILine is a line of input in the form of OpenAI's Batch API.
type openAILine struct {
	CustomID *string         `json:"custom_id"`
	Method   string          `json:"method"`
	URL      *string         `json:"url"`
	Body     json.RawMessage `json:"body"`
}

// parseOpenAI reads a line in the form of OpenAI's Batch API:
// https://platform.openai.com/docs/api-reference/batch/request-input. The call
// has an ID if the line has one, whatever else is wrong with it.
func parseOpenAI(l line, upstream *url.URL) (call, error) {
	c := call{line: l}
	var in openAILine
	if err := json.Unmarshal(l.text, &in); err != nil {
		return c, jsonFault(err)
	}
	c.text = nil // the body is a copy
	if in.CustomID != nil {
		c.id = *in.CustomID
	}
	if in.URL == nil {
		return c, bad(`has no "url"`)
	}
	var err error
	if c.target, err = targetOf(*in.URL, upstream); err != nil {
		return c, err
	}
	if c.method = in.Method; c.method == "" {
		c.method = http.MethodPost
	}
	if c.body = in.Body; bytes.Equal(c.body, []byte("null")) {
		c.body = nil
	}
	return c, nil
}

// request is what is sent. The error is a badLine.
func (c *call) request() (*http.Request, error) {
	header := make(http.Header, 2)
	if len(c.body) > 0 {
		header["Content-Type"] = []string{"application/json"}
	}
	return newRequest(c.method, c.target, header, c.body)
}

// parseAny reads what can be told of a line that a template makes a call of.
func parseAny(l line) (call, error) {
	c := call{line: l}
	if l.text[0] != '{' {
		if !json.Valid(l.text) {
			var v any
			return c, jsonFault(json.Unmarshal(l.text, &v))
		}
		return c, nil
	}
	var in struct {
		CustomID any `json:"custom_id"`
	}
	if err := json.Unmarshal(l.text, &in); err != nil {
		return c, jsonFault(err)
	}
	c.id, _ = in.CustomID.(string)
	return c, nil
}

func jsonFault(err error) error {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		if wrong.Field == "" {
			return bad("want a JSON object, found %s", article(wrong.Value))
		}
		return bad("%q: want a string, found %s", wrong.Field, article(wrong.Value))
	}
	return bad("not JSON: %v", err)
}

func article(kind string) string {
	if strings.HasPrefix(kind, "a") || strings.HasPrefix(kind, "o") {
		return "an " + kind
	}
	return "a " + kind
}

// targetOf reads where a call goes: a path of the upstream with its query, or a
// whole URL of it. The door puts the upstream's own path in front.
func targetOf(text string, upstream *url.URL) (*url.URL, error) {
	u, err := url.Parse(text)
	if wrong := (*url.Error)(nil); errors.As(err, &wrong) {
		err = wrong.Err
	}
	switch {
	case err != nil:
		return nil, bad("url %q: %v", text, err)
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(text, "/"):
		return u, nil
	case u.Host == "" || u.Opaque != "":
		return nil, bad("url %q: want a path of the upstream, such as /v1/chat/completions", text)
	case upstream == nil || !strings.EqualFold(u.Host, upstream.Host):
		return nil, bad("url %q: is not of the upstream; want a path such as /v1/chat/completions", text)
	}
	path := u.EscapedPath()
	if below, ok := strings.CutPrefix(path, strings.TrimSuffix(upstream.EscapedPath(), "/")); ok && strings.HasPrefix(below, "/") {
		path = below
	}
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return url.Parse(path)
}
