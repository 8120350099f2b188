package dialect

import "slices"

// A Description says of a dialect what people ask: how an answer is recognised
// as its, what is peculiar, and its preset.
type Description struct {
	Name   string
	Hosts  []string // of the request; "*" stands for any text
	Fields []string // of the answer, where the host is nobody's; one is enough
	Marks  string   // what else marks an answer, in words; "" if nothing
	Remark string
	Preset Preset
}

// Describe describes the dialects in the order of Names, without "auto".
func Describe() []Description {
	var all []Description
	for _, name := range Names() {
		if f := named(name); f != nil {
			all = append(all, Description{
				Name: f.name, Hosts: slices.Clone(f.hosts), Fields: slices.Clone(f.fields), Marks: f.how,
				Remark: f.remark, Preset: f.presets(),
			})
		}
	}
	return all
}
