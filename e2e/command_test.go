package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// It measures, so that it does not run beside others.
func TestDemoThroughTheGateHasNo429s(t *testing.T) {
	r := run(t, headgate([]string{"demo", "--duration", "8s", "--limit", "20/2s", "--json"}))
	if r.status != 0 {
		t.Fatalf("demo = %d\n%s", r.status, r.stderr)
	}
	type half struct{ Wanted, Answered, Lost, Attempts, Throttled int }
	var table struct {
		Limit           string
		Around, Through *half
	}
	if err := json.Unmarshal([]byte(r.stdout), &table); err != nil || table.Around == nil || table.Through == nil {
		t.Fatalf("demo --json printed %s: %v", r.stdout, err)
	}
	if table.Limit != "20/2s" || table.Around.Throttled == 0 {
		t.Errorf("around the gate: %+v at %s, want some 429s at 20/2s", table.Around, table.Limit)
	}
	if h := table.Through; h.Throttled != 0 || h.Lost != 0 || h.Answered == 0 || h.Attempts == 0 {
		t.Errorf("through the gate: %+v, want no 429s and nothing lost", h)
	}
	if strings.ContainsRune(r.stdout+r.stderr, '\x1b') {
		t.Errorf("escape codes in a pipe:\n%q\n%q", r.stdout, r.stderr)
	}
}

func TestMockSaysWhenToComeBackAsTold(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	seconds := func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && n > 0 && n <= 3600
	}
	for form, said := range map[string]func(h http.Header) bool{
		"none":    func(h http.Header) bool { return len(h.Values("Retry-After")) == 0 },
		"seconds": func(h http.Header) bool { return seconds(h.Get("Retry-After")) },
		"date": func(h http.Header) bool {
			at, err := http.ParseTime(h.Get("Retry-After"))
			return err == nil && time.Until(at) > 0 && time.Until(at) < time.Hour+2*time.Second
		},
		"ms": func(h http.Header) bool {
			n, err := strconv.Atoi(h.Get("Retry-After-Ms"))
			return err == nil && n > 3_000_000 && n <= 3_600_000
		},
		"ratelimit": func(h http.Header) bool {
			return regexp.MustCompile(`^"1/1h";r=0;t=\d+$`).MatchString(h.Get("RateLimit")) && h.Get("RateLimit-Policy") == `"1/1h";q=1;w=3600`
		},
		"draft6": func(h http.Header) bool {
			return h.Get("RateLimit-Limit") == "1" && h.Get("RateLimit-Remaining") == "0" && seconds(h.Get("RateLimit-Reset"))
		},
		"x": func(h http.Header) bool {
			at, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
			return err == nil && h.Get("X-RateLimit-Limit") == "1" && at > time.Now().Unix()
		},
	} {
		url := mock(t, "--limit", "1/1h", "--retry-after", form)
		get(t, c, url+"/")
		if a := get(t, c, url+"/"); a.status != 429 || !said(a.header) {
			t.Errorf("--retry-after %s: the second call at 1/1h = %v with %v", form, a, a.header)
		}
	}
}

func TestExplainReadsWhatCurlPrints(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		response, class string
		retryable       bool
		wait            any // ms
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", false, nil},
		{"HTTP/2 429 \r\nretry-after: 7\r\ncontent-type: application/json\r\n\r\n{}", "throttled", true, 7000.0},
		{"HTTP/2 429 \nretry-after-ms: 1500\n\n", "throttled", true, 1500.0},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\r\n", "overloaded", true, 2000.0},
		{"HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 429 \r\nretry-after: 3\r\n\r\n", "throttled", true, 3000.0},
		{"HTTP/2 103 \r\nlink: </a>\r\n\r\nHTTP/2 401 \r\n\r\n", "fatal", false, nil},
		{"HTTP/3 429 \r\nretry-after: Sun, 06 Nov 1994 08:49:47 GMT\r\n\r\n", "throttled", true, 10_000.0},
	} {
		cmd := headgate([]string{"explain", "--json", "--now", "1994-11-06T08:49:37Z"})
		cmd.Stdin = strings.NewReader(s.response)
		r := run(t, cmd)
		var got map[string]any
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.status != 0 {
			t.Errorf("explain of %q = %d %s%s: %v", s.response, r.status, r.stdout, r.stderr, err)
			continue
		}
		if got["class"] != s.class || got["retryable"] != s.retryable || got["wait_ms"] != s.wait {
			t.Errorf("explain of %q = %s, want %s, retryable %v, wait %v", s.response, r.stdout, s.class, s.retryable, s.wait)
		}
		for _, key := range []string{"dialect", "class", "retryable", "wait_ms", "scope", "limits", "why"} {
			if _, ok := got[key]; !ok {
				t.Errorf("explain of %q lacks %s: %s", s.response, key, r.stdout)
			}
		}
	}
	cmd := headgate([]string{"explain", "--json"})
	cmd.Stdin = strings.NewReader("not a response\n")
	if r := run(t, cmd); r.status != 1 || r.stdout != "" || unseemly(r.stderr) != "" {
		t.Errorf("explain of no response = %d %q %s, want 1 and the reason", r.status, r.stdout, r.stderr)
	}
}

func TestExplainReadsTheMock(t *testing.T) {
	t.Parallel()
	url := mock(t, "--limit", "1/1h")
	c := newClient(t)
	get(t, c, url+"/")
	a := get(t, c, url+"/")
	cmd := headgate([]string{"explain", "--json"})
	cmd.Stdin = strings.NewReader(fmt.Sprintf("HTTP/1.1 %d X\r\nRetry-After: %s\r\n\r\n%s", a.status, a.header.Get("Retry-After"), a.body))
	r := run(t, cmd)
	var got struct {
		Class  string
		WaitMS int64 `json:"wait_ms"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Class != "throttled" || got.WaitMS < 3_500_000 {
		t.Errorf("explain of the mock's %v = %s%s, want throttled for about an hour", a, r.stdout, r.stderr)
	}
}

func TestVersionAndSchemaAreJSON(t *testing.T) {
	t.Parallel()
	var version struct{ Version, Commit, Go string }
	r := run(t, headgate([]string{"version", "--json"}))
	if err := json.Unmarshal([]byte(r.stdout), &version); err != nil || r.status != 0 ||
		version.Version == "" || version.Commit == "" || !strings.HasPrefix(version.Go, "go1.") {
		t.Errorf("version --json = %d %s%s", r.status, r.stdout, r.stderr)
	}
	if r := run(t, headgate([]string{"version"})); r.status != 0 || !strings.HasPrefix(r.stdout, "headgate "+version.Version+"\n") {
		t.Errorf("version = %d %s, want version %s first", r.status, r.stdout, version.Version)
	}
	var schema struct {
		Schema string                                         `json:"$schema"`
		Ref    string                                         `json:"$ref"`
		Defs   map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	r = run(t, headgate([]string{"schema"}))
	if err := json.Unmarshal([]byte(r.stdout), &schema); err != nil || r.status != 0 || schema.Schema == "" {
		t.Fatalf("schema = %d %s%s: %v", r.status, r.stdout, r.stderr, err)
	}
	file := schema.Defs[strings.TrimPrefix(schema.Ref, "#/$defs/")]
	for _, key := range []string{"listen", "admin", "upstreams", "clients", "log", "tls"} {
		if file.Properties[key] == nil {
			t.Errorf("the schema lacks %s", key)
		}
	}
}
