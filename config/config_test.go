package config

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

const testKey = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestValidateAcceptsZeroAndDefaults(t *testing.T) {
	one := Config{Upstreams: map[string]Upstream{"default": {URL: "h2c://localhost:8080/base"}}}
	for _, c := range []Config{{}, one, (Config{}).WithDefaults(), one.WithDefaults(), {Admin: "off"}, {Listen: ":0", Admin: ":0"}} {
		if err := c.Validate(); err != nil {
			t.Errorf("Validate(%+v) = %v, want nil", c, err)
		}
	}
}

// A ledger tells 64 path limits apart: one more would cover every path.
func TestValidateRefusesMorePathLimitsThanALedgerTellsApart(t *testing.T) {
	var list []Limit
	for i := range 65 {
		list = append(list, Limit{Limit: "5/1s", Scope: fmt.Sprintf("path:/v%d", i)})
	}
	for n, want := range map[int]string{
		64: "<nil>",
		65: "upstreams.a.limits: at most 64 limits of paths, found 65; a path that ends in * covers many",
	} {
		c := Config{Upstreams: map[string]Upstream{"a": {URL: "http://x", Limits: list[:n]}}}
		if err := c.Validate(); fmt.Sprint(err) != want {
			t.Errorf("Validate with %d path limits = %v, want %s", n, err, want)
		}
	}
}

// Values set in code get the messages of a file, without its places. What the
// file's syntax rules out is tested here alone.
func TestValidateReportsValuesSetInCode(t *testing.T) {
	up := func(u Upstream) Config {
		u.URL = "http://x"
		return Config{Upstreams: map[string]Upstream{"a": u}}
	}
	for _, test := range []struct {
		c    Config
		want string
	}{
		{Config{Upstreams: map[string]Upstream{"a": {}}}, "upstreams.a.url: is missing"},
		{up(Upstream{Limits: []Limit{{Limit: "50/1min"}}}),
			`upstreams.a.limits[0] "50/1min": window "1min" has no known unit (ms, s, m, h, d); did you mean "50/1m"?`},
		{up(Upstream{Retry: Retry{Attempts: -1}}), "upstreams.a.retry.attempts: must not be negative"},
		{up(Upstream{Retry: Retry{Budget: -0.1}}), "upstreams.a.retry.budget: must be from 0% to 100%"},
		{up(Upstream{Retry: Retry{Budget: Percent(math.NaN())}}), "upstreams.a.retry.budget: must be from 0% to 100%"},
		{up(Upstream{Retry: Retry{Cap: Duration(time.Millisecond)}}), "upstreams.a.retry.cap: base must not be more than cap (defaults 500ms and 60s)"},
		{up(Upstream{Line: Line{Reserve: Reserve{1, 0, 3}}}), "upstreams.a.line.reserve: must be from 0% to less than 100%: the others would never get a turn"},
		{up(Upstream{Line: Line{Reserve: Reserve{0.2, 0, 8}}}), "upstreams.a.line.reserve: want priorities from 0 to 7, the lower one first"},
		{up(Upstream{Breaker: Breaker{OpenAfter: OpenAfter{Throttled: 5}}}), "upstreams.a.breaker.open_after: count and time must be more than 0"},
		{up(Upstream{Breaker: Breaker{Failures: Failures{Of: 5}}}), `upstreams.a.breaker.failures: share and count must be more than 0; write "off" for never`},
		{up(Upstream{Timeout: Timeout{Attempt: -1}}), "upstreams.a.timeout.attempt: must not be negative"},
		{up(Upstream{MaxBody: -1}), "upstreams.a.max_body: must not be negative"},
		{up(Upstream{Credentials: []Credential{{Header: "K", Value: NewSecret("a\nb")}}}),
			"upstreams.a.credentials[0].value: must hold no line break or other control character"},
		{Config{Clients: []Client{{Key: testKey}}}, "clients[0].name: is missing"},
		{Config{Clients: []Client{{Name: "a", Key: testKey, Priority: new(-1)}}}, `clients[0].priority "-1": must be from 0 (most urgent) to 7 (least)`},
		{Config{Listen: "localhost:8788"}, "listen: is taken twice: listen and admin need an address each (defaults 127.0.0.1:8787 and 127.0.0.1:8788)"},
		{Config{Admin: "0.0.0.0:8787"}, "admin: is taken twice: listen and admin need an address each (defaults 127.0.0.1:8787 and 127.0.0.1:8788)"},
	} {
		err := test.c.Validate()
		if err == nil || err.Error() != test.want {
			t.Errorf("Validate(%+v)\n got %v\nwant %s", test.c, err, test.want)
		}
	}
}

