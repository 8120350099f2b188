package job

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// idPrefix begins every ID, so that a path with one is known as ours.
const idPrefix = "job_"

// NewID returns the ID of a job that comes at a moment: job_ and a ULID, so
// that IDs sort by time and none can be guessed.
func NewID(now time.Time) string {
	return idPrefix + strings.ToLower(ulid.MustNew(ulid.Timestamp(now), rand.Reader).String())
}

// IsID says whether s has the form of an ID.
func IsID(s string) bool {
	rest, ok := strings.CutPrefix(s, idPrefix)
	if !ok || len(rest) != ulid.EncodedSize {
		return false
	}
	_, err := ulid.ParseStrict(strings.ToUpper(rest))
	return err == nil && rest == strings.ToLower(rest)
}

// Queue names the queue of calls to an upstream that a client made with a
// credential of its own, "" if the upstream has its own. The credential cannot
// be read from it.
func Queue(upstream, client, credential string) string {
	if credential != "" {
		sum := sha256.Sum256([]byte("headgate job queue\x00" + credential))
		credential = hex.EncodeToString(sum[:6])
	}
	return strings.Join([]string{upstream, client, credential}, "/")
}

// CallbackQueue names the queue of callbacks to a host: one that is dead holds
// up no other.
func CallbackQueue(host string) string { return "callback/" + host }

// Fingerprint tells calls apart that come with the same idempotency key.
func Fingerprint(upstream string, r Request) string {
	h := sha256.New()
	for _, part := range []string{upstream, r.Method, r.Path, r.Header.Get("Content-Type")} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write(r.Body)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
