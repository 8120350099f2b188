package tokens

import (
	"net/http"
	"strings"
)

// Reader reads what an answer tells of tokens while it passes: a JSON document,
// several on end or in an array, server-sent events, or the event stream of AWS.
// It keeps none of it, takes less than a KiB, and is for one goroutine at a
// time.
type Reader struct {
	kind    bodyKind
	sent    sentEvents
	aws     awsEvents
	wrap    wrapping // of the AWS event
	scanner scanner

	head  bool // the header told all
	told  [slots]value
	error bool // an event was an error
	done  int  // bytes of doneMark that the event's data began with; -1 if it has others
	last  bool // doneMark came
}

// bodyKind is how a body holds documents.
type bodyKind uint8

const (
	unreadable bodyKind = iota // compressed, or no text
	documents
	sentEventStream
	awsEventStream
)

// doneMark is the data by which OpenAI and those who speak like it end streams.
const doneMark = "[DONE]"

// Reader returns a reader for an answer with header h. Of a compressed body, and
// of one that is neither JSON nor a stream of events, it reads nothing.
func (e *Estimator) Reader(h http.Header) *Reader {
	r := &Reader{kind: kindOf(h), scanner: scanner{root: e.answer}}
	input := r.field(inputSlot, h, e.usage.InputFields)
	output := r.field(outputSlot, h, e.usage.OutputFields)
	r.head = input && output
	return r
}

func (r *Reader) field(to slot, h http.Header, names []string) (ok bool) {
	for _, name := range names {
		if n, ok := count([]byte(strings.TrimSpace(h.Get(name)))); ok {
			r.told[to] = value{1, n}
			return true
		}
	}
	return false
}

func kindOf(h http.Header) bodyKind {
	if c := h.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return unreadable
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "text/event-stream":
		return sentEventStream
	case kind == "application/vnd.amazon.eventstream":
		return awsEventStream
	case kind == "" || strings.Contains(kind, "json"):
		return documents
	default:
		return unreadable
	}
}

// Feed takes the next bytes of the body in, and does not keep them.
func (r *Reader) Feed(p []byte) {
	switch r.kind {
	case documents:
		r.scan(p)
	case sentEventStream:
		for len(p) > 0 {
			data, n, ended := r.sent.next(p)
			p = p[n:]
			r.event(data, ended)
		}
	case awsEventStream:
		for len(p) > 0 {
			data, n, ended := r.aws.next(p)
			p = p[n:]
			r.wrapped(data)
			if ended {
				r.event(nil, true)
				r.wrap = wrapping{}
			}
		}
	}
}

// wrapped takes a piece of an AWS event's data in.
func (r *Reader) wrapped(data []byte) {
	var room [96]byte
	for len(data) > 0 {
		inner, n := r.wrap.next(data, room[:0])
		data = data[n:]
		r.event(inner, false)
	}
}

// event takes a piece of an event's data in. What the data leaves open its end
// closes.
func (r *Reader) event(data []byte, ended bool) {
	for _, c := range data {
		if r.done < 0 || r.done == len(doneMark) {
			break
		}
		if c != doneMark[r.done] {
			r.done = -1
			break
		}
		r.done++
	}
	r.last = r.last || r.done == len(doneMark)
	r.scan(data)
	if ended {
		r.done = 0
		r.scanner.reset()
	}
}

func (r *Reader) scan(p []byte) {
	for len(p) > 0 {
		n, ended := r.scanner.next(p)
		p = p[n:]
		if ended {
			r.document()
		}
	}
}

// document takes in what a document told, in place of what earlier ones did. A
// total holds until a document tells parts without one.
func (r *Reader) document() {
	v := &r.scanner.values
	if v[totalSlot].rank == 0 && (v[inputSlot].rank != 0 || v[outputSlot].rank != 0) {
		r.told[totalSlot] = value{}
	}
	for s := totalSlot; s <= outputSlot; s++ {
		if v[s].rank != 0 {
			r.told[s] = v[s]
		}
	}
	r.error = r.error || v[errorSlot].rank != 0
}

// End returns what the answer told. whole is whether its body was fed to its
// end: only then is a stream's last word known to be the last, unless a mark
// said so. A stream that ended in an error told nothing that is known to be all.
func (r *Reader) End(whole bool) Spent {
	if r.scanner.depth > 0 {
		r.document() // as far as it came
	}
	s := r.spent()
	switch r.kind {
	case unreadable:
		whole = false
	case documents:
		whole = whole || r.scanner.complete()
	default:
		whole = (whole || r.last) && !r.error
	}
	told := r.told[totalSlot].rank != 0 || r.told[inputSlot].rank != 0
	s.Known = told && (whole || r.head)
	return s
}

// spent makes the parts add up. A total counts for more than its parts: some of
// what it has is in neither, such as the thoughts of Gemini.
func (r *Reader) spent() Spent {
	total, input, output := r.told[totalSlot], r.told[inputSlot], r.told[outputSlot]
	input.n += r.told[moreSlot].n
	switch {
	case total.rank == 0:
		total.n = input.n + output.n
	case input.rank == 0:
		input.n = max(total.n-output.n, 0)
	default:
		input.n = min(input.n, total.n)
	}
	return Spent{Input: input.n, Output: total.n - input.n, Total: total.n}
}
