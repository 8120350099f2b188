// Package tokens weighs calls to models: what one will take of a limit on
// tokens, estimated before it is sent, and what it took, read from its answer.
//
// Where requests and answers write of tokens is the business of package
// dialect. Whoever holds the limit charges the estimate, clamps it to what the
// limit can ever give, and settles the charge with what the answer told.
//
// Bodies are foreign and may be of any size. They are looked at as they pass,
// and none is kept.
package tokens

import (
	"strings"

	"github.com/headgate/headgate/internal/dialect"
)

// lookAt bounds what is looked at of a request, in bytes: a millisecond's work.
const lookAt = 1 << 20

// Ask is what a request tells of the weight of its call.
type Ask struct {
	Model string // "" if it names none; foreign text of up to 128 bytes

	// Bytes is the size of the body, of which embedded files count for 4 KiB
	// each at most: an image's tokens have little to do with its bytes. If only
	// the beginning of a body was at hand, add the rest.
	Bytes int64

	Cap     int64 // the most tokens that one answer may have; 0 if not limited
	Answers int64 // how many answers are asked for; 1 or more
	Stream  bool  // the answer will come in pieces
	// StreamTells is whether a stream will tell its tokens, as far as a request
	// can ask for that. Some tell unasked.
	StreamTells bool
}

// Spent is what an answer told of the weight of its call. Input and Output add
// up to Total. If it is not Known, they are what was told before the answer
// broke off: the call took at least that much.
type Spent struct {
	Input  int64 // tokens of the prompt that count
	Output int64 // all others: the answer's, and those of its reasoning
	Total  int64
	Known  bool
}

// Estimator estimates the weights of calls to one upstream and learns from what
// its answers tell. Estimate and Learn are for one goroutine at a time; Request
// and Reader may be called by many, whatever else goes on.
type Estimator struct {
	usage           dialect.Usage
	request, answer *node // immutable

	models map[string]*model
	turn   int64 // counts what was asked of the models, to tell which was used last
}

// New returns an estimator that knows where requests and answers write of
// tokens, and nothing of any model.
func New(u dialect.Usage) *Estimator {
	return &Estimator{
		usage:   u,
		request: requestPaths(u),
		answer:  answerPaths(u),
		models:  make(map[string]*model),
	}
}

// Request reads what a request tells of the weight of its call. Of a body of
// more than 1 MiB it looks at the first, and takes the rest for more of the
// same. A body that is not JSON tells its size alone.
func (e *Estimator) Request(body []byte, path string) Ask {
	s := scanner{root: e.request}
	seen := body[:min(len(body), lookAt)]
	s.next(seen)
	a := Ask{
		Model:       s.model,
		Bytes:       int64(len(body)) - s.spare,
		Cap:         s.values[capSlot].n,
		Answers:     max(s.values[answersSlot].n, 1),
		Stream:      s.values[streamSlot].n != 0 || streams(path),
		StreamTells: e.usage.StreamAsk == "" || s.values[streamAskSlot].n != 0,
	}
	if s.inBlob() {
		a.Bytes = int64(len(seen)) - s.spare - s.length + blobBytes
	}
	if a.Model == "" {
		a.Model = dialect.PathModel(path)
		a.Model = strings.Clone(a.Model[:min(len(a.Model), maxText)])
	}
	return a
}

// streams reports whether a path asks for a stream, as those of Gemini
// (models/x:streamGenerateContent) and Bedrock (converse-stream) do.
func streams(path string) bool {
	method := path[strings.LastIndexAny(path, "/:")+1:]
	return strings.HasPrefix(method, "stream") || strings.HasSuffix(method, "-stream")
}

// Estimate returns the tokens, 1 or more, that a call is expected to take: its
// prompt at the rate that the model's prompts had of late, and its answers at
// the length that those to calls with a like cap had, but not above the cap. Of
// many calls the estimates add up to somewhat more than what they take; a single
// one may take several times as much.
func (e *Estimator) Estimate(a Ask) int64 {
	m, ok := e.models[a.Model]
	if !ok {
		return fresh.estimate(a)
	}
	e.turn++
	m.used = e.turn
	return m.estimate(a)
}

// Learn takes in what the answer told of a call; nothing if that is not Known.
func (e *Estimator) Learn(a Ask, s Spent) {
	if !s.Known {
		return
	}
	m, ok := e.models[a.Model]
	if !ok {
		if len(e.models) == maxModels {
			e.forget()
		}
		known := fresh
		m = &known
		e.models[a.Model] = m
	}
	e.turn++
	m.used = e.turn
	m.learn(a, s)
}

// maxModels bounds what is remembered: names of models are foreign words.
const maxModels = 256

// forget drops the model that was not used for the longest time.
func (e *Estimator) forget() {
	oldest, least := "", e.turn+1
	for name, m := range e.models {
		if m.used < least {
			oldest, least = name, m.used
		}
	}
	delete(e.models, oldest)
}
