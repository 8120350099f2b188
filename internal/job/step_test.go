package job

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *time.Time {
	t := t0.Add(d)
	return &t
}

// brief is what steps change, as text.
func brief(j Job) string {
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Sub(t0).String()
	}
	return fmt.Sprintf("%s tried=%d attempted=%d losses=%d status=%d reason=%q location=%q not before %s, started %s, ended %s, expires %s",
		j.State, j.Tried, j.Attempted, j.Losses, j.Status, j.Reason, j.Location, at(j.NotBefore), at(j.StartedAt), at(j.EndedAt), at(j.ExpiresAt))
}

func TestSteps(t *testing.T) {
	lose := func(j *Job, _ time.Time) error { j.Lose(); return nil }
	start := (*Job).Start
	leave := func(j *Job, _ time.Time) error { j.Leave(); return nil }
	end := func(e End) func(*Job, time.Time) error {
		return func(j *Job, now time.Time) error { return j.End(e, now) }
	}
	cancel := func(j *Job, now time.Time) error { return j.Cancel("enough", time.Hour, now) }
	retry := (*Job).Retry

	j := Stored(New{Job: Job{ID: "job_1"}, Delay: 2 * time.Second}, t0)
	for i, step := range []struct {
		name string
		do   func(*Job, time.Time) error
		at   time.Duration
		err  error
		want string
	}{
		{"lose", lose, 0, nil, `waiting tried=0 attempted=0 losses=0 status=0 reason="" location="" not before 2s, started -, ended -, expires -`},
		{"leave", leave, 0, nil, `waiting tried=0 attempted=0 losses=0 status=0 reason="" location="" not before 2s, started -, ended -, expires -`},
		{"retry", retry, 0, ErrNotEnded, `waiting tried=0 attempted=0 losses=0 status=0 reason="" location="" not before 2s, started -, ended -, expires -`},
		{"start", start, 3 * time.Second, nil, `running tried=0 attempted=0 losses=0 status=0 reason="" location="" not before -, started 3s, ended -, expires -`},
		{"start", start, 4 * time.Second, ErrFenced, `running tried=0 attempted=0 losses=0 status=0 reason="" location="" not before -, started 3s, ended -, expires -`},
		{"lose", lose, 5 * time.Second, nil, `waiting tried=0 attempted=0 losses=1 status=0 reason="lost with the worker that ran it" location="" not before -, started 3s, ended -, expires -`},
		{"start", start, 6 * time.Second, nil, `running tried=0 attempted=0 losses=1 status=0 reason="" location="" not before -, started 6s, ended -, expires -`},
		{"leave", leave, 7 * time.Second, nil, `waiting tried=0 attempted=0 losses=1 status=0 reason="" location="" not before -, started 6s, ended -, expires -`},
		{"start", start, 8 * time.Second, nil, `running tried=0 attempted=0 losses=1 status=0 reason="" location="" not before -, started 8s, ended -, expires -`},
		{
			"end as waiting",
			end(End{State: Waiting, Delay: time.Minute, Attempts: make([]Attempt, 2), Tried: 1, Reason: "503", Location: "/r", Response: &Response{Status: 503}}),
			9 * time.Second, nil,
			`waiting tried=1 attempted=2 losses=1 status=0 reason="503" location="/r" not before 1m9s, started 8s, ended -, expires -`,
		},
		{"start", start, 70 * time.Second, nil, `running tried=1 attempted=2 losses=1 status=0 reason="" location="/r" not before -, started 1m10s, ended -, expires -`},
		{
			"end as failed", end(End{State: Failed, Attempts: make([]Attempt, 1), Tried: 1, Reason: "500", Response: &Response{Status: 500}, Keep: time.Hour}),
			80 * time.Second, nil,
			`failed tried=2 attempted=3 losses=1 status=500 reason="500" location="/r" not before -, started 1m10s, ended 1m20s, expires 1h1m20s`,
		},
		{"start", start, 81 * time.Second, ErrFenced, `failed tried=2 attempted=3 losses=1 status=500 reason="500" location="/r" not before -, started 1m10s, ended 1m20s, expires 1h1m20s`},
		{"end again", end(End{State: Done}), 81 * time.Second, ErrFenced, `failed tried=2 attempted=3 losses=1 status=500 reason="500" location="/r" not before -, started 1m10s, ended 1m20s, expires 1h1m20s`},
		{"lose", lose, 81 * time.Second, nil, `failed tried=2 attempted=3 losses=1 status=500 reason="500" location="/r" not before -, started 1m10s, ended 1m20s, expires 1h1m20s`},
		{"cancel", cancel, 81 * time.Second, ErrEnded, `failed tried=2 attempted=3 losses=1 status=500 reason="500" location="/r" not before -, started 1m10s, ended 1m20s, expires 1h1m20s`},
		{"retry", retry, 90 * time.Second, nil, `waiting tried=0 attempted=3 losses=0 status=0 reason="" location="" not before -, started 1m10s, ended -, expires -`},
		{"cancel", cancel, 91 * time.Second, nil, `cancelled tried=0 attempted=3 losses=0 status=0 reason="enough" location="" not before -, started 1m10s, ended 1m31s, expires 1h1m31s`},
		{"retry", retry, 92 * time.Second, nil, `waiting tried=0 attempted=3 losses=0 status=0 reason="" location="" not before -, started 1m10s, ended -, expires -`},
		{
			"end as waiting, unsent", end(End{State: Waiting, Reason: "line full"}), 92 * time.Second, nil,
			`waiting tried=0 attempted=3 losses=0 status=0 reason="line full" location="" not before -, started 1m10s, ended -, expires -`,
		},
		{
			"end as waiting, not marked as started", end(End{State: Waiting, Attempts: []Attempt{{At: t0.Add(91 * time.Second)}, {At: t0.Add(92 * time.Second)}}}), 92 * time.Second, nil,
			`waiting tried=0 attempted=5 losses=0 status=0 reason="" location="" not before -, started 1m31s, ended -, expires -`,
		},
		{
			"end as waiting, by a clock ahead", end(End{State: Waiting, Attempts: []Attempt{{At: t0.Add(time.Hour)}}}), 92 * time.Second, nil,
			`waiting tried=0 attempted=6 losses=0 status=0 reason="" location="" not before -, started 1m32s, ended -, expires -`,
		},
		{"end as done", end(End{State: Done}), 93 * time.Second, nil, `done tried=0 attempted=6 losses=0 status=0 reason="" location="" not before -, started 1m32s, ended 1m33s, expires 24h1m33s`},
		{"retry", retry, 94 * time.Second, ErrEnded, `done tried=0 attempted=6 losses=0 status=0 reason="" location="" not before -, started 1m32s, ended 1m33s, expires 24h1m33s`},
	} {
		err := step.do(&j, t0.Add(step.at))
		if got := brief(j); !errors.Is(err, step.err) || got != step.want {
			t.Fatalf("step %d, %s at %v: error %v, %s\nwant %v, %s", i, step.name, step.at, err, got, step.err, step.want)
		}
	}
}

