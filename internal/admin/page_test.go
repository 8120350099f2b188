package admin

import (
	"strings"
	"testing"
)

func TestBrowsersGetThePage(t *testing.T) {
	a := newAdmin("127.0.0.1:1")
	w := send(a, "GET", "/", "", "Accept", "text/html,application/xhtml+xml;q=0.9")
	if body := w.Body.String(); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(body, "<!doctype html>") {
		t.Fatalf("/ for a browser = %s %.80s, want HTML", w.Header().Get("Content-Type"), body)
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy = %s, want scripts of this server alone", policy)
	}
	if w := send(a, "GET", "/", "", "Accept", "*/*"); !strings.HasPrefix(w.Body.String(), "Headgate 1.2.3") {
		t.Errorf("/ for curl = %.80s, want the text", w.Body)
	}
	for name, kind := range map[string]string{"main.js": "text/javascript; charset=utf-8", "page.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml", "uplot.LICENSE": "text/plain; charset=utf-8"} {
		if w := get(a, "/page/"+name); w.Code != 200 || w.Header().Get("Content-Type") != kind {
			t.Errorf("/page/%s = %d %s, want 200 %s", name, w.Code, w.Header().Get("Content-Type"), kind)
		}
	}
	for _, name := range []string{"nope.js", "..%2fpage.go", ""} {
		if w := get(a, "/page/"+name); w.Code != 404 {
			t.Errorf("/page/%s = %d, want 404", name, w.Code)
		}
	}
}
