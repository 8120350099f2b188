package config

import (
	"encoding"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Print writes the effective configuration, defaults included, as YAML with
// keys in the order of the types and names sorted. Secrets are ***, and so are
// values that hold an expansion, values of headers, and addresses that hold a
// password; of the addresses of state, jobs and sources only the password is hidden. The rest reads back as
// it was.
func (c Config) Print(w io.Writer) error {
	c = c.WithDefaults()
	p := printer{hidden: c.hidden}
	text, err := yaml.MarshalWithOptions(p.tree("", reflect.ValueOf(c)), yaml.IndentSequence(true))
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

type printer struct{ hidden map[string]bool }

// tree turns a value into maps, lists and scalars that the YAML encoder writes
// in their order.
func (p printer) tree(path string, v reflect.Value) any {
	if p.hidden[path] {
		return hiddenText
	}
	if path == "admin_key" && !keyHash.MatchString(v.String()) {
		return hiddenText // it may be the key itself
	}
	if path == "state" || path == "jobs" || isSourceAddress(path) {
		return showState(v.String())
	}
	switch x := v.Interface().(type) {
	case encoding.TextMarshaler:
		text, _ := x.MarshalText() // the types of this package never fail
		return string(text)
	case Limit:
		if x.Scope == "" {
			return p.tree(path, reflect.ValueOf(x.Limit))
		}
	case Client:
		if !keyHash.MatchString(x.Key) {
			x.Key = hiddenText
			v = reflect.ValueOf(x)
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		return p.structure(path, v)
	case reflect.Map:
		return p.mapping(path, v)
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = p.tree(item(path, i), v.Index(i))
		}
		return list
	case reflect.Pointer:
		return p.tree(path, v.Elem())
	case reflect.String:
		return showText(v.String())
	}
	return v.Interface()
}

func (p printer) structure(path string, v reflect.Value) yaml.MapSlice {
	out := yaml.MapSlice{}
	for f := range v.Type().Fields() {
		name := fieldName(f)
		if name == "" {
			continue
		}
		field := v.FieldByIndex(f.Index)
		if !field.IsZero() {
			out = append(out, yaml.MapItem{Key: name, Value: p.tree(child(path, name), field)})
		}
	}
	return out
}

func (p printer) mapping(path string, v reflect.Value) yaml.MapSlice {
	out := yaml.MapSlice{}
	headers := v.Type().Elem().Kind() == reflect.String
	for _, key := range v.MapKeys() {
		value := any(hiddenText)
		if !headers {
			value = p.tree(child(path, key.String()), v.MapIndex(key))
		}
		out = append(out, yaml.MapItem{Key: key.String(), Value: value})
	}
	slices.SortFunc(out, func(a, b yaml.MapItem) int {
		return strings.Compare(a.Key.(string), b.Key.(string))
	})
	return out
}

// showText escapes what would read as an expansion, and hides an address that
// holds a password.
func showText(s string) string {
	if holdsPassword(s) {
		return hiddenText
	}
	return strings.ReplaceAll(s, "${", "$${")
}

// showState hides of a state the password, and of one that Validate would
// refuse all that showText hides.
func showState(text string) string {
	if s, fault := parseStore(text); fault == nil && holdsPassword(text) {
		return s.String()
	}
	return showText(text)
}

func isSourceAddress(path string) bool {
	return strings.HasPrefix(path, "sources[") && strings.HasSuffix(path, "].redis")
}

// holdsPassword reports whether text is an address with a user or a query.
// Those of Redis may name several hosts, which package url does not read.
func holdsPassword(text string) bool {
	if scheme, rest, ok := strings.Cut(text, "://"); ok && strings.HasPrefix(scheme, "redis") {
		return strings.ContainsAny(rest, "@?")
	}
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.User != nil || u.RawQuery != "")
}
