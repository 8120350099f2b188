package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/job"
)

// What the step reads is packed as its struct library does: little-endian, bytes,
// doubles, and texts behind their length in four bytes. What it leaves alone is
// packed the same way; a first byte says in which form.
const form = 1

var errGarbled = errors.New("it is garbled, or of a later release")

type packer []byte

func (p *packer) byte(b byte) { *p = append(*p, b) }

// double packs a number of at most 53 bits; a greater one is cut.
func (p *packer) double(n int64) {
	const most = 1 << 53
	n = min(max(n, -most), most)
	*p = binary.LittleEndian.AppendUint64(*p, math.Float64bits(float64(n)))
}

func (p *packer) text(s string) {
	*p = binary.LittleEndian.AppendUint32(*p, uint32(len(s)))
	*p = append(*p, s...)
}

func (p *packer) texts(all ...string) {
	for _, s := range all {
		p.text(s)
	}
}

func (p packer) String() string { return rueidis.BinaryString(p) }

// unpacker reads what was packed. After an error it returns zeros.
type unpacker struct {
	rest string
	err  error
}

func (u *unpacker) next(n int) string {
	if n > len(u.rest) {
		u.rest, u.err = "", errGarbled
		return ""
	}
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

func (u *unpacker) byte() byte {
	if s := u.next(1); s != "" {
		return s[0]
	}
	return 0
}

func (u *unpacker) double() int64 {
	s := u.next(8)
	if s == "" {
		return 0
	}
	var bits uint64
	for i := range 8 {
		bits |= uint64(s[i]) << (8 * i)
	}
	f := math.Float64frombits(bits)
	if !(math.Abs(f) <= 1<<53) {
		u.rest, u.err = "", errGarbled
		return 0
	}
	return int64(f)
}

func (u *unpacker) text() string {
	s := u.next(4)
	if s == "" {
		return ""
	}
	n := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
	return u.next(int(n))
}

func (u *unpacker) form() {
	if u.byte() != form {
		u.rest, u.err = "", errGarbled
	}
}

func (u *unpacker) time() *time.Time {
	n := u.double()
	if n == 0 {
		return nil
	}
	t := time.UnixMicro(n).UTC()
	return &t
}

// encodeBody returns the header and the body of a request or a response.
func encodeBody(h http.Header, body []byte) string {
	p := make(packer, 0, 128+len(body))
	p.byte(form)
	p.double(int64(len(h)))
	for name, values := range h {
		p.text(name)
		p.double(int64(len(values)))
		p.texts(values...)
	}
	return append(p, body...).String()
}

func decodeBody(s string) (h http.Header, body []byte, err error) {
	u := &unpacker{rest: s}
	u.form()
	if n := u.double(); n > 0 {
		h = make(http.Header, min(n, 100))
		for ; n > 0 && u.err == nil; n-- {
			name := u.text()
			values := make([]string, 0, 1)
			for k := u.double(); k > 0 && u.err == nil; k-- {
				values = append(values, u.text())
			}
			h[name] = values
		}
	}
	if u.rest != "" {
		body = []byte(u.rest)
	}
	return h, body, u.err
}

// encodeAttempts returns attempts as the step takes them: each behind its length
// and a colon.
func encodeAttempts(all []job.Attempt) string {
	var out []byte
	for _, a := range all {
		p := packer{form}
		at := int64(0) // is no time
		if !a.At.IsZero() {
			at = a.At.UnixMicro()
		}
		p.double(at)
		p.double(int64(a.Status))
		p.double(a.DelayMS)
		p.double(a.TookMS)
		p.texts(a.Reading, a.Reason)
		out = strconv.AppendInt(out, int64(len(p)), 10)
		out = append(append(out, ':'), p...)
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
		u := &unpacker{rest: s[i+1 : i+1+n]}
		u.form()
		var at time.Time
		if t := u.time(); t != nil {
			at = *t
		}
		all = append(all, job.Attempt{
			At: at, Status: int(u.double()), DelayMS: u.double(), TookMS: u.double(),
			Reading: u.text(), Reason: u.text(),
		})
		if u.err != nil {
			return nil, u.err
		}
		s = s[i+1+n:]
	}
	return all, nil
}

// encodeNew returns a job to be stored.
func encodeNew(n *job.New) []byte {
	j, r := &n.Job, &n.Request
	head := make(packer, 0, 64+len(r.Path))
	head.byte(form)
	head.texts(j.Client, r.Method, r.Path, j.Callback, j.Parent, j.Key, j.Fingerprint)
	head.double(int64(j.Priority))
	key := ""
	if j.Key != "" {
		key = strconv.Itoa(len(j.Client)) + ":" + j.Client + ":" + j.Key
	}
	request := encodeBody(r.Header, r.Body)
	p := make(packer, 0, 128+len(head)+len(request))
	p.byte(byte(min(max(j.Priority, 0), 7)))
	p.double(max(n.Delay, 0).Microseconds())
	p.texts(j.ID, j.Queue, j.Upstream, string(j.Kind), key, head.String(), request)
	return p
}

// encodeThen returns a job that follows from a step, "" for none.
func encodeThen(n *job.New) string {
	if n == nil {
		return ""
	}
	then := *n
	complete(&then)
	return rueidis.BinaryString(encodeNew(&then))
}

// againAt is the byte of a Start or an End that says that it is sent again.
const againAt = 1

func encodeStart(r job.Ref) []byte {
	p := make(packer, 0, 48)
	p.byte(0)
	p.byte(0)
	p.double(r.Fence)
	p.text(r.ID)
	return p
}

func encodeEnd(e *job.End) ([]byte, error) {
	state := 0
	for i, s := range job.States {
		if s == e.State {
			state = i + 1
		}
	}
	if state == 0 || e.State == job.Running {
		return nil, fmt.Errorf("end %s: it cannot become %q", e.ID, e.State)
	}
	told := e.Attempts[max(0, len(e.Attempts)-job.AttemptsKept):]
	var answered byte
	status, response := 0, ""
	if e.Response != nil {
		answered, status = 1, e.Response.Status
		response = encodeBody(e.Response.Header, e.Response.Body)
	}
	follows := encodeThen(e.Then)
	p := make(packer, 0, 256+len(response)+len(follows))
	p.byte(1)
	p.byte(0)
	p.double(e.Fence)
	p.text(e.ID)
	p.byte(byte(state))
	p.byte(answered)
	p.double(max(e.Delay, 0).Microseconds())
	p.double(max(e.Keep, 0).Microseconds())
	p.double(int64(e.Tried))
	p.double(int64(len(e.Attempts)))
	p.double(int64(len(told)))
	p.double(int64(status))
	began := int64(0)
	if len(e.Attempts) > 0 && !e.Attempts[0].At.IsZero() {
		began = e.Attempts[0].At.UnixMicro()
	}
	p.double(began)
	p.texts(e.Reason, e.Location, encodeAttempts(told), response, follows)
	return p, nil
}

// complete gives a job what it may come without.
func complete(n *job.New) {
	if n.Job.ID == "" {
		n.Job.ID = job.NewID(time.Now())
	}
	if n.Job.Kind == "" {
		n.Job.Kind = job.Call
	}
}

// decodeJob reads the record of a job as the step packs it; see record.lua.
// ErrNotFound if it is empty.
func decodeJob(id, record string) (job.Job, error) {
	if record == "" {
		return job.Job{}, job.ErrNotFound
	}
	u := &unpacker{rest: record}
	j := job.Job{ID: id}
	u.form()
	state := int(u.byte())
	if state < 1 || state > len(job.States) {
		return j, fmt.Errorf("read job %s: %w", id, errGarbled)
	}
	j.State = job.States[state-1]
	u.byte() // the priority within bounds
	u.double()
	u.double()
	j.NotBefore, j.StartedAt, j.EndedAt, j.ExpiresAt = u.time(), u.time(), u.time(), u.time()
	j.Attempted, j.Tried, j.Losses, j.Status = int(u.double()), int(u.double()), int(u.double()), int(u.double())
	created, err := strconv.ParseInt(u.text(), 10, 64)
	j.CreatedAt = time.UnixMicro(created).UTC()
	j.Queue, j.Upstream, j.Kind = u.text(), u.text(), job.Kind(u.text())
	u.text() // the key's name
	u.text() // the worker
	j.Reason, j.Location = u.text(), u.text()
	attempts := u.text()
	head := &unpacker{rest: u.text()}
	head.form()
	j.Client, j.Method, j.Path, j.Callback, j.Parent = head.text(), head.text(), head.text(), head.text(), head.text()
	j.Key, j.Fingerprint, j.Priority = head.text(), head.text(), int(head.double())
	err = errors.Join(u.err, head.err, err)
	if err == nil {
		j.Attempts, err = decodeAttempts(attempts)
	}
	if err != nil {
		return job.Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	return j, nil
}

// fenceOf returns by what a record's job is held.
func fenceOf(record string) int64 {
	u := &unpacker{rest: record}
	u.next(3)
	return u.double()
}
