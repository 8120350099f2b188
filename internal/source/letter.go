package source

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Letter is a dead letter: a message that could not be done, and why.
type Letter struct {
	ID     string
	Source string
	Reason string
	End    End
	Body   []byte   // of the message
	Fields []string // as in Message

	Ref string // how the queue knows it; not written
	Raw []byte // as it stands in the queue; not written
}

// Text is JSON of bytes: a string, or {"base64": "…"} if they are not UTF-8.
type Text []byte

// MarshalJSON is as in json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	if text, ok := plain(string(t)); ok {
		return []byte(text), nil
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(t)})
}

// UnmarshalJSON is as in json.Unmarshaler.
func (t *Text) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*t = []byte(text)
		return nil
	}
	var coded struct {
		Base64 *[]byte `json:"base64"`
	}
	if err := json.Unmarshal(data, &coded); err != nil || coded.Base64 == nil {
		return errors.New(`want text or {"base64": "…"}`)
	}
	*t = *coded.Base64
	return nil
}

// plain writes text as JSON, with <, > and & as they are; ok is false if it is not
// UTF-8, and then something of it is lost.
func plain(text string) (quoted string, ok bool) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // it fails for no string
	return strings.TrimSuffix(b.String(), "\n"), utf8.ValidString(text)
}

// answer is what is written of an upstream's answer. Its body is JSON if it is
// JSON, a string if it is text, and else in BodyBase64.
type answer struct {
	Status      int             `json:"status,omitempty"`
	ContentType string          `json:"content_type,omitempty"`
	Body        json.RawMessage `json:"body,omitempty"`
	BodyBase64  []byte          `json:"body_base64,omitempty"`
	Attempts    int             `json:"attempts"`
}

func answerOf(e End) answer {
	a := answer{Status: e.Status, ContentType: e.ContentType, Attempts: e.Attempts}
	text, ok := plain(string(e.Body))
	switch {
	case e.Status == 0:
	case !ok:
		a.BodyBase64 = e.Body
	case json.Valid(e.Body):
		a.Body = e.Body
	default:
		a.Body = json.RawMessage(text)
	}
	return a
}

// WriteResult returns what is written of a message that was done.
func WriteResult(m Message, e End) []byte {
	return write(struct {
		ID string `json:"id"`
		answer
		EndedAt time.Time `json:"ended_at"`
	}{m.ID, answerOf(e), e.At.UTC()})
}

// letter is a Letter as it is written.
type letter struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	Reason string `json:"reason"`
	answer
	At      time.Time `json:"at"`
	Message Text      `json:"message,omitempty"`
	Fields  []Text    `json:"fields,omitempty"`
}

// WriteLetter returns what is written of a message of a source that is dead.
func WriteLetter(source string, m Message, e End) []byte {
	l := letter{ID: m.ID, Source: source, Reason: e.Dead, answer: answerOf(e), At: e.At.UTC()}
	if m.Fields == nil {
		l.Message = m.Body
	}
	for _, f := range m.Fields {
		l.Fields = append(l.Fields, Text(f))
	}
	return write(l)
}

// ReadLetter reads what WriteLetter wrote.
func ReadLetter(raw []byte) (Letter, error) {
	var l letter
	if err := json.Unmarshal(raw, &l); err != nil {
		return Letter{}, fmt.Errorf("not a dead letter: %w", err)
	}
	if l.ID == "" || len(l.Fields)%2 != 0 {
		return Letter{}, errors.New("not a dead letter: it has no id, or not a value for each field")
	}
	read := Letter{
		ID: l.ID, Source: l.Source, Reason: l.Reason, Body: l.Message, Raw: raw,
		End: End{Dead: l.Reason, Status: l.Status, ContentType: l.ContentType, Body: l.answer.text(), Attempts: l.Attempts, At: l.At},
	}
	for _, f := range l.Fields {
		read.Fields = append(read.Fields, string(f))
	}
	if read.Fields != nil {
		read.Body = BodyOf(read.Fields)
	}
	return read, nil
}

// text returns the body, but for what JSON may write in several ways.
func (a answer) text() []byte {
	var text string
	switch {
	case a.BodyBase64 != nil:
		return a.BodyBase64
	case json.Unmarshal(a.Body, &text) == nil:
		return []byte(text)
	}
	return a.Body
}

// Matches says whether a letter has text in its ID, reason or message, in capitals
// or not.
func (l *Letter) Matches(text string) bool {
	text = strings.ToLower(text)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return has(l.ID) || has(l.Reason) || has(string(l.Body))
}

func write(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("source: " + err.Error()) // all of it can be written
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}
