package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestStoreReadsEveryForm(t *testing.T) {
	for _, test := range []struct {
		state string
		want  Store
		shown string // as String writes it
	}{
		{"", Store{}, "memory"},
		{"memory", Store{}, "memory"},
		{"redis://cache", Store{Kind: Single, Addrs: []string{"cache:6379"}}, "redis://cache:6379/0"},
		{"redis://cache/", Store{Kind: Single, Addrs: []string{"cache:6379"}}, "redis://cache:6379/0"},
		{"redis://10.0.0.1:7000/12", Store{Kind: Single, Addrs: []string{"10.0.0.1:7000"}, DB: 12}, "redis://10.0.0.1:7000/12"},
		{"rediss://[::1]/1", Store{Kind: Single, TLS: true, Addrs: []string{"[::1]:6379"}, DB: 1}, "rediss://[::1]:6379/1"},
		{"redis://[2001:db8::1]:7000", Store{Kind: Single, Addrs: []string{"[2001:db8::1]:7000"}}, "redis://[2001:db8::1]:7000/0"},
		{"redis://:hunter2@cache", Store{Kind: Single, Addrs: []string{"cache:6379"}, Password: NewSecret("hunter2")}, "redis://***@cache:6379/0"},
		{"redis://gate%40home:p%40s%2Fs%3A%25+:x@cache:1/2", Store{Kind: Single, Addrs: []string{"cache:1"}, DB: 2,
			Username: "gate@home", Password: NewSecret("p@s/s:%+:x")}, "redis://***@cache:1/2"},
		{"redis://gate:@cache", Store{Kind: Single, Addrs: []string{"cache:6379"}, Username: "gate"}, "redis://***@cache:6379/0"},
		{"redis://gate@cache", Store{Kind: Single, Addrs: []string{"cache:6379"}, Username: "gate"}, "redis://***@cache:6379/0"},
		{"redis://:@cache", Store{Kind: Single, Addrs: []string{"cache:6379"}}, "redis://cache:6379/0"},
		{"redis+sentinel://a,b:1,[::1]/main", Store{Kind: Sentinel, Addrs: []string{"a:26379", "b:1", "[::1]:26379"}, Master: "main"},
			"redis+sentinel://a:26379,b:1,[::1]:26379/main/0"},
		{"redis+sentinel://a/main/3", Store{Kind: Sentinel, Addrs: []string{"a:26379"}, Master: "main", DB: 3}, "redis+sentinel://a:26379/main/3"},
		{"redis+sentinel://a/3?master=7", Store{Kind: Sentinel, Addrs: []string{"a:26379"}, Master: "7", DB: 3}, "redis+sentinel://a:26379/7/3"},
		{"rediss+sentinel://u:hunter2@a/main?sentinel_password=x%26+y", Store{Kind: Sentinel, TLS: true, Addrs: []string{"a:26379"}, Master: "main",
			Username: "u", Password: NewSecret("hunter2"), SentinelPassword: NewSecret("x&+y")}, "rediss+sentinel://***@a:26379/main/0?sentinel_password=***"},
		{"redis+cluster://a,b:7001,c", Store{Kind: Cluster, Addrs: []string{"a:6379", "b:7001", "c:6379"}}, "redis+cluster://a:6379,b:7001,c:6379"},
		{"rediss+cluster://:hunter2@a/0", Store{Kind: Cluster, TLS: true, Addrs: []string{"a:6379"}, Password: NewSecret("hunter2")}, "rediss+cluster://***@a:6379"},
	} {
		got, err := Config{State: test.state}.Store()
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("Store of %q\n got %#v, %v\nwant %#v, nil", test.state, got, err, test.want)
		}
		if got.String() != test.shown {
			t.Errorf("Store of %q prints %s, want %s", test.state, got, test.shown)
		}
	}
}

