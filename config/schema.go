package config

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// types is the file with the types, whose comments are the descriptions.
//
//go:embed config.go
var types string

// expansion matches text that holds ${env:…} or ${file:…}, which may stand in
// for any value.
const expansion = `\$\{`

// Patterns of text that has no form of its own.
const (
	limitPattern = `\s*([a-z0-9_-]+:)?\s*\+?[0-9]+\s*/\s*\S+(\s+fixed|\s+burst\s+\+?[0-9]+)?\s*|\s*concurrent:\s*\+?[0-9]+\s*`
	scopePattern = `credential|upstream|path:/[^*]*\*?`
)

// Schema returns the JSON Schema (draft 2020-12) of the file. It accepts all
// that Parse accepts; what one value says about another, only Parse knows.
func Schema() ([]byte, error) {
	comments, err := readComments(types)
	if err != nil {
		return nil, err
	}
	r := &jsonschema.Reflector{
		FieldNameTag: "yaml",
		Mapper:       mapType,
		LookupComment: func(t reflect.Type, field string) string {
			return comments[strings.TrimSuffix(t.Name()+"."+field, ".")]
		},
	}
	s := r.Reflect(&Config{})
	s.Title = "Headgate configuration"
	for name, def := range s.Definitions {
		for p := def.Properties.Oldest(); p != nil; p = p.Next() {
			refine(name, p.Key, p.Value)
		}
	}
	// A limit may be a string; its mapping is what the reflector made.
	s.Definitions["Limit"] = &jsonschema.Schema{
		Description: comments["Limit"],
		OneOf:       []*jsonschema.Schema{textSchema(limitPattern), s.Definitions["Limit"]},
	}
	return json.MarshalIndent(s, "", "  ")
}

// mapType is the schema of a type that is written as text or as a number, nil
// for others.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch x := reflect.Zero(t).Interface().(type) {
	case Size:
		return orElse(textSchema(x.form().pattern), &jsonschema.Schema{Type: "integer", Minimum: "0"})
	case formed:
		return textSchema(x.form().pattern)
	case Secret:
		return &jsonschema.Schema{Type: "string"}
	case int:
		return orElse(textSchema(""), &jsonschema.Schema{Type: "integer", Minimum: "1"})
	}
	return nil
}

// refine adds to the schema of a key what its Go type does not tell.
func refine(typ, key string, s *jsonschema.Schema) {
	if words, ok := choices[typ+"."+key]; ok {
		s.Type = ""
		s.AnyOf = []*jsonschema.Schema{{Enum: anys(words)}, textSchema("")}
	}
	switch typ + "." + key {
	case "Config.state":
		s.Pattern = textSchema(`memory|rediss?(\+(sentinel|cluster))?://[^#]+`).Pattern
	case "Config.namespace":
		s.Pattern = textSchema(namespaceText).Pattern
	case "Client.priority":
		s.AnyOf[1].Minimum, s.AnyOf[1].Maximum = "0", "7"
	case "Client.key", "Config.admin_key":
		s.Pattern = textSchema(strings.Trim(keyHash.String(), "^$")).Pattern
	case "Upstream.url":
		s.Pattern = textSchema(`([hH][tT][tT][pP][sS]?|[hH]2[cC])://[^?#]+`).Pattern
	case "Limit.limit":
		s.Pattern = textSchema(limitPattern).Pattern
	case "Limit.scope":
		s.Pattern = textSchema(scopePattern).Pattern
	case "Config.upstreams":
		s.PropertyNames = &jsonschema.Schema{Pattern: upstreamName.String()}
	}
}

// textSchema is text of a pattern, or text that holds an expansion. An empty
// pattern leaves the expansion alone.
func textSchema(pattern string) *jsonschema.Schema {
	if pattern == "" {
		return &jsonschema.Schema{Type: "string", Pattern: expansion}
	}
	return &jsonschema.Schema{Type: "string", Pattern: "^(" + pattern + ")$|" + expansion}
}

func orElse(a, b *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{a, b}}
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// readComments returns the comments of the types in Go source, by type and by
// type and field.
func readComments(src string) (map[string]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", src, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("read the descriptions: %w", err)
	}
	comments := map[string]string{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			typ := spec.(*ast.TypeSpec)
			comments[typ.Name.Name] = oneLine(gen.Doc.Text())
			st, ok := typ.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					comments[typ.Name.Name+"."+name.Name] = oneLine(f.Doc.Text() + f.Comment.Text())
				}
			}
		}
	}
	return comments, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
