package headgate

import (
	"io"
	"net/http"
	"sync"

	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/tokens"
)

// estimator learns what the calls to an upstream weigh in tokens.
type estimator struct {
	mu sync.Mutex
	e  *tokens.Estimator
}

// newEstimator returns one for a dialect, or for an upstream that is recognised
// by its host; for any other it reads what OpenAI's do, as most do.
func newEstimator(d dialect.Dialect, host string) *estimator {
	if d == nil {
		d = dialect.Detect(host, nil)
	}
	for _, name := range []string{d.Name(), "openai"} {
		if p, ok := dialect.PresetOf(name); ok && p.Usage != nil {
			return &estimator{e: tokens.New(*p.Usage)}
		}
	}
	return &estimator{e: tokens.New(dialect.Usage{})}
}

func (e *estimator) estimate(a tokens.Ask) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.e.Estimate(a)
}

func (e *estimator) learn(a tokens.Ask, s tokens.Spent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.e.Learn(a, s)
}

// looksAt bounds what is read of a request's body to estimate what it weighs.
const looksAt = 1 << 20

// spare is the part of an estimate that is charged on top until the answer has
// told: estimates are right in sum, and of the few calls in flight at a time the
// sum is not.
const spare = 4

// spend is what a call to a model asks for, and what it takes in tokens where
// its upstream limits them and its caller did not say.
type spend struct {
	asked bool
	ask   tokens.Ask
	guess int64 // at the last admission
}

// asks reads what the request tells of the weight of its call, once.
func (c *call) asks() *tokens.Ask {
	s := &c.spend
	if !s.asked {
		s.asked = true
		s.ask = c.upstream.estimator.e.Request(startOf(c.req), c.req.URL.Path)
		if n := c.req.ContentLength; n > looksAt {
			s.ask.Bytes += n - looksAt
		}
	}
	return &s.ask
}

// model returns the model that the request asks for, "" if it names none.
func (c *call) model() string { return c.asks().Model }

// estimate returns what the call is expected to take; 0 if nobody wants to know,
// or it brings nothing that a model could answer.
func (c *call) estimate(u *upstream) int64 {
	c.spend.guess = 0
	if !u.limitsTokens() || c.req.Body == nil || c.req.Body == http.NoBody {
		return 0
	}
	if _, said := c.cost[limit.Tokens]; said {
		return 0
	}
	c.spend.guess = u.estimator.estimate(*c.asks())
	c.spend.guess += c.spend.guess / spare
	return c.spend.guess
}

// startOf returns the beginning of a request's body, which stays as it is; nil
// if that cannot be had without taking it from the attempt.
func startOf(req *http.Request) []byte {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close()
	start, _ := io.ReadAll(io.LimitReader(body, looksAt)) // what there is will do
	return start
}

// counted is an answer's body whose tokens are read as it passes.
type counted struct {
	io.ReadCloser
	reader *tokens.Reader
	settle func(tokens.Spent)
}

func (b *counted) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.reader != nil {
		b.reader.Feed(p[:n])
		if err != nil {
			b.end(err == io.EOF)
		}
	}
	return n, err
}

func (b *counted) Close() error {
	b.end(false)
	return b.ReadCloser.Close()
}

// end settles what the answer told, before the attempt's permit ends.
func (b *counted) end(whole bool) {
	if b.reader != nil {
		spent := b.reader.End(whole)
		b.reader = nil
		b.settle(spent)
	}
}

// count has the tokens of an answer counted, if what the call weighs was a
// guess. An answer that breaks off, or does not say, keeps its charge, or what
// it told if that is more.
func (c *call) count(a *attempt, resp *http.Response) {
	u, guess := c.upstream, c.spend.guess
	if guess == 0 || resp.StatusCode/100 != 2 || resp.Body == http.NoBody {
		return
	}
	ask := c.spend.ask
	resp.Body = &counted{ReadCloser: resp.Body, reader: u.estimator.e.Reader(resp.Header), settle: func(s tokens.Spent) {
		if !s.Known && s.Total <= guess {
			return
		}
		if s.Known {
			u.estimator.learn(ask, s)
		}
		a.desk.settle(a.seat, a.grant, Cost{limit.Tokens: s.Total})
	}}
}
