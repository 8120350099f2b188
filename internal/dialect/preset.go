package dialect

import "strings"

// A Preset is what is known of a family before its first answer. It is data: who
// opens an upstream decides what to do with it.
type Preset struct {
	// Limits are starting limits in the syntax of package limit, e.g. "50/1m".
	// They are for an upstream whose configuration names the dialect and no
	// limits; each is an order of magnitude from the vendor's public documents
	// and gives way to what answers tell. Nil where the family tells its limits
	// itself, or where they differ by plan.
	Limits []string
	// Methods says which calls may be repeated whose outcome is unknown:
	// MethodsAny, MethodsIdempotent or MethodsNone.
	Methods string
	// Usage says where requests and answers of the family write of tokens; nil if
	// it doesn't count in tokens.
	Usage *Usage
}

// The values of Preset.Methods, as configurations write them.
const (
	MethodsAny        = "any"        // a repeat changes no state: any method
	MethodsIdempotent = "idempotent" // GET, PUT, DELETE …, and with an Idempotency-Key POST and PATCH
	MethodsNone       = "none"
)

// PresetOf returns the preset of the dialect of that name, as Names lists it. ok
// is false for an unknown name and for "auto". What it points to is shared, and
// not to be written to.
func PresetOf(name string) (p Preset, ok bool) {
	f := named(name)
	if f == nil {
		return Preset{}, false
	}
	return f.presets(), true
}

func (f *family) presets() Preset {
	p := f.preset
	if p.Methods == "" {
		p.Methods = MethodsIdempotent
	}
	return p
}

// Usage says where the requests and the answers of a family write of models and
// tokens. Its paths name members of JSON objects, joined by dots. Of several, the
// first that is there counts. In a stream each event is a document, and what a
// later one says replaces what earlier ones said.
type Usage struct {
	// Of the request's body.
	Model     []string // the model; without one, PathModel may know it
	Cap       []string // the most tokens that an answer may have
	Answers   []string // how many answers are asked for; Cap holds for each
	StreamAsk string   // must be true for a stream to tell usage; "" if streams do anyway

	// Of the answer's body.
	Total     []string // tokens in all; where there are none, the sum of the others
	Input     []string // tokens of the prompt that count
	InputMore []string // tokens that count besides Input: the first of these, too
	Output    []string // tokens of the answer

	// Fields of the answer's header, in canonical form, that tell the same.
	InputFields, OutputFields []string
}

// PathModel returns the model that a request's path names, as in
// /v1beta/models/gemini-pro:generateContent, /model/titan/invoke or
// /openai/deployments/mine/chat/completions; "" if it names none.
func PathModel(path string) string {
	for _, before := range [...]string{"/models/", "/model/", "/deployments/"} {
		_, rest, ok := strings.Cut(path, before)
		if !ok {
			continue
		}
		model, _, _ := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(model, ':'); i >= 0 && before == "/models/" {
			model = model[:i] // the method
		}
		return model
	}
	return ""
}
