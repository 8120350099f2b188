package redisstore

import (
	"encoding/binary"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job"
)

func TestBodiesComeBackAsTheyWere(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		body   []byte
	}{
		{nil, nil},
		{http.Header{"A": {"1", "2"}, "B": {""}}, []byte("\x00\x01binary\xff")},
		{http.Header{"Empty": {}}, []byte("x")},
	} {
		h, body, err := decodeBody(encodeBody(c.header, c.body))
		if err != nil || !reflect.DeepEqual(h, c.header) || !reflect.DeepEqual(body, c.body) {
			t.Errorf("%v %q came back as %v %q, %v", c.header, c.body, h, body, err)
		}
	}
}

func TestAttemptsComeBackAsTheyWere(t *testing.T) {
	for _, want := range [][]job.Attempt{
		nil,
		{{}},
		{{At: time.UnixMicro(1760000000000001).UTC(), Status: 429, Reading: "throttled", Reason: "said: so", DelayMS: 5, TookMS: 7}, {Reason: "3:x"}},
	} {
		got, err := decodeAttempts(encodeAttempts(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
}

// Whoever else writes to the server must not make us panic.
func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add("\x01")
	f.Add(encodeBody(http.Header{"A": {"1"}}, []byte("body")))
	f.Add(encodeAttempts([]job.Attempt{{Status: 200}}))
	f.Add("99999999999999999999:x")
	f.Add("done 1:a1:b1:cwaiting 99:x")
	f.Add(string(binary.LittleEndian.AppendUint32([]byte{1}, 1<<31)))
	f.Fuzz(func(t *testing.T, text string) {
		_, _, _ = decodeBody(text)
		_, _ = decodeAttempts(text)
		_ = fenceOf(text)
		if j, err := decodeJob("id", text); err == nil && j.ID != "id" {
			t.Errorf("decodeJob(%q) = %+v", text, j)
		}
		for rest, ok := text, true; ok; {
			before := len(rest)
			if _, rest, ok = cutNotice(rest); ok && len(rest) >= before {
				t.Fatalf("cutNotice took nothing of %q", text)
			}
		}
	})
}
