package tokens

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestRequestReadsWhatBodiesAskFor(t *testing.T) {
	for _, c := range []struct {
		dialect, path, body string
		want                Ask
	}{
		{"openai", "/v1/chat/completions", `{"messages":[{"role":"user","content":"\"model\":\"no\""}],"model":"gpt-4o","n":3,"max_tokens":50,"max_completion_tokens":20}`,
			Ask{Model: "gpt-4o", Cap: 50, Answers: 3}},
		{"openai", "/v1/chat/completions", `{"stream":true,"stream_options":{"include_usage":true},"model":"openai\/gpt"}`,
			Ask{Model: "openai/gpt", Answers: 1, Stream: true, StreamTells: true}},
		{"openai", "/v1/chat/completions", `{"stream" : true , "stream_options": null, "model": null, "max_tokens": null, "n": 0}`,
			Ask{Answers: 1, Stream: true}},
		{"openai", "/v1/responses", `{"model":"a","model":"b","max_output_tokens":-1,"metadata":{"max_tokens":9}}`,
			Ask{Model: "b", Answers: 1}},
		{"azure-openai", "/openai/deployments/mine/chat/completions", `{"max_tokens":7}`,
			Ask{Model: "mine", Cap: 7, Answers: 1}},
		{"anthropic", "/v1/messages", `{"model":"claude-sonnet-4","max_tokens":1024,"stream":true}`,
			Ask{Model: "claude-sonnet-4", Cap: 1024, Answers: 1, Stream: true, StreamTells: true}},
		{"gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", `{"generationConfig":{"maxOutputTokens":100,"candidateCount":2},"contents":[]}`,
			Ask{Model: "gemini-2.5-flash", Cap: 100, Answers: 2, Stream: true, StreamTells: true}},
		{"gemini", "/v1beta/models/gemini-2.5-flash:generateContent", `{}`,
			Ask{Model: "gemini-2.5-flash", Answers: 1, StreamTells: true}},
		{"bedrock", "/model/amazon.nova/converse-stream", `{"inferenceConfig":{"maxTokens":64}}`,
			Ask{Model: "amazon.nova", Cap: 64, Answers: 1, Stream: true, StreamTells: true}},
		{"openai", "/v1/files", `not JSON`, Ask{Answers: 1}},
		{"openai", "/v1/files", ``, Ask{Answers: 1}},
		{"openai", "/", `{"model":"` + strings.Repeat("x", 500) + `"}`, Ask{Model: strings.Repeat("x", 128), Answers: 1}},
	} {
		c.want.Bytes = int64(len(c.body))
		if got := estimator(t, c.dialect).Request([]byte(c.body), c.path); got != c.want {
			t.Errorf("%s %s %.80s = %+v, want %+v", c.dialect, c.path, c.body, got, c.want)
		}
	}
}

func TestRequestCountsEmbeddedFilesForLittle(t *testing.T) {
	image := strings.Repeat("iVBORw0KGgo/", 8<<10) // 96 KiB
	for _, c := range []struct {
		name, body string
		spare      int
	}{
		{"a data URL", `{"url":"data:image/png;base64,` + image + `==","model":"m"}`, 22 + 96<<10 + 2 - 4096},
		{"two files", `{"data":"` + image + `","more":["` + image + `"]}`, 2 * (96<<10 - 4096)},
		{"a small one", `{"data":"` + image[:4096] + `"}`, 0},
		{"text", `{"text":"` + strings.Repeat("words and ", 1000) + `"}`, 0},
		{"a text that begins like a file", `{"text":"` + image + ` and words"}`, 0},
		{"text of another script", `{"text":"` + strings.Repeat("文字", 5000) + `"}`, 0},
		{"escaped text of another script", `{"text":"` + strings.Repeat(`\u6587`, 5000) + `"}`, 0},
	} {
		if got, want := estimator(t, "openai").Request([]byte(c.body), "/").Bytes, int64(len(c.body)-c.spare); got != want {
			t.Errorf("%s: %d bytes count of %d, want %d", c.name, got, len(c.body), want)
		}
	}
}

