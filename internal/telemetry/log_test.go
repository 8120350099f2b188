package telemetry

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/headgate/headgate"
	"github.com/headgate/headgate/internal/breaker"
)

var t0 = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func TestLogWritesOneLineForEachDecision(t *testing.T) {
	steps := []struct {
		name string
		tell func(headgate.Events)
		text string
		json string
	}{
		{
			name: "retry",
			tell: func(e headgate.Events) {
				e.Retried(headgate.Retried{
					Upstream: "openai", Client: "web", Attempt: 1, Of: 5,
					Delay: 1234567 * time.Microsecond, Reason: "Status 429 means throttled.",
					Status: 429, RetryAfter: "1", RequestID: "req_7",
				})
			},
			text: `level=INFO msg=retry upstream=openai attempt=1 of=5 delay=1.235s reason="Status 429 means throttled." status=429 retry_after=1 request_id=req_7 client=web`,
			json: `"level":"INFO","msg":"retry","upstream":"openai","attempt":1,"of":5,"delay":"1.235s","reason":"Status 429 means throttled.","status":429,"retry_after":"1","request_id":"req_7","client":"web"}`,
		},
		{
			name: "retry without an answer",
			tell: func(e headgate.Events) {
				e.Retried(headgate.Retried{Upstream: "openai", Attempt: 2, Of: 5, Delay: time.Second, Reason: "connection reset"})
			},
			text: `level=INFO msg=retry upstream=openai attempt=2 of=5 delay=1s reason="connection reset" status=0 retry_after="" request_id="" client=""`,
			json: `"msg":"retry","upstream":"openai","attempt":2,"of":5,"delay":"1s","reason":"connection reset","status":0,"retry_after":"","request_id":"","client":""}`,
		},
		{
			name: "pause",
			tell: func(e headgate.Events) {
				e.Paused(headgate.Paused{Upstream: "openai", Credential: "3f9a", Until: t0, Reason: "Retry-After"})
			},
			text: `level=WARN msg=pause upstream=openai credential=3f9a until=2025-03-01T12:00:00.000Z reason=Retry-After`,
			json: `"level":"WARN","msg":"pause","upstream":"openai","credential":"3f9a","until":"2025-03-01T12:00:00Z","reason":"Retry-After"}`,
		},
		{
			name: "pause of a model",
			tell: func(e headgate.Events) {
				e.Paused(headgate.Paused{Upstream: "openai", Credential: "3f9a", Scope: "model:a", Until: t0, Reason: "Retry-After"})
			},
			text: `level=WARN msg=pause upstream=openai credential=3f9a scope=model:a until=2025-03-01T12:00:00.000Z reason=Retry-After`,
			json: `"level":"WARN","msg":"pause","upstream":"openai","credential":"3f9a","scope":"model:a","until":"2025-03-01T12:00:00Z","reason":"Retry-After"}`,
		},
		{
			name: "limit learned",
			tell: func(e headgate.Events) {
				e.LimitLearned(headgate.LimitLearned{Upstream: "openai", Credential: "3f9a", Limit: "80/2s", Source: "told", InForce: 80, Window: 2 * time.Second})
			},
			text: `level=INFO msg="limit learned" upstream=openai credential=3f9a limit=80/2s source=told in_force=80 window=2s`,
			json: `"level":"INFO","msg":"limit learned","upstream":"openai","credential":"3f9a","limit":"80/2s","source":"told","in_force":80,"window":"2s"}`,
		},
		{
			name: "breaker opens",
			tell: func(e headgate.Events) {
				e.BreakerChanged(headgate.BreakerChanged{Upstream: "openai", State: breaker.Open, Until: t0, Reason: "failures"})
			},
			text: `level=WARN msg=breaker upstream=openai credential="" state=open until=2025-03-01T12:00:00.000Z reason=failures`,
			json: `"level":"WARN","msg":"breaker","upstream":"openai","credential":"","state":"open","until":"2025-03-01T12:00:00Z","reason":"failures"}`,
		},
		{
			name: "breaker closes",
			tell: func(e headgate.Events) {
				e.BreakerChanged(headgate.BreakerChanged{Upstream: "openai", State: breaker.Closed, Reason: "a probe succeeded"})
			},
			text: `level=INFO msg=breaker upstream=openai credential="" state=closed reason="a probe succeeded"`,
			json: `"level":"INFO","msg":"breaker","upstream":"openai","credential":"","state":"closed","reason":"a probe succeeded"}`,
		},
	}
	for _, s := range steps {
		for format, want := range map[string]string{"text": s.text, "json": s.json} {
			t.Run(s.name+" "+format, func(t *testing.T) {
				var out bytes.Buffer
				s.tell(newLog(t, &out, "info", format).Events())
				got := strings.TrimSpace(out.String())
				if !strings.HasSuffix(got, want) || strings.Contains(got, "\n") {
					t.Errorf("wrote\n%s\nwant one line that ends in\n%s", got, want)
				}
			})
		}
	}
}

func TestLogLevelChangesWhileInUse(t *testing.T) {
	var out bytes.Buffer
	l := newLog(t, &out, "warn", "text")
	l.Events().Retried(headgate.Retried{Upstream: "first"})
	if err := l.SetLevel("info"); err != nil {
		t.Fatal(err)
	}
	l.Events().Retried(headgate.Retried{Upstream: "second"})
	if err := l.SetLevel("loud"); err == nil {
		t.Error(`SetLevel("loud") = nil, want an error`)
	}
	l.Events().Retried(headgate.Retried{Upstream: "third"})
	got := out.String()
	if strings.Contains(got, "first") || !strings.Contains(got, "second") || !strings.Contains(got, "third") {
		t.Errorf("wrote %q, want the second and the third retry only", got)
	}
}

func TestNewLogRefusesUnknownWords(t *testing.T) {
	for _, c := range []struct{ level, format, want string }{
		{"loud", "text", `log level "loud": want debug, info, warn or error`},
		{"info", "xml", `log format "xml": want text or json`},
	} {
		_, err := NewLog(&bytes.Buffer{}, c.level, c.format)
		if err == nil || err.Error() != c.want {
			t.Errorf("NewLog(%q, %q) = %v, want %s", c.level, c.format, err, c.want)
		}
	}
}

func TestForeignTextStaysOnOneLineAndShort(t *testing.T) {
	var out bytes.Buffer
	reason := "a\nlevel=ERROR msg=forged " + strings.Repeat("ü", 1000)
	newLog(t, &out, "", "").Events().Retried(headgate.Retried{Reason: reason})
	got := strings.TrimSpace(out.String())
	if strings.Contains(got, "\n") || len(got) > 700 || !utf8.ValidString(got) {
		t.Errorf("wrote %d bytes %q, want one short line of valid UTF-8", len(got), got)
	}
}

func TestTeeTellsAllAndSkipsWhatNobodyAsks(t *testing.T) {
	var told []string
	note := func(who string) headgate.Events {
		return headgate.Events{Paused: func(headgate.Paused) { told = append(told, who) }}
	}
	e := Tee(note("a"), headgate.Events{}, note("b"))
	e.Paused(headgate.Paused{})
	if got := strings.Join(told, " "); got != "a b" {
		t.Errorf("told %q, want \"a b\"", got)
	}
	if e.Waited != nil {
		t.Error("Waited is set, want nil: nobody asks for it")
	}
}

func newLog(t *testing.T, out *bytes.Buffer, level, format string) *Log {
	t.Helper()
	l, err := NewLog(out, level, format)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
