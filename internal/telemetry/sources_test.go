package telemetry

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSourcesAreCountedAndToldOf(t *testing.T) {
	m := NewMetrics("v", "c")
	m.SourceCounted("reviews", "done", 2)
	m.SourceCounted("reviews", "done", 3)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if want := `headgate_source_messages_total{outcome="done",source="reviews"} 5`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("metrics lack %s", want)
	}
	var out strings.Builder
	l, err := NewLog(&out, "", "")
	if err != nil {
		t.Fatal(err)
	}
	l.SourceDied("reviews", "api", "m7", "400: bad", 400, 1)
	l.SourceChanged("reviews", errors.New("away"))
	l.SourceChanged("reviews", nil)
	for _, want := range []string{
		`level=WARN msg="dead letter" source=reviews upstream=api id=m7 reason="400: bad" status=400 attempts=1`,
		`level=ERROR msg="source halted" source=reviews reason=away`,
		`level=INFO msg="source goes on" source=reviews`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, out.String())
		}
	}
}