func TestStoreRefusesWithAReasonAndWithoutThePassword(t *testing.T) {
	const (
		begin   = "want memory, or an address that begins with redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://"
		once    = `after "?" want master=NAME or sentinel_password=PASSWORD, each once, "&" between them, of redis+sentinel:// alone`
		host    = `want host or host:port, such as "localhost:6379", and "," between several; ` + encoded
		at      = `must hold one "@", before the first host; ` + encoded
		master  = `the name of the master is missing: want "/MASTER" or "/MASTER/DB" after the hosts`
		numeric = `the name of the master is missing before the database: want "/MASTER/DB", or "?master=NAME"`
		db      = `want the number of a database at the end, such as "/0", or nothing`
	)
	for _, test := range []struct{ state, want string }{
		{"Memory", `state "Memory": ` + begin + `; did you mean "memory"?`},
		{"memory://", `state "memory://": ` + begin + `; did you mean "memory"?`},
		{"localhost:6379", `state "localhost:6379": ` + begin + `; did you mean "redis://localhost:6379"?`},
		{"REDIS://localhost", `state "REDIS://localhost": ` + begin + `; did you mean "redis://"?`},
		{"redis+sentinels://:hunter2@a/main", `state "redis+sentinels://***@a/main": ` + begin + `; did you mean "redis+sentinel://"?`},
		{"postgres://x:hunter2@y", `state "postgres://***@y": ` + begin},
		{"x:hunter2@y", `state "***@y": ` + begin},
		{"redis:cache", `state: ` + begin},
		{"redis://", `state "redis://": the host is missing`},
		{"redis://:hunter2@", `state "redis://***@": the host is missing`},
		{"redis://:hunter2@/0", `state "redis://***@/0": the host is missing`},
		{"redis://:hunter2", `state: ` + host},
		{"redis://gate:hunter2", `state: ` + host},
		{"redis://gate:1hunter2/0", `state: ` + host},
		{"redis://:hunter2%@cache", `state "redis://***@cache": a "%" is not followed by two hexadecimal digits; ` + encoded},
		{"redis://:hun@ter2@cache", `state "redis://***@cache": ` + at},
		{"redis://:hun/ter2@cache", `state "redis://***@cache": ` + at},
		{"redis://:hun?ter2@cache", `state "redis://***": ` + host},
		{"redis://:hun#ter2@cache", `state "redis://***": must hold no "#"; ` + encoded},
		{"redis+cluster://:hunter2@a,:hunter2@b", `state "redis+cluster://***@b": ` + at},
		{"redis://cache:0", `state "redis://cache:0": ` + host},
		{"redis://cache:65536", `state "redis://cache:65536": ` + host},
		{"redis://cache:", `state: ` + host},
		{"redis://ca che", `state "redis://ca che": ` + host},
		{"redis://[::1", `state: ` + host},
		{"redis://[10.0.0.1]", `state "redis://[10.0.0.1]": ` + host},
		{"redis://[fe80::1%25eth0]", `state: ` + host},
		{"redis://a,b", `state "redis://a,b": has more than one host; want redis+sentinel:// or redis+cluster://`},
		{"redis+cluster://a,,b", `state "redis+cluster://a,,b": ` + host},
		{"redis://cache/x", `state "redis://cache/x": ` + db},
		{"redis://cache/-1", `state "redis://cache/-1": ` + db},
		{"redis://cache/0/1", `state "redis://cache/0/1": ` + db},
		{"redis://cache/2147483648", `state "redis://cache/2147483648": ` + db},
		{"redis://cache?db=1", `state "redis://cache?***": ` + once},
		{"rediss://cache?insecure_skip_verify=true", `state "rediss://cache?***": ` + once},
		{"redis+cluster://a/1", `state "redis+cluster://a/1": a cluster has database 0 alone; leave the number out`},
		{"redis+sentinel://a", `state "redis+sentinel://a": ` + master},
		{"redis+sentinel://a//1", `state "redis+sentinel://a//1": ` + master},
		{"redis+sentinel://a/0", `state "redis+sentinel://a/0": ` + numeric},
		{"redis+sentinel://a/my main", `state "redis+sentinel://a/my main": the name of a master has letters, digits, ".", "_" and "-" only`},
		{"redis+sentinel://a/main?master=main", `state "redis+sentinel://a/main?***": ` + db},
		{"redis+sentinel://a/main?sentinel_password=", `state "redis+sentinel://a/main?***": ` + once},
		{"redis+sentinel://a/main?sentinel_password=hunter2&sentinel_password=x", `state "redis+sentinel://a/main?***": ` + once},
		{"redis+sentinel://a/main?sentinel_password=hunter2%", `state "redis+sentinel://a/main?***": ` + once},
		{"redis+sentinel://a/main?sentinel_password=x&password=hun@ter2", `state "redis+sentinel://***": ` + once},
	} {
		_, err := Config{State: test.state}.Store()
		if err == nil || err.Error() != test.want {
			t.Errorf("Store of %q\n got %v\nwant %s", test.state, err, test.want)
			continue
		}
		if _, ok := errors.AsType[*Error](err); !ok || strings.Contains(err.Error(), "ter2") {
			t.Errorf("Store of %q = %T %v, want an *Error without the password", test.state, err, err)
		}
		if valid := (Config{State: test.state}).Validate(); valid == nil || valid.Error() != test.want {
			t.Errorf("Validate of state %q = %v, want %s", test.state, valid, test.want)
		}
	}
}

