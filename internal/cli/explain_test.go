package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/dialect"
)

const throttledAnswer = "HTTP/1.1 429 Too Many Requests\r\n" +
	"Retry-After: 30\r\n" +
	"X-RateLimit-Limit: 50\r\n" +
	"X-RateLimit-Remaining: 0\r\n\r\n{}"

func TestExplainPrintsTheReading(t *testing.T) {
	for _, s := range []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{
			"table", throttledAnswer, nil,
			"dialect    generic\n" +
				"class      throttled\n" +
				"retryable  yes\n" +
				"wait       30s\n" +
				"scope      credential\n" +
				"limit      requests: 0 of 50 left, reset unknown\n" +
				"why        Status 429 means throttled; Retry-After \"30\" asks for a wait of 30s.\n",
		},
		{
			"JSON", throttledAnswer, []string{"--json"},
			`{"dialect":"generic","class":"throttled","retryable":true,"wait_ms":30000,"scope":"credential",` +
				`"limits":[{"dimension":"requests","limit":50,"remaining":0,"reset_ms":null}],` +
				`"why":"Status 429 means throttled; Retry-After \"30\" asks for a wait of 30s."}` + "\n",
		},
		{
			"a date, read at a moment", "HTTP/2 503\nRetry-After: Sat, 01 Mar 2025 12:01:00 GMT\n\n",
			[]string{"--json", "--now", "2025-03-01T12:00:00Z", "--method", "get"},
			`{"dialect":"generic","class":"overloaded","retryable":true,"wait_ms":60000,"scope":"credential","limits":[],` +
				`"why":"Status 503 means overloaded; Retry-After \"Sat, 01 Mar 2025 12:01:00 GMT\" asks for a wait of 1m0s."}` + "\n",
		},
		{
			"nothing known", "HTTP/1.1 200 OK\r\n\r\n", []string{"--json"},
			`{"dialect":"generic","class":"ok","retryable":false,"wait_ms":null,"scope":"credential","limits":[],"why":"Status 200 means ok."}` + "\n",
		},
		{
			"a stream that begins with an error", "HTTP/1.1 200 OK\nContent-Type: text/event-stream\nRetry-After: 59\n\n" +
				"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n",
			[]string{"--json", "--dialect", "anthropic", "--method", "POST"},
			`{"dialect":"anthropic","class":"overloaded","retryable":true,"wait_ms":null,"scope":"credential","limits":[],` +
				`"why":"Status 200 with an error as its first event means overloaded; nothing says how long to wait."}` + "\n",
		},
		{
			"a host, and words in the body", "HTTP/1.1 429 X\n\n{\"error\":{\"message\":\"Rate limit reached for gpt-4o: try again in 1.5s\"}}",
			[]string{"--json", "--url", "https://api.openai.com/v1/chat/completions", "--method", "POST"},
			`{"dialect":"openai","class":"throttled","retryable":true,"wait_ms":1500,"scope":"model:gpt-4o","limits":[],` +
				`"why":"Status 429 means throttled; the message \"try again in 1.5s\" asks for a wait of 1.5s."}` + "\n",
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			status, stdout, stderr := run(t, s.stdin, append([]string{"explain"}, s.args...)...)
			if status != 0 || stderr != "" || stdout != s.want {
				t.Errorf("explain %q of %q = %d, stderr %q, printed\n%s\nwant\n%s", s.args, s.stdin, status, stderr, stdout, s.want)
			}
		})
	}
}

func TestExplainRefusesWhatIsNoResponse(t *testing.T) {
	for _, stdin := range []string{"", "{\"error\": 1}\n"} {
		status, stdout, stderr := run(t, stdin, "explain")
		if status != exitFailed || stdout != "" || !strings.Contains(stderr, "want an HTTP response") {
			t.Errorf("explain of %q = %d, stdout %q, stderr %q; want 1 and what was expected", stdin, status, stdout, stderr)
		}
	}
}

func TestForeignTextCannotSteerTheTerminal(t *testing.T) {
	_, stdout, _ := run(t, "HTTP/1.1 429 No\r\nRateLimit: \"\x1b[2J\";r=0\r\nRetry-After: \x1b[2J\r\n\r\n", "explain")
	if strings.Contains(stdout, "\x1b") {
		t.Errorf("printed %q, want no escape", stdout)
	}
}

func TestExplainListsEveryDialect(t *testing.T) {
	_, lines, _ := run(t, "", "explain", "--list")
	_, text, _ := run(t, "", "explain", "--list", "--json")
	var objects []struct{ Name, Remark string }
	if err := json.Unmarshal([]byte(text), &objects); err != nil {
		t.Fatalf("explain --list --json printed %s: %v", text, err)
	}
	names := dialect.Names()
	if n := strings.Count(lines, "\n"); n != len(names) || len(objects) != len(names) {
		t.Fatalf("%d lines, %d objects, want %d of each:\n%s", n, len(objects), len(names), lines)
	}
	for i, line := range strings.Split(strings.TrimSuffix(lines, "\n"), "\n") {
		if !strings.HasPrefix(line, names[i]+" ") || objects[i].Name != names[i] || objects[i].Remark == "" {
			t.Errorf("line %q, object %+v, want %s", line, objects[i], names[i])
		}
	}
	if !strings.Contains(lines, "openai ") || !strings.Contains(lines, " api.openai.com ") {
		t.Errorf("printed\n%s\nwant openai and its host", lines)
	}
}
