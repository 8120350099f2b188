package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// place is where something stands in a file, both from 1.
type place struct{ line, column int }

// A decoder walks a YAML tree beside the types of this package and collects
// every fault on the way. What it cannot read stays zero.
type decoder struct {
	from    lookup
	anchors map[string]ast.Node // met so far
	places  map[string]place    // of all that was written, by path
	hidden  map[string]bool     // paths whose value holds an expansion
	bad     map[string]bool     // paths with a fault
	faults  []*Error
}

func newDecoder(from lookup) *decoder {
	return &decoder{
		from:    from,
		anchors: map[string]ast.Node{},
		places:  map[string]place{},
		hidden:  map[string]bool{},
		bad:     map[string]bool{},
	}
}

// placeOf returns where path stands, or else what it would stand in.
func (d *decoder) placeOf(path string) place {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		if path == "" {
			return place{1, 1}
		}
		path = parent(path)
	}
}

// fault notes a fault of what stands at path.
func (d *decoder) fault(path string, e *Error) {
	at := d.placeOf(path)
	e.Path, e.Line, e.Column = path, at.line, at.column
	d.faults = append(d.faults, e)
	d.bad[path] = true
}

// decode reads node into v, whose type says what is expected.
func (d *decoder) decode(path string, node ast.Node, v reflect.Value) {
	node, why := d.resolve(node)
	if why != "" {
		d.fault(path, &Error{Msg: why})
		return
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, node, v)
		return
	}
	if _, ok := v.Interface().(Limit); ok && node.Type() != ast.MappingType {
		d.limit(path, node, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(path, node, v)
	case reflect.Map:
		d.mapping(path, node, v)
	case reflect.Slice:
		d.list(path, node, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(path, node, v.Elem())
	case reflect.Int:
		d.integer(path, node, v)
	case reflect.String:
		if s, ok := d.str(path, node, "text"); ok {
			v.SetString(s)
		}
	default:
		panic("config: no syntax for " + v.Type().String())
	}
}

// resolve follows anchors and aliases to what they stand for. why says what is
// wrong with node itself.
func (d *decoder) resolve(node ast.Node) (_ ast.Node, why string) {
	switch n := node.(type) {
	case *ast.AnchorNode:
		d.anchors[n.Name.GetToken().Value] = n.Value
		return d.resolve(n.Value)
	case *ast.AliasNode:
		target, ok := d.anchors[n.Value.GetToken().Value]
		if !ok {
			return nil, "no such anchor before this alias"
		}
		if target.Type() == ast.AliasType || target.Type() == ast.AnchorType {
			return nil, "an alias of an alias"
		}
		return d.resolve(target)
	case *ast.TagNode:
		return nil, "YAML tags are not understood here; quote what should be text"
	case nil:
		return ast.Null(token.New("null", "null", &token.Position{})), ""
	}
	return node, ""
}

func (d *decoder) structure(path string, node ast.Node, v reflect.Value) {
	fields := map[string]reflect.Value{}
	var known []string
	for f := range v.Type().Fields() {
		if name := fieldName(f); name != "" {
			fields[name] = v.FieldByIndex(f.Index)
			known = append(known, name)
		}
	}
	for key, value := range d.pairs(path, node) {
		if field, ok := fields[key]; ok {
			d.value(child(path, key), value, field)
			continue
		}
		e := &Error{Msg: "unknown key", Hint: nearest(key, known)}
		if e.Hint == "" {
			e.Msg += "; known here: " + strings.Join(known, ", ")
		}
		d.fault(child(path, key), e)
	}
}

func (d *decoder) mapping(path string, node ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for key, value := range d.pairs(path, node) {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(child(path, key), value, elem)
		v.SetMapIndex(reflect.ValueOf(key), elem)
	}
}

// value decodes the value of a key. The place of a scalar is its own, that of
// anything else its key's.
func (d *decoder) value(path string, node ast.Node, v reflect.Value) {
	if at := start(node); isScalar(node) && at.line > 0 {
		d.places[path] = at
	}
	d.decode(path, node, v)
}

// pairs yields the keys and values of a mapping in the order of the file, and
// notes the places of the keys. It reports a node that is no mapping, and keys that
// cannot be used.
func (d *decoder) pairs(path string, node ast.Node) func(yield func(string, ast.Node) bool) {
	return func(yield func(string, ast.Node) bool) {
		m, ok := node.(*ast.MappingNode)
		if !ok {
			d.wrongType(path, node, "a mapping (key: value)")
			return
		}
		lines := map[string]int{}
		for _, pair := range m.Values {
			scalar, ok := pair.Key.(ast.ScalarNode)
			if !ok || pair.Key.IsMergeKey() {
				at := start(pair.Key)
				d.faults = append(d.faults, &Error{Path: path, Line: at.line, Column: at.column,
					Msg: "want a plain key; merge keys and complex keys are not understood here"})
				continue
			}
			key, at := scalar.GetToken().Value, start(scalar)
			sub := child(path, key)
			if line, twice := lines[key]; twice {
				d.faults = append(d.faults, &Error{Path: sub, Line: at.line, Column: at.column,
					Msg: fmt.Sprintf("key is there twice; the first is on line %d", line)})
				continue
			}
			lines[key] = at.line
			d.places[sub] = at
			if !yield(key, pair.Value) {
				return
			}
		}
	}
}

func (d *decoder) list(path string, node ast.Node, v reflect.Value) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.wrongType(path, node, "a list such as [a, b]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, value := range seq.Values {
		sub := item(path, i)
		if at := start(value); at.line > 0 {
			d.places[sub] = at
		}
		d.decode(sub, value, v.Index(i))
	}
}

