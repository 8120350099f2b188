package dialect

import (
	"net/http"
	"strings"
)

// expressRateLimit is the middleware of that name. It sends X-RateLimit-* with
// Unix time (legacy), or one of the IETF drafts 6 to 8; legacy and a draft may
// come together, and their units differ.
var expressRateLimit = &family{
	name:   "express-rate-limit",
	remark: "fixed window from the client's first request; legacy and draft fields may come together, with different units",
	marks: func(h http.Header) bool {
		v := h["X-Powered-By"]
		return len(v) > 0 && strings.EqualFold(trim(v[0]), "Express") && hasLimits(h)
	},
	how: "`X-Powered-By: Express` with fields of limits",
}