func TestStateTakesExpansionsAndHidesThem(t *testing.T) {
	t.Setenv("HG_SECRET", "hunter2%2F")
	const file = "state: \"redis://gate:${env:HG_SECRET}@cache\"\nupstreams: {a: {url: http://x, limits: [5/1s]}}\n"
	c, err := Parse("f", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Store()
	if err != nil || s.Username != "gate" || s.Password.Reveal() != "hunter2/" {
		t.Errorf("Store = %+v with password %q, %v; want gate and hunter2/", s, s.Password.Reveal(), err)
	}
	if got := printed(t, c) + strings.Join(c.Notes(), "\n"); strings.Contains(got, secret) || !strings.Contains(got, "state: \"***\"\n") {
		t.Errorf("Print and Notes =\n%s\nwant no secret and state: ***", got)
	}
	t.Setenv("HG_SECRET", "hun@ter2")
	_, err = Parse("f", []byte(file))
	want := `f:1:8: state: must hold one "@", before the first host; ` + encoded + " (its value came from ${…} and is not shown)"
	if err == nil || err.Error() != want {
		t.Errorf("Parse with a raw password\n got %v\nwant %s", err, want)
	}
}

func TestPrintShowsStateWithoutItsPassword(t *testing.T) {
	for state, want := range map[string]string{
		"redis://cache":                       "state: redis://cache\n",
		"redis+cluster://a,b":                 "state: redis+cluster://a,b\n",
		"redis+sentinel://a?master=m":         "state: redis+sentinel://a:26379/m/0\n",
		"redis://:hunter2@cache":              "state: redis://***@cache:6379/0\n",
		"redis+cluster://gate:hunter2@a,b:7":  "state: redis+cluster://***@a:6379,b:7\n",
		"redis+cluster://gate:hunter2@a,b:x":  "state: \"***\"\n", // what Validate refuses
		"redis://cache/0?password=hunter2":    "state: \"***\"\n",
		"postgres://gate:hunter2@cache:1/foo": "state: \"***\"\n",
	} {
		got := printed(t, Config{State: state})
		if !strings.Contains(got, want) || strings.Contains(got, secret) {
			t.Errorf("Print of state %q\n%s\nwant %s", state, got, want)
		}
	}
}

func TestNotesSayWhoSharesAndWhatStoreLossDoes(t *testing.T) {
	up := map[string]Upstream{"a": {URL: "http://x", Credentials: []Credential{{Header: "K", Value: NewSecret("v")}}, Limits: []Limit{{Limit: "5/1s"}}}}
	const (
		counted = `upstreams.a.limits[0] "5/1s": counted for each credential`
		who     = `state "redis://***@cache:6379/0": instances with this state and namespace "prod" share limits, pauses and breakers of upstreams`
		loss    = `": while the state cannot be reached `
	)
	c := Config{State: "redis://:hunter2@cache", Namespace: "prod", Upstreams: up}
	checkNotes(t, c, counted, who, `on_store_loss "share`+loss+storeLoss["share"])
	c.OnStoreLoss = "wait"
	checkNotes(t, c, counted, who, `on_store_loss "wait`+loss+storeLoss["wait"])
	c.OnStoreLoss = "fail"
	c.Clients = []Client{{Name: "web", Key: testKey, Limits: []Limit{{Limit: "5/1s"}}}}
	checkNotes(t, c, counted, `clients[0].limits[0] "5/1s": counted for this client`, who, `on_store_loss "fail`+loss+storeLoss["fail"],
		"clients: their limits are counted by each instance on its own: two instances let twice as much through")
	checkNotes(t, Config{OnStoreLoss: "wait", Namespace: "prod", Upstreams: map[string]Upstream{"a": {URL: "http://x"}}},
		"upstreams.a: no credentials: those of the caller are passed through",
		"upstreams.a: no limits: they are learned from the answers")
	for _, choice := range choices["Config.on_store_loss"] {
		if storeLoss[choice] == "" {
			t.Errorf("no note for on_store_loss %s", choice)
		}
	}
}

func TestNamespaceIsAPartOfAKey(t *testing.T) {
	for namespace, good := range map[string]bool{
		"a": true, "prod-2.eu_WEST": true, strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false, "a b": false, "{a}": false, "a:b": false, "é": false, "a\n": false,
	} {
		if err := (Config{Namespace: namespace}).Validate(); (err == nil) != good {
			t.Errorf("Validate of namespace %q = %v, want good %v", namespace, err, good)
		}
	}
}

// FuzzStore holds that any text is a store or a fault that can be shown, that
// what a store prints is a store again, and that no part of a password shows.
func FuzzStore(f *testing.F) {
	for _, seed := range []string{
		"memory", "redis://a", "rediss://u:hunter2@[::1]:1/2", "redis+sentinel://:hunter2@a,b:1/main/3?sentinel_password=hunter2",
		"redis+cluster://a,b,c", "redis+sentinel://a/1?master=m", "redis://:%zz@a", "redis://a:b@c?d@e#f", "a:b", "://", "redis://[]:1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, fault := parseStore(text)
		if fault != nil {
			if at := strings.LastIndex(text, "@"); fault.Msg == "" || at >= 0 && !strings.Contains(fault.Value, hiddenText) {
				t.Errorf("parseStore(%q) = %v, want a reason and what stands before the @ hidden", text, fault)
			}
			return
		}
		for _, addr := range s.Addrs {
			if again, ok := hostAndPort(addr, ""); !ok || again != addr {
				t.Errorf("parseStore(%q) has the address %q, read back as %q, %v", text, addr, again, ok)
			}
		}
		plain := s
		plain.Username, plain.Password, plain.SentinelPassword = "", Secret{}, Secret{}
		again, fault := parseStore(plain.String())
		if fault != nil || !reflect.DeepEqual(again, plain) {
			t.Errorf("parseStore(%q) prints %s, read back as %+v, %v", text, plain, again, fault)
		}
		if want := plain.String(); strings.NewReplacer(hiddenText+"@", "", "?sentinel_password="+hiddenText, "").Replace(s.String()) != want {
			t.Errorf("parseStore(%q) prints %s, want %s and *** alone", text, s, want)
		}
	})
}

