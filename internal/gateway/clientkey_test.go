package gateway

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestNewKeyHasItsForm(t *testing.T) {
	form := regexp.MustCompile(`^hg_[A-Za-z0-9_-]{43}$`)
	seen := make(map[string]bool)
	for range 100 {
		key, hash := NewKey()
		if !form.MatchString(key) || seen[key] {
			t.Fatalf("NewKey = %q, want a new one of the form %v", key, form)
		}
		seen[key] = true
		if hash != HashKey(key) || len(hash) != len("sha256:")+64 {
			t.Fatalf("NewKey = %q with hash %q, HashKey says %q", key, hash, HashKey(key))
		}
		if _, err := parseHash(hash); err != nil {
			t.Fatalf("parseHash(%q) = %v", hash, err)
		}
	}
}

func TestHashKeyIsSHA256(t *testing.T) {
	const want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of "abc": FIPS 180-2, appendix B.1
	if got := HashKey("abc"); got != want {
		t.Errorf("HashKey(abc) = %s, want %s", got, want)
	}
}

// FuzzTakeKeyLeavesNone sends no key of ours on, whatever stands around it.
func FuzzTakeKeyLeavesNone(f *testing.F) {
	f.Add("Bearer hg_a", "Basic x", "hg_b", "")
	f.Add("bearer  hg_a", "BEARER hg_", "sk", "hg_c")
	f.Add("Bearer", "Bearer ", "", "x")
	f.Fuzz(func(t *testing.T, auth1, auth2, api, own string) {
		h := http.Header{"Authorization": {auth1, auth2}, "X-Api-Key": {api}, "Headgate-Key": {own}}
		key := takeKey(h)
		if own != "" && key != own {
			t.Errorf("takeKey = %q, want that of Headgate-Key %q", key, own)
		}
		for _, v := range h["Authorization"] {
			if f := strings.Fields(v); len(f) == 2 && strings.EqualFold(f[0], "bearer") && strings.HasPrefix(f[1], "hg_") && !strings.ContainsAny(v, "\t\n\v\f\r\u0085\u00a0") {
				t.Errorf("Authorization: %q was left of %q, %q", v, auth1, auth2)
			}
		}
		for _, v := range h["X-Api-Key"] {
			if strings.HasPrefix(v, "hg_") {
				t.Errorf("X-Api-Key: %q was left", v)
			}
		}
		if _, ok := h["Headgate-Key"]; ok {
			t.Errorf("Headgate-Key was left")
		}
	})
}
