package dialect

import (
	"net/http"
	"strings"
)

// nginx is the server with its modules limit_req and limit_conn, whose refusal
// is a 503 unless it is configured otherwise: it cannot be told from a dead
// upstream, so a POST is not safe to repeat.
var nginx = &family{
	name:   "nginx",
	remark: "refuses with 503 by default, and says nothing more",
	marks: func(h http.Header) bool {
		v := h["Server"]
		return len(v) > 0 && (strings.HasPrefix(trim(v[0]), "nginx") || strings.HasPrefix(trim(v[0]), "openresty"))
	},
	how: "`Server: nginx` or `openresty`",
}