func TestSetReplacesAValueAndWhatIsHidden(t *testing.T) {
	t.Setenv("HG_SECRET", secret)
	c := Config{Listen: ":1"}
	for _, step := range []struct{ path, text, want string }{
		{"state", "redis://:${env:HG_SECRET}@cache", "state: \"***\"\n"},
		{"state", "redis://cache", "state: redis://cache\n"},
		{"state", "redis://:hunter2@cache", "state: redis://***@cache:6379/0\n"},
		{"namespace", "prod", "namespace: prod\n"},
		{"on_store_loss", "fail", "on_store_loss: fail\n"},
		{"listen", "127.0.0.1:${env:HG_SECRET}", "listen: \"***\"\n"},
		{"admin", "off", "admin: \"off\"\n"},
		{"jobs", "redis://:hunter2@cache", "jobs: redis://***@cache:6379/0\n"},
		{"jobs", "./jobs.db", "jobs: ./jobs.db\n"},
		{"retention", "2d", "retention: 2d\n"},
		{"log.level", "debug", "level: debug\n"},
		{"log.format", "json", "format: json\n"},
	} {
		before := c
		old := printed(t, before)
		if err := c.Set(step.path, step.text); err != nil {
			t.Fatalf("Set(%s, %q) = %v", step.path, step.text, err)
		}
		if got := printed(t, c); !strings.Contains(got, step.want) || strings.Contains(got, secret) {
			t.Errorf("Set(%s, %q) prints\n%s\nwant %s", step.path, step.text, got, step.want)
		}
		if got := printed(t, before); got != old {
			t.Errorf("Set(%s, %q) changed a copy from\n%s\nto\n%s", step.path, step.text, old, got)
		}
	}
	err := c.Set("state", "redis://${env:HG_UNSET}")
	if want := "state: environment variable HG_UNSET is not set"; err == nil || err.Error() != want || c.State != "redis://:hunter2@cache" {
		t.Errorf("Set of an unset variable = %v with state %q, want %s and no change", err, c.State, want)
	}
}

func printed(t *testing.T, c Config) string {
	t.Helper()
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
