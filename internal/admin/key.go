package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Change is something that somebody had done by the admin plane, or tried to.
type Change struct {
	Request string // method, path and query
	Detail  string // of its body, "" if it has none
	From    string // address
	Err     error  // why it was not done, or not all of it
}

var (
	errNoKey    = errors.New("changes need the admin key here: send Authorization: Bearer hg_… (headgate jobs: --key or HEADGATE_ADMIN_KEY)")
	errWrongKey = errors.New("this is not the admin key: admin_key in the configuration holds the hash of another one")
	errKeyless  = errors.New("nothing can be changed here: the listener is not on a loopback address and has no admin_key; make one with headgate key --name admin, and put its hash into the configuration")
)

// SetKey puts another hash of the admin key in force: "sha256:" and the SHA-256
// of a key in hexadecimal; "" for none.
func (a *Admin) SetKey(hash string) { a.key.Store(&hash) }

// mayChange says whether a request may change something: with the key if there
// is one, and without only on a loopback address.
func (a *Admin) mayChange(r *http.Request) error {
	hash := *a.key.Load()
	if hash == "" {
		if isLoopback(a.options.Listen) {
			return nil
		}
		return errKeyless
	}
	key, ok := bearer(r.Header)
	if !ok {
		return errNoKey
	}
	sum := sha256.Sum256([]byte(key))
	if subtle.ConstantTimeCompare([]byte("sha256:"+hex.EncodeToString(sum[:])), []byte(hash)) == 0 {
		return errWrongKey
	}
	return nil
}

// bearer returns the token of Authorization (RFC 6750, section 2.1).
func bearer(h http.Header) (string, bool) {
	const scheme = "Bearer "
	v := h.Get("Authorization")
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimSpace(v[len(scheme):]), true
}

// isLoopback reports whether only this machine reaches an address to listen on.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		host = listen
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// changing is a handler of requests that change something. Each is told of once.
func (a *Admin) changing(do func(w http.ResponseWriter, r *http.Request) (detail string, err error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := a.mayChange(r); err != nil {
			return err
		}
		detail, err := do(w, r)
		c := Change{Request: clip(r.Method + " " + r.URL.RequestURI()), Detail: detail, From: r.RemoteAddr, Err: err}
		a.options.Feed.changed(c)
		if a.options.Changed != nil {
			a.options.Changed(c)
		}
		return err
	}
}

// endpoints adds handlers whose errors are answered as problems.
func endpoints(mux *http.ServeMux, all map[string]func(http.ResponseWriter, *http.Request) error) {
	for pattern, do := range all {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(w, r); err != nil {
				writeProblem(w, err)
			}
		})
	}
}