func TestRequestLooksAtTheFirstMiB(t *testing.T) {
	e := estimator(t, "openai")
	text := `{"model":"m","text":"` + strings.Repeat("a word ", 300<<10) + `","max_tokens":5}`
	if got, want := e.Request([]byte(text), "/"), (Ask{Model: "m", Bytes: int64(len(text)), Answers: 1}); got != want {
		t.Errorf("text of 2.1 MiB = %+v, want %+v", got, want)
	}
	file := `{"model":"m","data":"` + strings.Repeat("abcd", 500<<10)
	if got := e.Request([]byte(file), "/").Bytes; got != 21+4096 {
		t.Errorf("a file of 2 MiB: %d bytes count, want %d", got, 21+4096)
	}
}

func TestRequestAllocatesForTheModelAlone(t *testing.T) {
	e := estimator(t, "openai")
	body := []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"max_tokens":100,"stream":true,"n":1}`)
	if n := testing.AllocsPerRun(100, func() { e.Request(body, "/v1/chat/completions") }); n > 1 {
		t.Errorf("Request allocates %v times, want 1", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	e := estimator(b, "openai")
	body := []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("some words ", 400) + `"}],"max_tokens":100}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		e.Request(body, "/v1/chat/completions")
	}
}

func TestEstimateOfTheUnknown(t *testing.T) {
	for _, c := range []struct {
		ask  Ask
		want int64
	}{
		{Ask{}, 512},
		{Ask{Bytes: 400}, 612},
		{Ask{Bytes: 401, Cap: 100}, 201},
		{Ask{Bytes: 400, Cap: 100, Answers: 3}, 400},
		{Ask{Bytes: 400, Cap: 100_000}, 612},
		{Ask{Cap: 1, Bytes: -5}, 1},
		{Ask{Cap: 1 << 62, Answers: 1 << 62, Bytes: 1 << 62}, maxWeight},
	} {
		if got := estimator(t, "openai").Estimate(c.ask); got != c.want {
			t.Errorf("Estimate(%+v) = %d, want %d", c.ask, got, c.want)
		}
	}
}

func TestEstimateLearnsByModelAndCap(t *testing.T) {
	e := estimator(t, "openai")
	word, essay, other := Ask{Model: "m", Bytes: 3000, Cap: 16}, Ask{Model: "m", Bytes: 3000, Cap: 4096}, Ask{Model: "n", Bytes: 3000, Cap: 4096}
	for range 200 {
		e.Learn(word, Spent{1000, 2, 1002, true})
		e.Learn(essay, Spent{1000, 700, 1700, true})
		e.Learn(other, Spent{500, 40, 540, false}) // not known to be all
	}
	within(t, "a word", e.Estimate(word), 1002, 1)
	within(t, "an essay", e.Estimate(essay), 1700, 1)
	within(t, "two essays", e.Estimate(Ask{Model: "m", Bytes: 3000, Cap: 4096, Answers: 2}), 2400, 1)
	within(t, "under a cap", e.Estimate(Ask{Model: "m", Bytes: 3000, Cap: 9}), 1009, 1)
	within(t, "another model", e.Estimate(other), 750+512, 0)
}

func within(t *testing.T, what string, got, want int64, percent float64) {
	t.Helper()
	if math.Abs(float64(got-want)) > float64(want)*percent/100 {
		t.Errorf("%s: estimate %d, want %d ± %g %%", what, got, want, percent)
	}
}

