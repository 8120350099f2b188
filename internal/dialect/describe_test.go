package dialect

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

//go:generate go test -run TestDocsDescribeEveryDialect . -update

var update = flag.Bool("update", false, "write docs/dialects.md")

const docs = "../../docs/dialects.md"

func TestDocsDescribeEveryDialect(t *testing.T) {
	want := page()
	if *update {
		if err := os.WriteFile(docs, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s differs from the code; run: go generate ./internal/dialect", docs)
	}
}

const pageHead = `# Dialects

<!-- Written by "go generate ./internal/dialect" from the code. -->

An upstream's dialect is the way it says that there were too many calls, that it
is overloaded, and how long to wait. Headgate recognises it by the host that was
asked, else by the fields of the answer (` + "`dialect: auto`" + `, the default), or reads
what the file names: ` + "`dialect: openai`" + `.

- ` + "`headgate explain`" + ` says how an answer is read, and why;
  ` + "`headgate explain --list`" + ` prints this table, with ` + "`--json`" + ` in full.
- "Repeats" are the methods of calls that may be repeated when it is unknown
  whether they were done: *idempotent* is GET, HEAD, OPTIONS, TRACE, PUT and
  DELETE, and POST and PATCH with an ` + "`Idempotency-Key`" + `. A call that was throttled
  was not done, and may be repeated whatever its method.
- "Starts with" are limits for an upstream whose file names the dialect and no
  limits: orders of magnitude from public documents. Without them limits are
  learned from the answers.

`

// page returns docs/dialects.md.
func page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	b.WriteString("| dialect | recognised by | peculiar | repeats | starts with |\n|---|---|---|---|---|\n")
	for _, d := range Describe() {
		var by []string
		if len(d.Hosts) > 0 {
			by = append(by, "host "+code(d.Hosts))
		}
		if len(d.Fields) > 0 {
			by = append(by, "field "+code(d.Fields[:min(len(d.Fields), 3)])+more(d.Fields, 3))
		}
		if d.Marks != "" {
			by = append(by, d.Marks)
		}
		cells := []string{"`" + d.Name + "`", strings.Join(by, "; "), d.Remark, d.Preset.Methods, code(d.Preset.Limits)}
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	b.WriteString(`
## Tokens

Where requests write their model and the most tokens of an answer, and where
answers, or the events of a stream, write what was used.

| dialect | model | most tokens | used in all | input | output |
|---|---|---|---|---|---|
`)
	for _, d := range Describe() {
		if u := d.Preset.Usage; u != nil {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", d.Name, code(u.Model), code(u.Cap), code(u.Total),
				code(append(append(append([]string{}, u.Input...), u.InputMore...), u.InputFields...)),
				code(append(append([]string{}, u.Output...), u.OutputFields...)))
		}
	}
	return b.String()
}

// more says how many words there are behind the first n.
func more(words []string, n int) string {
	if len(words) <= n {
		return ""
	}
	return fmt.Sprintf(" or one of %d more", len(words)-n)
}

// code joins words as code.
func code(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "`" + strings.Join(words, "`, `") + "`"
}

// limitForm is the syntax of package limit, which is a neighbour.
var limitForm = regexp.MustCompile(`^([a-z]+:)?[1-9][0-9]*/[1-9][0-9]*(s|m|h|d)( fixed| burst [1-9][0-9]*)?$|^concurrent:[1-9][0-9]*$`)

func TestPresetsAreUsable(t *testing.T) {
	for _, d := range Describe() {
		p, ok := PresetOf(d.Name)
		if !ok || !reflect.DeepEqual(p, d.Preset) {
			t.Errorf("PresetOf(%q) = %+v, %t, want %+v", d.Name, p, ok, d.Preset)
		}
		for _, s := range p.Limits {
			if !limitForm.MatchString(s) {
				t.Errorf("%s: limit %q, want one such as 50/1m", d.Name, s)
			}
		}
		if !oneOf(p.Methods, MethodsAny, MethodsIdempotent, MethodsNone) {
			t.Errorf("%s: methods %q", d.Name, p.Methods)
		}
		if u := p.Usage; u != nil && (len(u.Cap) == 0 || len(u.Input) == 0 || len(u.Output) == 0) {
			t.Errorf("%s: usage %+v without a cap, input or output", d.Name, u)
		}
	}
	for _, name := range []string{"auto", "nobody", ""} {
		if p, ok := PresetOf(name); ok {
			t.Errorf("PresetOf(%q) = %+v, want none", name, p)
		}
	}
}

func TestPathModel(t *testing.T) {
	for path, want := range map[string]string{
		"/v1beta/models/gemini-2.0-flash:generateContent":                                      "gemini-2.0-flash",
		"/v1/projects/p/locations/l/publishers/google/models/gemini-pro:streamGenerateContent": "gemini-pro",
		"/model/anthropic.claude-3-sonnet-20240229-v1:0/invoke":                                "anthropic.claude-3-sonnet-20240229-v1:0",
		"/openai/deployments/mine/chat/completions":                                            "mine",
		"/models/bert-base": "bert-base",
		"/v1/models/":       "", "/v1/models": "", "/v1/chat/completions": "", "": "", "/model/": "", "/models/:x": "",
	} {
		if got := PathModel(path); got != want {
			t.Errorf("PathModel(%q) = %q, want %q", path, got, want)
		}
	}
}
