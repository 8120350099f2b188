package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestSchemaAcceptsTheExamples(t *testing.T) {
	schema := compile(t)
	for _, file := range []string{"testdata/contract.yaml", "testdata/redis.yaml", "testdata/sources.yaml"} {
		if err := schema.Validate(readYAML(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What one value alone makes wrong, an editor should mark.
func TestSchemaRefusesWhatParseRefuses(t *testing.T) {
	schema := compile(t)
	for _, name := range []string{"unknown-key", "unknown-key-top", "limit-mapping", "wrong-types", "nothing", "numbers", "forms", "choices", "urls", "names", "clients", "state", "namespace"} {
		file := filepath.Join("testdata/broken", name+".yaml")
		doc := readYAML(t, file)
		if err := schema.Validate(doc); err == nil {
			t.Errorf("schema accepts %s: %v", file, doc)
		}
	}
}

func TestSchemaDescribesEveryCommentedField(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]struct{ Description string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	comments, err := readComments(types)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, typ := range []reflect.Type{
		reflect.TypeFor[Config](), reflect.TypeFor[TLS](), reflect.TypeFor[Log](), reflect.TypeFor[Upstream](),
		reflect.TypeFor[Credential](), reflect.TypeFor[Retry](), reflect.TypeFor[Breaker](), reflect.TypeFor[Line](),
		reflect.TypeFor[Timeout](), reflect.TypeFor[Client](), reflect.TypeFor[SourceRequest](),
	} {
		for f := range typ.Fields() {
			want := comments[typ.Name()+"."+f.Name]
			if fieldName(f) == "" || want == "" {
				continue
			}
			checked++
			if got := schema.Defs[typ.Name()].Properties[fieldName(f)].Description; got != want {
				t.Errorf("description of %s.%s = %q, want %q", typ.Name(), f.Name, got, want)
			}
		}
	}
	if checked < 40 {
		t.Errorf("%d fields have comments, want at least 40", checked)
	}
}

func TestChoicesNameKeysThatExist(t *testing.T) {
	types := map[string]reflect.Type{}
	for _, v := range []any{Config{}, Log{}, Upstream{}, Retry{}} {
		types[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	for choice := range choices {
		typ, key, _ := strings.Cut(choice, ".")
		found := false
		for f := range types[typ].Fields() {
			found = found || fieldName(f) == key
		}
		if !found {
			t.Errorf("choices has %s, which is no key", choice)
		}
	}
}

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func readYAML(t testing.TB, file string) any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return plain(t, data)
}

// plain reads YAML as the validator of schemas wants it.
func plain(t testing.TB, data []byte) any {
	t.Helper()
	data, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
