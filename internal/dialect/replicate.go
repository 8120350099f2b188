package dialect

// replicate creates a billed job for a POST, so that only a refusal is repeated.
// Its ceiling for other calls is higher, and that of accounts without credit is
// far lower.
var replicate = &family{
	name:   "replicate",
	remark: "the wait is in the message; a POST creates a billed job and is not repeated after a 5xx",
	hosts:  []string{"api.replicate.com"},
	preset: Preset{Limits: []string{"600/1m"}},
}
