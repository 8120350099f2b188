package headgate

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
)

func TestCallerHearsOfItsOwnCallsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := Transport(Base(&fake{answer: sequence(503, 200)}))
		var heard []string
		events := &Events{
			Waited:       func(Waited) { heard = append(heard, "waited") },
			AttemptEnded: func(x AttemptEnded) { heard = append(heard, http.StatusText(x.Status)) },
			Retried:      func(Retried) { heard = append(heard, "retried") },
			CallEnded:    func(x CallEnded) { heard = append(heard, x.Outcome) },
		}
		for _, c := range []Caller{{Name: "own", Events: events}, {Name: "other"}} {
			resp, err := rt.RoundTrip(request(WithCaller(t.Context(), c), "GET", "http://upstream.test/", ""))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		want := []string{"waited", "Service Unavailable", "retried", "waited", "OK", "ok"}
		if !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
	})
}
