package headgate

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/headgate/headgate/internal/breaker"
	"github.com/headgate/headgate/internal/dialect"
	"github.com/headgate/headgate/internal/ledger"
)

// observe reads an answer and tells the desk what it means.
func (c *call) observe(a *attempt, resp *http.Response) dialect.Reading {
	now := time.Now()
	took := now.Sub(a.started)
	c.upstreamTime += took
	r := c.read(a, resp, now)
	v := verdict{outcome: breaker.Success, limits: factsOf(r.Limits)}
	switch r.Class {
	case dialect.Throttled:
		v.outcome, v.told = breaker.Throttled, r.HasWait
		v.pause = func(strikes int) time.Duration {
			return c.upstream.policy.Wait(strikes, 0, r.Wait, r.HasWait, c.gate.random)
		}
	case dialect.Overloaded:
		v.outcome = breaker.Failed
	}
	var n news
	if resp.Body == http.NoBody {
		n = a.desk.finish(a.seat, a.grant, v)
		a.over = true
	} else {
		n = a.desk.answered(a.seat, a.grant, v)
	}
	c.tellAttempt(AttemptEnded{Status: resp.StatusCode, Reading: r, Took: took})
	c.gate.events.news(c.upstream.name, a.seat, n, r.Why)
	return r
}

// factsOf returns what a reading tells of limits, as the ledger takes it.
func factsOf(limits []dialect.Limit) []ledger.Fact {
	if len(limits) == 0 {
		return nil
	}
	facts := make([]ledger.Fact, len(limits))
	for i, l := range limits {
		facts[i] = ledger.Fact{Dimension: l.Dimension, N: l.Limit, Remaining: l.Remaining, Reset: l.Reset, Window: l.Window}
	}
	return facts
}

// observeFailure tells the desk of an attempt without an answer. Who goes away,
// or sends what cannot be sent, says nothing about the upstream.
func (c *call) observeFailure(a *attempt, err error) {
	took := time.Since(a.started)
	c.upstreamTime += took
	n := a.desk.failed(a.seat, a.grant, a.sent(), c.cause() != nil || isCallers(err) || a.faulty())
	c.tellAttempt(AttemptEnded{Took: took, Err: err})
	c.gate.events.news(c.upstream.name, a.seat, n, err.Error)
}

// isCallers says whether an attempt failed by the request's own body.
func isCallers(err error) bool {
	var body *bodyError
	return errors.As(err, &body)
}

// read has the dialect read an answer. What it looks at of the body is put
// back in front.
func (c *call) read(a *attempt, resp *http.Response, now time.Time) dialect.Reading {
	a.watch(resp, time.Duration(c.upstream.timeout.IdleStream))
	answer := dialect.Answer{
		Method: c.req.Method,
		Host:   c.host(),
		Path:   c.req.URL.Path,
		Status: resp.StatusCode,
		Header: resp.Header,
		HasKey: firstOf(c.req.Header, fieldKey) != "",
	}
	d := c.upstream.dialectFor(answer, c.req)
	if n := d.BodyMaxOf(answer); n > 0 {
		answer.Body = peek(resp, func(r io.Reader) ([]byte, error) {
			return io.ReadAll(io.LimitReader(r, int64(n)))
		})
	}
	reading := d.Read(answer, now)
	if reading.Class == dialect.OK && resp.StatusCode == http.StatusOK && dialect.IsEventStream(resp.Header) {
		return readFirstEvent(resp, answer, reading)
	}
	return reading
}

// host returns the host that answers.
func (c *call) host() string {
	if c.upstream.base != nil {
		return c.upstream.base.Host
	}
	return c.req.URL.Host
}

// maxEvent bounds what is read of a stream to see its first event: errors are
// short.
const maxEvent = 16 << 10

// readFirstEvent looks whether a stream begins with an error that says "too
// many" or "not now", and makes it count as one. The answer waits for its
// first event.
func readFirstEvent(resp *http.Response, a dialect.Answer, r dialect.Reading) dialect.Reading {
	start := peek(resp, func(body io.Reader) ([]byte, error) { return readEvent(body, maxEvent) })
	event, data, _ := dialect.FirstEvent(start)
	if class, ok := dialect.EventClass(event, data); ok {
		return r.Streamed(a, class, data)
	}
	return r
}

// peek reads the start of a response's body and puts it back in front, with
// the error that ended it, if one did.
func peek(resp *http.Response, read func(io.Reader) ([]byte, error)) []byte {
	start, err := read(resp.Body)
	rest := io.Reader(resp.Body)
	if err != nil && !errors.Is(err, io.EOF) {
		rest = errorReader{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), rest), resp.Body}
	return start
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// readEvent reads until an event has ended or n bytes were read.
func readEvent(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, 0, 1<<10)
	for len(buf) < n {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		m, err := r.Read(buf[len(buf):min(cap(buf), n)])
		buf = buf[:len(buf)+m]
		if err != nil {
			return buf, err
		}
		if bytes.IndexByte(buf[len(buf)-m:], '\n') < 0 {
			continue
		}
		if _, _, ended := dialect.FirstEvent(buf); ended {
			break
		}
	}
	return buf, nil
}
