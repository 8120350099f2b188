package retry

import "testing"

func TestMethodsAllow(t *testing.T) {
	idempotent := []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", ""}
	others := []string{"POST", "PATCH", "CONNECT", "PROPFIND", "get"}
	for _, tt := range []struct {
		name    string
		methods Methods
		kind    Kind
		// allowed: idempotent methods, others, others with an Idempotency-Key
		idempotent, others, keyed bool
	}{
		{"safe, throttled", Safe, Throttled, true, true, true},
		{"safe, overloaded", Safe, Overloaded, true, false, true},
		{"safe, unsent", Safe, Unsent, true, true, true},
		{"any, throttled", Any, Throttled, true, true, true},
		{"any, overloaded", Any, Overloaded, true, true, true},
		{"any, unsent", Any, Unsent, true, true, true},
		{"idempotent, throttled", Idempotent, Throttled, true, true, true},
		{"idempotent, overloaded", Idempotent, Overloaded, true, false, true},
		{"idempotent, unsent", Idempotent, Unsent, true, true, true},
		{"never, throttled", Never, Throttled, false, false, false},
		{"never, overloaded", Never, Overloaded, false, false, false},
		{"never, unsent", Never, Unsent, false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check := func(method string, hasKey, want bool) {
				t.Helper()
				if got := tt.methods.Allows(tt.kind, method, hasKey); got != want {
					t.Errorf("%q, key %v: allowed = %v, want %v", method, hasKey, got, want)
				}
			}
			for _, method := range idempotent {
				check(method, false, tt.idempotent)
				check(method, true, tt.idempotent)
			}
			for _, method := range others {
				check(method, false, tt.others)
				check(method, true, tt.keyed)
			}
		})
	}
}

func TestZeroMethodsAreSafe(t *testing.T) {
	var m Methods
	if m != Safe {
		t.Errorf("zero Methods = %d, want Safe", m)
	}
}
