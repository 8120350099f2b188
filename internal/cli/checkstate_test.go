package cli

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/redistest"
)

func TestCheckAsksALiveRedis(t *testing.T) {
	server := redistest.Start(t, redistest.WithPassword("app", "hush-hush"), redistest.WithAOF())
	file := filepath.Join(t.TempDir(), "headgate.yaml")
	text := "state: " + server.URL() + "\nupstreams: {a: {url: https://a.example, limits: [50/1m]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := run(t, "", "check", "-c", file)
	if status != 0 {
		t.Fatalf("check = %d %s, want 0", status, stderr)
	}
	for _, want := range []string{
		`note: state: (redis|valkey) [\d.]+ at ` + server.Addr + `, role master; it runs our step as a (function|script)\n`,
		`note: state: round trip [\d.]+[mµ]?s; its clock agrees with ours`,
		`note: state: persistence by append-only file, appendfsync always; quotas need none`,
		`note: state: maxmemory 0, maxmemory-policy noeviction\n`,
	} {
		if !regexp.MustCompile(want).MatchString(stderr) {
			t.Errorf("stderr lacks %s:\n%s", want, stderr)
		}
	}
	if strings.Contains(stderr, "warning:") {
		t.Errorf("stderr warns of a good server:\n%s", stderr)
	}
	if want := "state: redis://***@" + server.Addr + "/0\n"; !strings.Contains(stdout, want) {
		t.Errorf("stdout lacks %s:\n%s", want, stdout)
	}
	if strings.Contains(stdout+stderr, "hush-hush") {
		t.Errorf("the password is printed:\n%s%s", stdout, stderr)
	}
}

func TestCheckOfAStateNeedsNoFile(t *testing.T) {
	server := redistest.Start(t)
	t.Chdir(t.TempDir())
	status, stdout, stderr := run(t, "", "check", "--state", server.URL())
	if status != 0 || stdout != "" || !strings.HasPrefix(stderr, "note: state: ") {
		t.Errorf("check = %d %q\n%s\nwant 0, no configuration, and notes on the state alone", status, stdout, stderr)
	}
	if status, _, stderr := run(t, "", "check", "-c", "headgate.yaml", "--state", server.URL()); status != exitUsage {
		t.Errorf("check of a file that is named and missing = %d %s, want 2", status, stderr)
	}
}