func TestEndKeepsTheLastAttempts(t *testing.T) {
	j := Stored(New{}, t0)
	first := make([]Attempt, AttemptsKept)
	first[0].Status = 1
	for i, tt := range []struct {
		add, kept, attempted int
		status               int // of the first that is kept
	}{
		{AttemptsKept, AttemptsKept, AttemptsKept, 1},
		{1, AttemptsKept, AttemptsKept + 1, 0},
		{0, AttemptsKept, AttemptsKept + 1, 0},
	} {
		before := append([]Attempt(nil), j.Attempts...)
		shared := j
		if err := j.End(End{State: Waiting, Attempts: first[:tt.add]}, t0); err != nil {
			t.Fatal(err)
		}
		if len(j.Attempts) != tt.kept || j.Attempted != tt.attempted || j.Attempts[0].Status != tt.status {
			t.Errorf("step %d: %d attempts of %d, the first %+v; want %d of %d, status %d", i, len(j.Attempts), j.Attempted, j.Attempts[0], tt.kept, tt.attempted, tt.status)
		}
		if !reflect.DeepEqual(append([]Attempt(nil), shared.Attempts...), before) {
			t.Errorf("step %d changed the attempts of a copy", i)
		}
	}
}

func TestStoredFillsInWhatIsMissing(t *testing.T) {
	j := Stored(New{Request: Request{Method: "GET", Path: "/x"}}, t0)
	if !IsID(j.ID) || j.Kind != Call || j.State != Waiting || j.Method != "GET" || j.Path != "/x" || j.CreatedAt != t0 || j.NotBefore != nil {
		t.Errorf("Stored = %+v", j)
	}
	j = Stored(New{Job: Job{ID: "job_1", Kind: Callback}, Delay: time.Second}, t0)
	if j.ID != "job_1" || j.Kind != Callback || !reflect.DeepEqual(j.NotBefore, at(time.Second)) {
		t.Errorf("Stored = %+v, want what it was given", j)
	}
}

func TestIDs(t *testing.T) {
	if early, late := NewID(t0), NewID(t0.Add(time.Millisecond)); early >= late {
		t.Errorf("ID %s a millisecond before %s, want it to sort first", early, late)
	}
	id := NewID(t0)
	for s, want := range map[string]bool{
		id: true, "": false, "job_": false, strings.ToUpper(id): false, id[4:]: false, id + "0": false,
		"job_" + strings.Repeat("u", 26): false, "job_../../../../etc/passwd0000": false, strings.Replace(id, "job", "bob", 1): false,
	} {
		if got := IsID(s); got != want {
			t.Errorf("IsID(%q) = %v, want %v", s, got, want)
		}
	}
}

func TestQueuesHideCredentials(t *testing.T) {
	q := Queue("api", "web", "Bearer secret")
	if strings.Contains(q, "secret") || q != Queue("api", "web", "Bearer secret") || q == Queue("api", "web", "Bearer other") || q == Queue("api", "web", "") {
		t.Errorf("Queue = %q", q)
	}
}

func TestFingerprintsTellCallsApart(t *testing.T) {
	base := Request{Method: "POST", Path: "/a", Body: []byte("b")}
	seen := map[string]string{Fingerprint("api", base): "the call itself"}
	for what, r := range map[string]Request{
		"method": {Method: "PUT", Path: "/a", Body: []byte("b")},
		"path":   {Method: "POST", Path: "/ab", Body: nil},
		"body":   {Method: "POST", Path: "/a", Body: []byte("c")},
		"type":   {Method: "POST", Path: "/a", Body: []byte("b"), Header: map[string][]string{"Content-Type": {"text/plain"}}},
	} {
		f := Fingerprint("api", r)
		if other, dup := seen[f]; dup {
			t.Errorf("another %s has the fingerprint of %s", what, other)
		}
		seen[f] = what
	}
	traced := base
	traced.Header = map[string][]string{"Traceparent": {"00-1"}}
	if got, want := Fingerprint("api", traced), Fingerprint("api", base); got != want {
		t.Errorf("Fingerprint with a trace = %s, want %s: a repeated call has another", got, want)
	}
	if Fingerprint("api", base) == Fingerprint("other", base) {
		t.Error("the same call to another upstream has the same fingerprint")
	}
}
