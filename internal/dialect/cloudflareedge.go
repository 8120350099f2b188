package dialect

import "net/http"

// cloudflareEdge is what Cloudflare's edge answers by itself, in front of
// whichever API: the call never got there. It counts calls of an address, so that
// the wait is about all of them.
var cloudflareEdge = &family{
	name:   "cloudflare-edge",
	remark: "comes from the edge in front of an API, and is about all calls; 1006 and 1020 are blocks",
	how:    "Cloudflare's error 1015 in the body",
	judge: func(a *answer) verdict {
		if edgeRefuses(a) {
			return edgeVerdict
		}
		return verdict{scope: Provider}
	},
}

var edgeVerdict = verdict{class: Throttled, by: signal{"Cloudflare's error", "1015"}, scope: Provider}

// fromEdge reports whether Cloudflare's edge refused the call in front of an API
// of another dialect.
func fromEdge(a *answer) bool {
	return (a.Status == http.StatusTooManyRequests || a.Status == http.StatusForbidden) &&
		a.has("Server", "cloudflare") && edgeRefuses(a)
}

// edgeRefuses finds error 1015, "you are being rate limited", which is written as
// text, HTML or JSON.
func edgeRefuses(a *answer) bool {
	return a.text("error_code") == "1015" || a.contains("error code: 1015", ">1015<")
}