func TestCheckRefusesARedisThatEvictsAnyKeyUnlessForced(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("maxmemory 100mb", "maxmemory-policy allkeys-lru"))
	file := filepath.Join(t.TempDir(), "headgate.yaml")
	if err := os.WriteFile(file, []byte("state: "+server.URL()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	why := "maxmemory-policy allkeys-lru drops any key when memory is full, those of quotas too: CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"
	status, _, stderr := run(t, "", "check", "-c", file)
	if want := "\n" + file + ": state \"" + server.URL() + "/0\": " + why + "; --force makes this a warning\n"; status != exitUsage || !strings.HasSuffix(stderr, want) {
		t.Errorf("check = %d\n%s\nwant 2 and%s", status, stderr, want)
	}
	status, _, stderr = run(t, "", "check", "-c", file, "--state", server.URL())
	if want := "\n--state \"" + server.URL() + "/0\": " + why; status != exitUsage || !strings.Contains(stderr, want) {
		t.Errorf("check --state = %d\n%s\nwant 2 and%s", status, stderr, want)
	}
	status, stdout, stderr := run(t, "", "check", "-c", file, "--force")
	if want := "\nwarning: state: " + why + "\n"; status != 0 || !strings.HasSuffix(stderr, want) || stdout == "" {
		t.Errorf("check --force = %d %q\n%s\nwant 0, the configuration and%s", status, stdout, stderr, want)
	}
	if status, _, stderr := run(t, "", "check", "-c", file, "--offline"); status != 0 || strings.Contains(stderr, "maxmemory") {
		t.Errorf("check --offline = %d %s, want 0 and nothing of the server", status, stderr)
	}
}

func TestCheckRefusesAReplica(t *testing.T) {
	master := redistest.Start(t)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := redistest.Start(t, redistest.WithConfig("replicaof "+host+" "+port))
	t.Chdir(t.TempDir())
	status, _, stderr := run(t, "", "check", "--state", replica.URL(), "--force")
	if want := "/0\": is a replica, and takes no writes; name its master,"; status != exitUsage || !strings.Contains(stderr, want) {
		t.Errorf("check --force = %d\n%s\nwant 2 and %s", status, stderr, want)
	}
}

func TestCheckAsksTheMasterThatSentinelsName(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	t.Chdir(t.TempDir())
	status, _, stderr := run(t, "", "check", "--state", "redis+sentinel://"+strings.Join(sentinel.Addrs, ",")+"/"+redistest.MasterName)
	if want := " at " + sentinel.CurrentMaster().Addr + ", role master;"; status != 0 || !strings.Contains(stderr, want) {
		t.Errorf("check = %d\n%s\nwant 0 and %s", status, stderr, want)
	}
}

func TestCheckReadsAClusterAndRefusesItsNode(t *testing.T) {
	cluster := redistest.StartCluster(t)
	t.Chdir(t.TempDir())
	status, _, stderr := run(t, "", "check", "--state", "redis+cluster://"+strings.Join(cluster.Addrs, ","))
	if want := "note: state: cluster_state ok;"; status != 0 || !strings.Contains(stderr, want) {
		t.Errorf("check = %d\n%s\nwant 0 and %s", status, stderr, want)
	}
	status, _, stderr = run(t, "", "check", "--state", "redis://"+cluster.Addrs[0])
	if want := "/0\": is a node of a cluster; want redis+cluster://\n"; status != exitUsage || !strings.HasSuffix(stderr, want) {
		t.Errorf("check of a node = %d\n%s\nwant 2 and %s", status, stderr, want)
	}
}

func TestCheckSaysWhatToTryWhereNothingAnswers(t *testing.T) {
	closed, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	guarded := redistest.Start(t, redistest.WithPassword("", "right")).Addr
	poor := redistest.Start(t, redistest.WithConfig("user app on >hush-hush ~* &* +ping +time")).Addr
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hangsUp := make(chan struct{})
	go func() {
		defer close(hangsUp)
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	defer func() { silent.Close(); <-hangsUp }()
	t.Chdir(t.TempDir())
	for _, s := range []struct{ state, want string }{
		{"redis://:hush-hush@" + closed.String(), "; is the server running, and the port right?\n"},
		{"redis://:hush-hush@" + guarded, "; user or password is wrong\n"},
		{"redis://" + guarded, "; it wants a password: redis://USER:PASSWORD@…, or :PASSWORD@… for the default user\n"},
		{"redis://app:hush-hush@" + poor, "; check needs +info, +config|get, +cluster and +time, and what docs/sharing.md lists\n"},
		{"redis://:hush-hush@" + silent.Addr().String(), "; the server hung up: if it wants TLS, try rediss://\n"},
	} {
		status, stdout, stderr := run(t, "", "check", "--state", s.state)
		if status != exitFailed || stdout != "" || !strings.HasPrefix(stderr, "headgate: state redis://") || !strings.HasSuffix(stderr, s.want) {
			t.Errorf("check --state %s = %d %q\n%s\nwant 1 and %s", s.state, status, stdout, stderr, s.want)
		}
		if strings.Contains(stderr, "hush-hush") {
			t.Errorf("the password is printed:\n%s", stderr)
		}
	}
}

func TestStateNotesAndWarnings(t *testing.T) {
	good := redisstore.Facts{Addr: "a:1", Server: "redis", Version: "7.2.4", Mode: "function", Role: "master", Fsync: "everysec", Eviction: "noeviction", RoundTrip: time.Millisecond}
	for _, s := range []struct {
		name   string
		change func(*redisstore.Facts)
		want   string // a note or a warning
	}{
		{"ahead", func(f *redisstore.Facts) { f.Ahead = 1500 * time.Millisecond }, "round trip 1ms; its clock is 1.5s ahead of ours, and nothing depends on that"},
		{"behind", func(f *redisstore.Facts) { f.Ahead = -time.Minute }, "round trip 1ms; its clock is 1m0s behind ours, and nothing depends on that"},
		{"in doubt", func(f *redisstore.Facts) { f.RoundTrip, f.Ahead = time.Second, 500*time.Millisecond }, "round trip 1s; its clock agrees with ours, and nothing depends on that"},
		{"snapshots", func(f *redisstore.Facts) { f.Save = "3600 1" }, "persistence by snapshots, save \"3600 1\"; quotas need none: instances repair an empty store from what they used"},
		{"no CONFIG", func(f *redisstore.Facts) { f.Fsync = "" }, "persistence unknown; quotas need none: instances repair an empty store from what they used"},
		{"none", func(*redisstore.Facts) {}, "persistence none; quotas need none: instances repair an empty store from what they used"},
		{"volatile", func(f *redisstore.Facts) { f.Eviction = "volatile-ttl" }, "maxmemory-policy volatile-ttl drops keys that expire when memory is full, those of quotas among them: " + mendEviction},
		{"bound", func(f *redisstore.Facts) { f.MaxMemory = 1 << 20 }, "when memory is full it takes no writes, and counts as lost: leave room for quotas, some 0.5 KB for each instance and credential"},
		{"old", func(f *redisstore.Facts) { f.Version = "6.0.16" }, "redis 6.0.16 is older than 6.2, the oldest that is supported"},
		{"unknown", func(f *redisstore.Facts) { f.Eviction = "" }, "maxmemory 0, maxmemory-policy unknown"},
	} {
		facts := good
		s.change(&facts)
		got := append(stateNotes(facts), stateWarnings(config.Store{}, facts)...)
		if !slices.Contains(got, s.want) {
			t.Errorf("%s: %q lacks\n%s", s.name, got, s.want)
		}
	}
	if got := stateWarnings(config.Store{Kind: config.Single}, good); len(got) > 0 {
		t.Errorf("warnings of a good server: %q", got)
	}
}

func TestVersionsBefore62(t *testing.T) {
	for version, want := range map[string]bool{"6.0.16": true, "5.9": true, "6.2.0": false, "7.0.15": false, "10.0": false, "": false, "unstable": false} {
		if got := isBefore62(version); got != want {
			t.Errorf("isBefore62(%q) = %v, want %v", version, got, want)
		}
	}
}
