package admin

import (
	"embed"
	"mime"
	"net/http"
	"path"
	"strings"
)

// files are the page: HTML, style and scripts as they are written, and uPlot for
// the charts (see page/uplot.md). Nothing is built and nothing is fetched from
// elsewhere.
//
//go:embed page
var files embed.FS

// pagePolicy lets the page load what this server has, and nothing else. Scripts
// and styles in the text itself do not run.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func addPage(mux *http.ServeMux) {
	mux.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) {
		servePage(w, r.PathValue("file"))
	})
}

// wantsPage says whether a browser asks: it prefers HTML by name.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

func servePage(w http.ResponseWriter, name string) {
	content, err := files.ReadFile("page/" + name)
	if err != nil {
		text(w, http.StatusNotFound, "there is no such file\n")
		return
	}
	h := w.Header()
	kind := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // whatever the machine's own table says
	case ".js":
		kind = "text/javascript; charset=utf-8"
	case ".md", ".LICENSE":
		kind = "text/plain; charset=utf-8"
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Vary", "Accept")
	_, _ = w.Write(content) // it fails only if the reader has left
}
