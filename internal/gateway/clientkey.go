package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const (
	keyPrefix  = "hg_"     // begins every client key
	hashPrefix = "sha256:" // begins the hash of one
)

// NewKey makes a client key: "hg_" and 43 characters of base64url, which are
// 256 random bits. hash is what the configuration file holds; the key itself
// is never stored.
func NewKey() (key, hash string) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	key = keyPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	return key, HashKey(key)
}

// HashKey returns "sha256:" and the SHA-256 of a key, in hexadecimal. A plain
// hash is enough: nobody can guess 256 random bits.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// parseHash reads what HashKey writes. The text is not repeated in the error:
// somebody may have put the key itself there.
func parseHash(text string) (hash [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil || len(raw) != len(hash) {
		return hash, fmt.Errorf("key: want %q and %d hexadecimal digits, as `headgate key` prints them", hashPrefix, 2*len(hash))
	}
	return [sha256.Size]byte(raw), nil
}

// takeKey returns the client key in h, "" if there is none, and removes every
// field that carries one, so that no key of ours reaches an upstream. The first
// of Headgate-Key, Authorization and x-api-key counts.
func takeKey(h http.Header) string {
	var key string
	if own := h["Headgate-Key"]; len(own) > 0 {
		key = own[0]
		delete(h, "Headgate-Key")
	}
	if bearer := takeKeyFrom(h, "Authorization", "Bearer "); key == "" {
		key = bearer
	}
	if api := takeKeyFrom(h, "X-Api-Key", ""); key == "" {
		key = api
	}
	return key
}

// takeKeyFrom returns the first key among the values of a field, and removes
// the values that are keys.
func takeKeyFrom(h http.Header, field, scheme string) string {
	values := h[field]
	var key string
	var keys int
	for _, v := range values {
		if k, ok := cutKey(v, scheme); ok {
			if keys++; keys == 1 {
				key = k
			}
		}
	}
	switch keys {
	case 0:
	case len(values):
		delete(h, field)
	default:
		h[field] = slices.DeleteFunc(values, func(v string) bool {
			_, ok := cutKey(v, scheme)
			return ok
		})
	}
	return key
}

// cutKey returns the key in a field's value, which follows a scheme in any
// case.
func cutKey(value, scheme string) (string, bool) {
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	key := strings.TrimLeft(value[len(scheme):], " ")
	return key, strings.HasPrefix(key, keyPrefix)
}
