package webhook

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/job"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestMessageTellsJobAndAnswer(t *testing.T) {
	j := job.Job{
		ID: "job_1", Kind: job.Call, State: job.Done, Upstream: "api", Client: "web", Method: "POST", Path: "/v1/x?<y>",
		CreatedAt: t0, EndedAt: &t0, Callback: "https://hook.test:8443/in?a=b", Key: "hidden", Status: 200,
	}
	tests := []struct{ name, body, want string }{
		{"JSON as it is", `{"n": 12345678901234567890, "s": "<"}`, `"body":{"n":12345678901234567890,"s":"<"}}`},
		{"text as base64", "hello", `"body":"aGVsbG8=","encoding":"base64"}`},
		{"JSON that is not UTF-8", "\"\xff\"", `"body":"Iv8i","encoding":"base64"}`},
		{"nothing", "", `"headers":{"X":["y"]}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := For(j, &job.Response{Status: 200, Header: http.Header{"X": {"y"}}, Body: []byte(test.body)}, t0)
			if n.Job.Kind != job.Callback || n.Job.Queue != "callback/hook.test:8443" || n.Job.Parent != "job_1" || !job.IsID(n.Job.ID) {
				t.Errorf("made %+v, want a callback of job_1 in the queue of its host", n.Job)
			}
			if n.Request.Method != "POST" || n.Request.Path != j.Callback {
				t.Errorf("made %s %s, want POST %s", n.Request.Method, n.Request.Path, j.Callback)
			}
			want := `{"type":"job.done","timestamp":"2026-11-22T12:00:00Z","data":{"id":"job_1","kind":"call","state":"done",` +
				`"upstream":"api","client":"web","method":"POST","path":"/v1/x?<y>","priority":0,"attempts":[],"attempted":0,` +
				`"status":200,"created_at":"2026-11-22T12:00:00Z","ended_at":"2026-11-22T12:00:00Z",` +
				`"callback":"https://hook.test:8443/in?a=b","response":{"status":200,"headers":{"X":["y"]},`
			if test.body == "" {
				want = want[:len(want)-len(`"headers":{"X":["y"]},`)]
			}
			if got := string(n.Request.Body); got != want+test.want+"}}" {
				t.Errorf("payload\n%s\nwant\n%s", got, want+test.want+"}}")
			}
		})
	}
}

func TestMessageOfJobWithoutAnswer(t *testing.T) {
	n := For(job.Job{ID: "job_1", Kind: job.Call, State: job.Failed, Reason: "unreachable", Callback: "http://hook.test"}, nil, t0)
	var m struct {
		Type string
		Data map[string]any
	}
	if err := json.Unmarshal(n.Request.Body, &m); err != nil {
		t.Fatal(err)
	}
	if _, has := m.Data["response"]; m.Type != "job.failed" || m.Data["reason"] != "unreachable" || has {
		t.Errorf("got %s, want job.failed with its reason and no response", n.Request.Body)
	}
}

func TestNobodyIsToldWhoCannotBe(t *testing.T) {
	for name, j := range map[string]job.Job{
		"no callback":       {ID: "job_1", Kind: job.Call, State: job.Cancelled},
		"a callback itself": {ID: "job_1", Kind: job.Callback, State: job.Cancelled, Callback: "http://hook.test"},
		"no URL":            {ID: "job_1", Kind: job.Call, State: job.Cancelled, Callback: "http://[::1"},
	} {
		if n := Cancelled(j); n != nil {
			t.Errorf("%s: made %+v, want nothing", name, n.Job)
		}
	}
}
