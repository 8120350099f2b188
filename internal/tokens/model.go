package tokens

import (
	"math"
	"math/bits"
)

const (
	// window is over how many calls a model is remembered: older ones fade. With
	// 64, the margin on a mean is an eighth of the deviation.
	window = 64

	// Before anything is known a token is 4 bytes of the prompt. That counts for
	// as much as a prompt of 1 KiB.
	startBytes, startTokens = 1024, 256

	// startOutput is what an answer is taken to have before one was seen, unless
	// the cap is lower.
	startOutput = 512

	maxAnswers = 1024              // no vendor gives more
	maxWeight  = 1_000_000_000_000 // no estimate is above
)

// model is what was learned of one model.
type model struct {
	used int64 // the estimator's turn when it was last asked for

	// Faded sums over its calls. Their ratio errs in neither direction over many
	// calls; the mean of the ratios would be that of the short prompts.
	bytes, tokens float64

	// Tokens per answer, by the class of the call's cap: who asks for a word and
	// who asks for an essay get answers of other lengths from the same model.
	outputs [capClasses]average
}

// fresh is a model of which nothing is known.
var fresh = model{bytes: startBytes, tokens: startTokens}

func (m *model) estimate(a Ask) int64 {
	output, known := m.outputs[capClass(a.Cap)].upper()
	if !known {
		output = startOutput
	}
	if a.Cap > 0 {
		output = min(output, float64(a.Cap))
	}
	sum := max(float64(a.Bytes), 0)*m.tokens/m.bytes + output*float64(answers(a))
	return int64(math.Ceil(min(max(sum, 1), maxWeight)))
}

func (m *model) learn(a Ask, s Spent) {
	if a.Bytes > 0 {
		m.bytes += float64(a.Bytes) - m.bytes/window
		m.tokens += float64(s.Input) - m.tokens/window
	}
	m.outputs[capClass(a.Cap)].learn(float64(s.Output) / float64(answers(a)))
}

func answers(a Ask) int64 { return min(max(a.Answers, 1), maxAnswers) }

const capClasses = 10

// capClass tells caps apart by powers of 4: 0 is none, 1 is 1 to 3, 2 is 4 to
// 15, and the last is 65536 and above.
func capClass(limit int64) int {
	if limit <= 0 {
		return 0
	}
	return min((bits.Len64(uint64(limit))+1)/2, capClasses-1)
}

// average is a fading mean with its mean deviation.
type average struct {
	n         float64 // values it rests on; at most window
	mean, dev float64
}

func (v *average) learn(x float64) {
	if v.n == 0 {
		*v = average{1, x, x / 2} // one value shows no deviation: half of it is assumed
		return
	}
	v.n = min(v.n+1, window)
	d := x - v.mean
	v.mean += d / v.n
	v.dev += (math.Abs(d) - v.dev) / v.n
}

// upper returns the mean with a margin for how little it rests on, so that it is
// rarely below the mean of all values to come. known is false before the first.
func (v *average) upper() (mean float64, known bool) {
	if v.n == 0 {
		return 0, false
	}
	return v.mean + v.dev/math.Sqrt(v.n), true
}
