// Package source is a queue that already exists, as seen by who drains it: its
// messages, what becomes of them, the queue itself, and the template that makes a
// call of a message.
//
// A message is in exactly one place: in the queue, with who holds it, among the
// results or among the dead. It goes from one to the next in one step, so that
// nothing is lost whoever dies. Package redisstore has queues in Redis; package
// worker runs their messages.
package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// LeaseFor is how long what somebody has taken stays its own without a word of
// it.
const LeaseFor = 3 * time.Second

// MostLosses is how often a message may be lost with its holder. One that is lost
// so often may be what the holders die of, and is dead.
const MostLosses = 10

var (
	// ErrGone is returned to who does not hold a message any more: its lease
	// lapsed, and another has taken what it held.
	ErrGone = errors.New("the message is held by somebody else, or by nobody")

	// ErrNoLetter is returned for a dead letter that there is not, or not any
	// more.
	ErrNoLetter = errors.New("there is no such dead letter")
)

// Message is one message of a queue.
type Message struct {
	ID     string   // as results and dead letters name it; see IDOf
	Own    bool     // the message or its queue says the ID: nothing else has it
	Body   []byte   // as it stands in a list; see BodyOf for streams
	Ref    string   // how the queue knows it
	Fields []string // of an entry of a stream, names and values in turn; nil: there are none
	Losses int      // how often it was lost with its holder
}

// idMost is how long an ID may be, in bytes.
const idMost = 256

// IDOf returns the ID of a message that has none from its queue: the field id of
// its JSON if that is a text or a number of at most 256 bytes; else what begins the SHA-256 of the
// message, so that whoever wrote it can know it. own says which.
func IDOf(body []byte) (id string, own bool) {
	var m struct {
		ID json.RawMessage `json:"id"`
	}
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) > 0 && first[0] == '{' && json.Unmarshal(body, &m) == nil && len(m.ID) > 0 {
		var text string
		if json.Unmarshal(m.ID, &text) == nil && text != "" && len(text) <= idMost {
			return text, true
		}
		if c := m.ID[0]; (c == '-' || c >= '0' && c <= '9') && len(m.ID) <= idMost {
			return string(m.ID), true
		}
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16]), false
}

// BodyOf returns what .Message is of an entry with these fields: the value of the
// only one, or all of them as a JSON object.
func BodyOf(fields []string) []byte {
	if len(fields) == 2 {
		return []byte(fields[1])
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i := 0; i+1 < len(fields); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := plain(fields[i])
		value, _ := plain(fields[i+1])
		b.WriteString(name + ":" + value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// decode reads JSON; numbers keep their digits.
func decode(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the JSON value")
	}
	return v, nil
}

// End is what became of a message.
type End struct {
	Dead        string // why it could not be done; "": it was
	Status      int    // of the upstream's answer; 0: there was none
	ContentType string
	Body        []byte
	Attempts    int
	At          time.Time
}

// Queue is a queue to who drains it. Its methods may be called by many goroutines
// at once.
type Queue interface {
	// Take has the caller hold up to n messages, those first that are next.
	// They are its own as long as it keeps its lease.
	Take(ctx context.Context, n int) ([]Message, error)

	// End lets go of a message, and in the same step writes its result or its
	// dead letter. The error is ErrGone if the caller does not hold it.
	End(ctx context.Context, m Message, e End) error

	// Back has messages wait again, before all others. Those that the caller
	// does not hold are passed over.
	Back(ctx context.Context, messages []Message) error

	// Keep renews the lease, and has wait again what others held whose lease
	// has lapsed. The error is ErrGone if the caller's was one of these: all
	// that it had taken before is another's.
	Keep(ctx context.Context) error

	// Waiting returns how many messages wait to be taken; -1: the server cannot
	// tell.
	Waiting(ctx context.Context) (int64, error)

	// Close lets go of the queue, and not of what is held. It may be called
	// twice.
	Close() error
}

// Letters is where dead letters are, to who looks after them.
type Letters interface {
	// Letters calls f with each dead letter, latest first where the queue
	// knows, until f returns false. f may revive and purge them.
	Letters(ctx context.Context, f func(Letter) bool) error

	// Revive has the message of a letter wait again, behind all others, and
	// removes the letter. The error is ErrNoLetter if it is gone.
	Revive(ctx context.Context, l Letter) error

	// Purge removes a letter. The error is ErrNoLetter if it is gone.
	Purge(ctx context.Context, l Letter) error
}

// Status is how a source stands, as users read it.
type Status struct {
	Name     string `json:"name"`
	Upstream string `json:"upstream"`
	Waiting  int64  `json:"waiting"`         // in the queue; -1: unknown
	Running  int64  `json:"running"`         // held by this instance
	Done     int64  `json:"done"`            // by this instance, since it started
	Dead     int64  `json:"dead"`            // the same
	Fault    string `json:"fault,omitempty"` // why nothing is taken or written now
}
