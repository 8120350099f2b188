package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/job"
)

// What the step leaves alone is kept as bytes: integers as varints, texts behind
// their length. A first byte says in which form the rest is.
const form = 1

type encoder []byte

func (e *encoder) number(n int64) { *e = binary.AppendVarint(*e, n) }

func (e *encoder) text(s string) {
	e.number(int64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) texts(all ...string) {
	for _, s := range all {
		e.text(s)
	}
}

func (e *encoder) header(h http.Header) {
	e.number(int64(len(h)))
	for name, values := range h {
		e.text(name)
		e.number(int64(len(values)))
		e.texts(values...)
	}
}

func (e encoder) String() string { return rueidis.BinaryString(e) }

var errGarbled = errors.New("it is garbled, or of a later release")

// decoder reads what encoder wrote. After an error it returns zeros.
type decoder struct {
	rest string
	err  error
}

func decode(s string) *decoder {
	if s == "" || s[0] != form {
		return &decoder{err: errGarbled}
	}
	return &decoder{rest: s[1:]}
}

func (d *decoder) number() int64 {
	var n uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		b := d.rest[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			d.rest = d.rest[i+1:]
			return int64(n>>1) ^ -int64(n&1)
		}
	}
	d.fail()
	return 0
}

func (d *decoder) fail() { d.rest, d.err = "", errGarbled }

func (d *decoder) text() string {
	n := d.number()
	if n < 0 || n > int64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) header() http.Header {
	n := d.number()
	if n == 0 {
		return nil
	}
	h := make(http.Header, min(n, 100))
	for ; n > 0 && d.err == nil; n-- {
		name := d.text()
		values := make([]string, 0, 1)
		for k := d.number(); k > 0 && d.err == nil; k-- {
			values = append(values, d.text())
		}
		h[name] = values
	}
	return h
}

// body returns the rest.
func (d *decoder) body() []byte {
	if d.rest == "" {
		return nil
	}
	return []byte(d.rest)
}

// encodeHead returns what never changes of a job.
func encodeHead(j *job.Job, r *job.Request) string {
	e := make(encoder, 1, 64+len(r.Path))
	e[0] = form
	e.texts(string(j.Kind), j.Upstream, j.Client, r.Method, r.Path, j.Callback, j.Parent, j.Key, j.Fingerprint)
	e.number(int64(j.Priority))
	return e.String()
}

func encodeBody(h http.Header, body []byte) string {
	e := make(encoder, 1, 128+len(body))
	e[0] = form
	e.header(h)
	return append(e, body...).String()
}

// encodeAttempts returns attempts as the step takes them: each behind its length
// and a colon.
func encodeAttempts(all []job.Attempt) string {
	var out []byte
	for _, a := range all {
		e := encoder{form}
		e.number(a.At.UnixMicro())
		e.number(int64(a.Status))
		e.texts(a.Reading, a.Reason)
		e.number(a.DelayMS)
		e.number(a.TookMS)
		out = strconv.AppendInt(out, int64(len(e)), 10)
		out = append(append(out, ':'), e...)
	}
	return rueidis.BinaryString(out)
}

func decodeAttempts(s string) (all []job.Attempt, err error) {
	for s != "" {
		i := 0
		for i < len(s) && s[i] != ':' {
			i++
		}
		n, err := strconv.Atoi(s[:i])
		if err != nil || n < 0 || n > len(s)-i-1 {
			return nil, errGarbled
		}
		d := decode(s[i+1 : i+1+n])
		all = append(all, job.Attempt{
			At: time.UnixMicro(d.number()).UTC(), Status: int(d.number()), Reading: d.text(), Reason: d.text(),
			DelayMS: d.number(), TookMS: d.number(),
		})
		if d.err != nil {
			return nil, d.err
		}
		s = s[i+1+n:]
	}
	return all, nil
}

// readNames are the fields of a job that are read, in the order in which the step
// returns them.
var readNames = []string{"head", "state", "order", "queue", "due", "started", "ended", "expires",
	"attempts", "attempted", "tried", "losses", "status", "reason", "location"}

// decodeJob reads a job of readNames. ok is false if there is none.
func decodeJob(id string, fields []rueidis.RedisMessage) (j job.Job, ok bool, err error) {
	if len(fields) != len(readNames) {
		return j, false, fmt.Errorf("read job %s: %d fields instead of %d", id, len(fields), len(readNames))
	}
	if fields[0].IsNil() {
		return j, false, nil
	}
	f := optional{fields: fields}
	d := decode(f.text())
	j.ID = id
	j.Kind, j.Upstream, j.Client, j.Method, j.Path = job.Kind(d.text()), d.text(), d.text(), d.text(), d.text()
	j.Callback, j.Parent, j.Key, j.Fingerprint = d.text(), d.text(), d.text(), d.text()
	j.Priority = int(d.number())
	j.State = job.State(f.text())
	j.CreatedAt = time.UnixMicro(f.number()%orderSpan + orderEpoch).UTC()
	j.Queue = f.text()
	j.NotBefore, j.StartedAt, j.EndedAt, j.ExpiresAt = f.time(), f.time(), f.time(), f.time()
	j.Attempts, err = decodeAttempts(f.text())
	j.Attempted, j.Tried, j.Losses, j.Status = int(f.number()), int(f.number()), int(f.number()), int(f.number())
	j.Reason, j.Location = f.text(), f.text()
	if err = errors.Join(err, d.err, f.err); err != nil {
		return j, false, fmt.Errorf("read job %s: %w", id, err)
	}
	return j, true, nil
}

// A job's place is its priority, in units of orderSpan, and the microsecond of
// its creation from orderEpoch on; see record.lua.
const (
	orderSpan  = 1 << 50
	orderEpoch = 1577836800000000
)

// optional reads fields of which some may be missing: they are zero. After an
// error all are.
type optional struct {
	fields []rueidis.RedisMessage
	err    error
}

func (o *optional) text() (s string) {
	m := &o.fields[0]
	o.fields = o.fields[1:]
	if o.err != nil || m.IsNil() {
		return ""
	}
	s, o.err = m.ToString()
	return s
}

func (o *optional) number() (n int64) {
	if s := o.text(); s != "" && o.err == nil {
		n, o.err = strconv.ParseInt(s, 10, 64)
	}
	return n
}

func (o *optional) time() *time.Time {
	n := o.number()
	if n == 0 {
		return nil
	}
	t := time.UnixMicro(n).UTC()
	return &t
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