// limit reads a limit that is not a mapping.
func (d *decoder) limit(path string, node ast.Node, v reflect.Value) {
	if s, ok := d.str(path, node, `a limit such as "50/1m", or a mapping with limit and scope`); ok {
		v.Set(reflect.ValueOf(Limit{Limit: s}))
	}
}

func (d *decoder) integer(path string, node ast.Node, v reflect.Value) {
	const want = "a whole number"
	var text string
	switch n := node.(type) {
	case *ast.IntegerNode:
		text = n.GetToken().Value
	case *ast.StringNode: // a number may come from an expansion
		s, ok := d.str(path, node, want)
		if !ok {
			return
		}
		_, err := strconv.Atoi(s)
		if !d.hidden[path] && !errors.Is(err, strconv.ErrRange) {
			d.wrongType(path, node, want)
			return
		}
		text = s
	default:
		d.wrongType(path, node, want)
		return
	}
	i, err := strconv.Atoi(text)
	if err != nil {
		e := &Error{Msg: "want " + want}
		if errors.Is(err, strconv.ErrRange) {
			e.Msg = "the number is too large"
		}
		if e.Value = text; d.hidden[path] {
			hide(e)
		}
		d.fault(path, e)
		return
	}
	v.SetInt(int64(i))
}

// text reads a type that has a form of its own, and Secret. A number without
// quotes is text here: 1048576 is a size, and 30 earns a hint at "30s".
func (d *decoder) text(path string, node ast.Node, v reflect.Value) {
	want := "text"
	if f, ok := v.Interface().(formed); ok {
		want = f.form().want
	}
	var s string
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if want != "text" {
			s = node.GetToken().Value
			break
		}
		d.wrongType(path, node, want)
		return
	default:
		var ok bool
		if s, ok = d.str(path, node, want); !ok {
			return
		}
	}
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
	if e, ok := errors.AsType[*Error](err); ok {
		if d.hidden[path] {
			hide(e)
		}
		d.fault(path, e)
	}
}

// str returns the text of a string, with expansions. want says what else to
// ask for.
func (d *decoder) str(path string, node ast.Node, want string) (s string, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.LiteralNode:
		s = n.Value.Value
	default:
		d.wrongType(path, node, want)
		return "", false
	}
	s, expanded, err := d.from.expand(s)
	if expanded {
		d.hidden[path] = true
	}
	if err != nil {
		d.fault(path, &Error{Msg: err.Error()})
		return "", false
	}
	return s, true
}

// wrongType reports a node of another type than was expected.
func (d *decoder) wrongType(path string, node ast.Node, want string) {
	found := "text"
	switch node.Type() {
	case ast.MappingType:
		found = "a mapping"
	case ast.SequenceType:
		found = "a list"
	case ast.NullType:
		found = "nothing"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		found = "a number"
	case ast.BoolType:
		found = "true or false"
	}
	msg := "want " + want + ", found " + found
	if want == "text" && (found == "a number" || found == "true or false") {
		msg += "; put it in quotes"
	}
	d.fault(path, &Error{Msg: msg})
}

// fieldName is the key of a field in a file, "" for a field that has none.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// isScalar reports whether a node is one value, written at one place.
func isScalar(node ast.Node) bool {
	switch node.(type) {
	case *ast.MappingNode, *ast.SequenceNode, *ast.NullNode, nil:
		return false
	}
	return true
}

// start is where a node begins: for a block mapping, at its first key. Its line
// is 0 if nothing was written.
func start(node ast.Node) place {
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return start(m.Values[0].Key)
	}
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return place{}
	}
	p := node.GetToken().Position
	return place{max(p.Line, 1), max(p.Column, 1)}
}