func TestWithDefaultsFillsEveryFieldAndChangesNothingElse(t *testing.T) {
	c := Config{
		Upstreams: map[string]Upstream{"a": {URL: "http://x", Limits: []Limit{{Limit: "50/1m"}}, Retry: Retry{Attempts: 1}}},
		Clients:   []Client{{Name: "web", Key: testKey, Limits: []Limit{{Limit: "1/1s"}}}},
		Sources:   []Source{{Name: "s"}},
	}
	got := c.WithDefaults()
	want := Config{
		Listen: "127.0.0.1:8787", Admin: "127.0.0.1:8788", State: "memory", Namespace: "default", OnStoreLoss: "share", Jobs: "./headgate.db", Retention: Duration(24 * time.Hour),
		Log: Log{Level: "info", Format: "text"},
		Upstreams: map[string]Upstream{"a": {
			URL: "http://x", Dialect: "auto", Quota: "a", Guard: "adaptive",
			Limits: []Limit{{Limit: "50/1m", Scope: "credential"}},
			Retry: Retry{Attempts: 1, Base: Duration(500 * time.Millisecond), Cap: Duration(time.Minute), Jitter: "full",
				Budget: 0.2, Body: 1 << 20, BodyFile: 64 << 20},
			Breaker: Breaker{OpenFor: Duration(30 * time.Second), Failures: Failures{0.5, 20}},
			Line:    Line{MaxWait: Duration(2 * time.Minute), MaxLength: 10000, MaxBytes: 256 << 20},
			Timeout: Timeout{Attempt: Duration(time.Minute), IdleStream: Duration(time.Minute)},
		}},
		Clients: []Client{{Name: "web", Key: testKey, Priority: new(3), Weight: 1, Limits: []Limit{{Limit: "1/1s"}}}},
		Sources: []Source{{Name: "s", Request: SourceRequest{Method: "POST"}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("WithDefaults\n got %+v\nwant %+v", got, want)
	}
	if again := got.WithDefaults(); !reflect.DeepEqual(again, want) {
		t.Errorf("WithDefaults twice\n got %+v\nwant %+v", again, want)
	}
	if c.Upstreams["a"].Quota != "" || c.Upstreams["a"].Limits[0].Scope != "" || c.Clients[0].Priority != nil || c.Sources[0].Request.Method != "" {
		t.Errorf("WithDefaults changed what it was called on: %+v", c)
	}
}

func TestPrintHidesSecretsAndReadsBack(t *testing.T) {
	t.Setenv("HG_SECRET", secret)
	t.Setenv("HG_LIMIT", "5/1m")
	c, err := Parse("f", []byte(`
state: redis://gate:hunter2@cache/1
upstreams:
  b: {url: "http://${env:HG_SECRET}.example.com", quota: "a$${b}"}
  a:
    url: http://x
    credentials: [{header: K, value: hunter2}]
    limits: ["${env:HG_LIMIT}", {limit: "concurrent:3", scope: "path:/${env:HG_SECRET}"}]
`))
	if err != nil {
		t.Fatal(err)
	}
	c.Sources = []Source{{Redis: "redis://:hunter2@localhost", Request: SourceRequest{Headers: map[string]string{"K": secret}}}}
	c.Clients = []Client{{Name: "web", Key: secret}} // not validated: a key in the place of its hash
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/print.golden")
	if *update {
		err = os.WriteFile("testdata/print.golden", []byte(b.String()), 0o644)
		want = []byte(b.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("Print\n got %s\nwant %s", b.String(), want)
	}
	if strings.Contains(b.String(), secret) || strings.Contains(b.String(), "5/1m") {
		t.Errorf("Print shows a secret:\n%s", b.String())
	}
}

func TestPrintReadsBack(t *testing.T) {
	c := Config{
		State:     "redis+cluster://a,b:7000",
		Upstreams: map[string]Upstream{"b": {URL: "http://x", Quota: "${x}", Breaker: Breaker{Failures: Failures{Share: 1}}}, "a": {URL: "http://y", Quota: "null"}},
		Clients:   []Client{{Name: "true", Key: testKey, Priority: new(0), Limits: []Limit{{Limit: "concurrent:3"}}}},
	}
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Parse("f", []byte(b.String()))
	got.hidden = nil
	if want := c.WithDefaults(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("printed\n%s\n got %+v, %v\nwant %+v", b.String(), got, err, want)
	}
}

func TestNotesSayWhatTheFileDoesNot(t *testing.T) {
	t.Setenv("HG_LIMIT", "7/1m burst 9")
	c, err := Parse("f", []byte(`
listen: 0.0.0.0:80
admin: :81
upstreams:
  x:
    url: http://x
    limits: [10/1s burst 20, {limit: 5/1m, scope: upstream}, {limit: "${env:HG_LIMIT}", scope: "path:/v1*"}]
  y: {url: http://y, credentials: [{header: K, value: v}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	const alone = `state "memory": limits are counted by each instance on its own: two instances let twice as much through`
	checkNotes(t, c,
		"upstreams.x: no credentials: those of the caller are passed through",
		`upstreams.x.limits[0] "10/1s burst 20": counted for each credential`,
		`upstreams.x.limits[0] "10/1s burst 20": up to 30 in one window; an upstream that counts windows will refuse some`,
		`upstreams.x.limits[1] "5/1m": counted for the upstream, all credentials together`,
		"upstreams.x.limits[2].limit: counted for path:/v1*, for each credential",
		"upstreams.x.limits[2].limit: up to N + burst in one window; an upstream that counts windows will refuse some",
		"upstreams.y: no limits: they are learned from the answers",
		alone,
		`listen "0.0.0.0:80": not a loopback address, and there are no clients: anyone who reaches it may call`,
		`admin ":81": not a loopback address: anyone who reaches it can see what runs`,
		`admin ":81": without admin_key nothing can be changed there: no job retried, no upstream paused`,
	)
	checkNotes(t, Config{Listen: ":80", Admin: "off", Clients: []Client{{Name: "a", Key: testKey, Limits: []Limit{{Limit: "5/1s"}}}}},
		"upstreams: none, so every call is answered 404",
		`clients[0].limits[0] "5/1s": counted for this client`,
		alone,
	)
}

func checkNotes(t *testing.T, c Config, want ...string) {
	t.Helper()
	if got := c.Notes(); !reflect.DeepEqual(got, want) {
		t.Errorf("Notes\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}
