package dialect

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// answer is an Answer on its way through a family: with the clock of the
// upstream, the limits that were read so far, and the body as JSON.
type answer struct {
	Answer
	base   time.Time // from which absolute times count
	limits []Limit

	json   any // see parse; valid if parsed
	parsed bool
}

// text returns the string or number at a path of the JSON body, the latter as it
// is written; "" if there is none. A path names members of objects and, in
// digits, elements of arrays: text("errors", "0", "code").
func (a *answer) text(path ...string) string {
	return textOf(a.at(path...))
}

// at returns the value at a path of the JSON body; nil if there is none. It is a
// map[string]any, []any, string, json.Number or bool.
func (a *answer) at(path ...string) any {
	if !a.parsed {
		document := a.Body
		if IsEventStream(a.Header) { // who asked for a stream may get its error as one
			if _, data, _ := FirstEvent(append(bytes.Clone(a.Body), "\n\n"...)); data != nil {
				document = data
			}
		}
		a.json, a.parsed = parse(document), true
	}
	return at(a.json, path...)
}

// list returns the elements of the array at a path of the JSON body; nil if
// there is none.
func (a *answer) list(path ...string) []any {
	l, _ := a.at(path...).([]any)
	return l
}

// contains reports whether the start of the body has one of these texts,
// whatever its case, which must be lower in those.
func (a *answer) contains(texts ...string) bool {
	body := bytes.ToLower(a.Body)
	for _, s := range texts {
		if bytes.Contains(body, []byte(s)) {
			return true
		}
	}
	return false
}

// at returns the value at a path below v; nil if there is none.
func at(v any, path ...string) any {
	for _, key := range path {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

// textOf returns a string or number as text; "" for anything else.
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// deepest bounds the nesting of JSON that is read. Real errors have up to six
// levels.
const deepest = 32

// byteOrderMark is what some servers begin a text in UTF-8 with.
var byteOrderMark = []byte("\ufeff")

// parse reads JSON as far as it goes: of a body that was cut off, or is broken
// behind some point, what stands before it. It is nil if nothing does.
func parse(body []byte) any {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, byteOrderMark), " \t\r\n")
	if len(body) == 0 || body[0] != '{' && body[0] != '[' {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, _ := parseValue(d, 0)
	return v
}

// parseValue reads the next value; whole is false if the text broke off in it.
func parseValue(d *json.Decoder, depth int) (v any, whole bool) {
	t, err := d.Token()
	if err != nil || depth > deepest {
		return nil, false
	}
	switch t {
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return object, false
			}
			member, whole := parseValue(d, depth+1)
			if member != nil || whole {
				object[key.(string)] = member
			}
			if !whole {
				return object, false
			}
		}
		_, err := d.Token()
		return object, err == nil
	case json.Delim('['):
		array := []any{}
		for d.More() {
			element, whole := parseValue(d, depth+1)
			if element != nil || whole {
				array = append(array, element)
			}
			if !whole {
				return array, false
			}
		}
		_, err := d.Token()
		return array, err == nil
	}
	return t, true
}

// oneOf reports whether s is one of words.
func oneOf(s string, words ...string) bool {
	for _, w := range words {
		if s == w {
			return true
		}
	}
	return false
}

// field returns the trimmed first line of a field, whose name is in canonical
// form; "" if there is none.
func (a *answer) field(name string) string {
	if lines := a.Header[name]; len(lines) > 0 {
		return trim(lines[0])
	}
	return ""
}

// has reports whether the field's first line is s, whatever its case.
func (a *answer) has(name, s string) bool { return strings.EqualFold(a.field(name), s) }