func TestEstimatorForgetsModelsNotUsed(t *testing.T) {
	e := estimator(t, "openai")
	kept := Ask{Model: "kept", Cap: 1000}
	e.Learn(kept, Spent{0, 7, 7, true})
	want := e.Estimate(kept)
	for i := range 5000 {
		e.Learn(Ask{Model: fmt.Sprint(i), Bytes: 100}, Spent{50, 50, 100, true})
		if got := e.Estimate(kept); got != want {
			t.Fatalf("after %d other models a model in use is estimated %d, want %d", i, got, want)
		}
	}
	if len(e.models) != maxModels {
		t.Errorf("remembers %d models, want %d", len(e.models), maxModels)
	}
}

// TestEstimatesAddUp runs calls of models whose answers are drawn at random, 40
// in flight, so that each is learned of late. Of many calls the estimates must
// add up to what was taken: never 2 % less, nor 10 % more.
func TestEstimatesAddUp(t *testing.T) {
	lognormal := func(r *rand.Rand, mean, spread float64) float64 {
		return mean * math.Exp(spread*r.NormFloat64()-spread*spread/2)
	}
	caps := func(c ...int64) func(*rand.Rand) int64 {
		return func(r *rand.Rand) int64 { return c[r.IntN(len(c))] }
	}
	for _, c := range []struct {
		name        string
		bytes, long float64 // means: of the body; of tokens of an answer that no cap cuts
		perToken    float64 // bytes
		spread      float64 // of answers: the deviation of their logarithm
		cap         func(*rand.Rand) int64
	}{
		{"short prompts, no caps", 600, 250, 4.6, 0.5, caps(0)},
		{"caps far too high", 1200, 300, 3.8, 0.6, caps(4096, 8192)},
		{"caps that cut half", 2000, 300, 3.2, 0.8, caps(250)},
		{"caps of two kinds", 1500, 600, 4.2, 0.6, caps(8, 2048)},
		{"caps of all kinds", 1500, 600, 4.2, 0.8, caps(8, 30, 100, 300, 700, 1000, 3000)},
		{"long prompts of code", 40_000, 900, 2.9, 0.7, caps(0, 16_000)},
		{"another script", 900, 400, 2.1, 0.5, caps(1000)},
		{"embeddings", 3000, 0, 4.3, 0, caps(0)},
	} {
		var estimates, real float64
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 4))
			e := estimator(t, "openai")
			type call struct {
				ask   Ask
				spent Spent
			}
			var flight []call
			for i := range 1000 {
				a := Ask{Model: "m", Bytes: int64(100 + lognormal(r, c.bytes-100, 0.8)), Cap: c.cap(r), Answers: 1}
				output := int64(lognormal(r, c.long, c.spread))
				if a.Cap > 0 {
					output = min(output, a.Cap)
				}
				input := int64(max(8, float64(a.Bytes-80)/lognormal(r, c.perToken, 0.1)))
				if i >= 50+40 {
					estimates += float64(e.Estimate(a))
					real += float64(input + output)
				}
				flight = append(flight, call{a, Spent{input, output, input + output, true}})
				if len(flight) > 40 {
					n := r.IntN(len(flight))
					if done := flight[n]; r.IntN(3) > 0 { // a third streams and tells nothing
						e.Learn(done.ask, done.spent)
					}
					flight[n] = flight[len(flight)-1]
					flight = flight[:len(flight)-1]
				}
			}
		}
		ratio := estimates / real
		t.Logf("%s: estimated %.1f %%", c.name, 100*ratio)
		if ratio < 0.98 || ratio > 1.10 {
			t.Errorf("%s: estimated %.1f %% of what was taken, want 98 to 110", c.name, 100*ratio)
		}
	}
}

func TestEstimateFollowsAModelThatChanges(t *testing.T) {
	e, a := estimator(t, "openai"), Ask{Model: "m", Bytes: 1000, Cap: 8192}
	for _, output := range []int64{200, 2000, 100} {
		for range 5 * window {
			e.Learn(a, Spent{250, output, 250 + output, true})
		}
		within(t, fmt.Sprintf("answers of %d", output), e.Estimate(a), 250+output, 20)
	}
}
