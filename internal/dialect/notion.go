package dialect

// notion reads Notion: a budget for each connection, and one for the workspace
// that can ask for more than a minute. Its 529 comes before any work, so its SDK
// repeats every call; after a 500 or 503 only those that change nothing.
//
// Source: developers.notion.com, "Request limits"; notion-sdk-js.
var notion = &family{
	name:   "notion",
	remark: "a 529 may be repeated with every method",
	hosts:  []string{"api.notion.com"},
	fields: []string{"X-Notion-Request-Id"},
	judge: func(a *answer) verdict {
		return verdict{repeat: a.Status == 529}
	},
	preset: Preset{Limits: []string{"180/1m"}},
}
