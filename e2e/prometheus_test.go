package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

const (
	alertsFile    = repository + "/deploy/prometheus/alerts.yml"
	alertsTests   = repository + "/deploy/prometheus/alerts_test.yml"
	dashboardFile = repository + "/deploy/grafana/headgate.json"
)

// debian returns the path of a command of a Debian package.
func debian(t *testing.T, command, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		t.Skipf("needs %s, of the Debian package %s", command, pkg)
	}
	return path
}

// watched is a gate each of whose metrics moves: it shares its quota through a
// Redis, keeps jobs, and its upstream refuses every seventh call.
type watched struct {
	*gate
	client *http.Client
}

func newWatched(t *testing.T) *watched {
	var n atomic.Int64
	up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%7 == 0 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	g := serve(t, "--upstream", up.URL, "--limit", "100/1s", "--limit", "concurrent:4",
		"--state", redistest.Start(t).URL(), "--jobs", filepath.Join(t.TempDir(), "jobs.db"))
	return &watched{gate: g, client: newClient(t)}
}

// use makes calls and a job, and waits for them.
func (g *watched) use(t *testing.T) {
	t.Helper()
	for range 20 {
		if a := get(t, g.client, g.url+"/call"); a.status != 200 {
			t.Errorf("call = %v, want 200", a)
		}
	}
	j := enqueue(t, g.client, g.url+"/job")
	if a := get(t, g.client, g.url+"/jobs/"+j.ID, "Prefer", "wait=10"); !strings.Contains(a.body, `"done"`) {
		t.Errorf("job = %v, want it done", a)
	}
}

// Names are promised to those who have made dashboards and alerts of them.
func TestEveryMetricIsThereAndMoves(t *testing.T) {
	t.Parallel()
	g := newWatched(t)
	g.use(t)
	page := get(t, g.client, g.admin+"/metrics").body
	for _, want := range []string{
		`headgate_calls_total\{client="",outcome="ok",upstream="default"\} [1-9]`,
		`headgate_attempts_total\{code="200",reading="ok",upstream="default"\} [1-9]`,
		`headgate_attempts_total\{code="429",reading="throttled",upstream="default"\} [1-9]`,
		`headgate_line_length\{upstream="default"\} 0`,
		`headgate_line_wait_seconds_count\{upstream="default"\} [1-9]`,
		`headgate_line_wait_seconds_bucket\{upstream="default",le="60"\} [1-9]`,
		`headgate_retry_delay_seconds_count\{upstream="default"\} [1-9]`,
		`headgate_limit_usage_ratio\{limit="100/1s",upstream="default"\} 0\.\d`,
		`headgate_limit_usage_ratio\{limit="concurrent:4",upstream="default"\} `,
		`headgate_breaker_state\{upstream="default"\} 0`,
		`headgate_paused\{upstream="default"\} 0`,
		`headgate_jobs\{state="done"\} 1`,
		`headgate_jobs_ended_total\{kind="call",state="done",upstream="default"\} 1`,
		`headgate_job_store_up 1`,
		`headgate_store_seconds_count\{op="sync"\} [1-9]`,
		`headgate_store_up 1`,
		`headgate_instances\{upstream="default"\} 1`,
		`headgate_build_info\{.+\} 1`,
	} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(page) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if t.Failed() {
		t.Logf("metrics:\n%s", page)
	}

	exported := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(page, -1) {
		exported[m[1]] = true
		if m[2] == "histogram" {
			exported[m[1]+"_bucket"], exported[m[1]+"_count"], exported[m[1]+"_sum"] = true, true, true
		}
	}
	for _, file := range []string{alertsFile, alertsTests, dashboardFile, repository + "/docs/operations.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\bheadgate_[a-z_]+`).FindAllString(string(text), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range names {
			if !exported[name] {
				t.Errorf("%s has %s, which is not exported", file, name)
			}
		}
	}

	promtool := exec.Command(debian(t, "promtool", "prometheus"), "check", "metrics")
	promtool.Stdin = strings.NewReader(page)
	if out, err := promtool.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool := debian(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", alertsFile}, {"test", "rules", alertsTests}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args, err, out)
		}
	}
}

// An alert that nobody knows what to do about is noise.
func TestOperationsSaysWhatToDoAboutEachAlert(t *testing.T) {
	rules, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile(repository + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(alertsTests)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(docs), "| `"+m[1]+"` |") {
			t.Errorf("docs/operations.md has no row for %s", m[1])
		}
		if !regexp.MustCompile(`alertname: ` + m[1] + `\n\s+exp_alerts`).Match(tests) {
			t.Errorf("no test has %s fire", m[1])
		}
	}
}

func TestPrometheusAnswersWhatTheDashboardAsks(t *testing.T) {
	t.Parallel()
	g := newWatched(t)
	p := newPrometheus(t, g.admin)
	g.use(t)
	p.waitFor(t, `headgate_jobs_ended_total`)
	g.use(t)
	vars := strings.NewReplacer("$__rate_interval", "20s", "$job", ".*", "$upstream", ".*")
	for title, exprs := range dashboardQueries(t) {
		for _, expr := range exprs {
			eventually(t, fmt.Sprintf("%s: %s has an answer", title, expr), func() bool {
				n, err := p.query(vars.Replace(expr))
				if err != nil {
					t.Fatalf("%s: %s: %v", title, expr, err)
				}
				return n > 0
			})
		}
	}
	eventually(t, "all rules have been evaluated", func() bool { return p.rulesAreWell(t) })
}

// Whoever keeps native histograms asks without buckets.
func TestPrometheusTakesNativeHistograms(t *testing.T) {
	t.Parallel()
	g := newWatched(t)
	p := newPrometheus(t, g.admin, "--enable-feature=native-histograms")
	g.use(t)
	p.waitFor(t, `headgate_line_wait_seconds`)
	g.use(t)
	p.waitFor(t, `histogram_quantile(0.99, sum by (upstream) (rate(headgate_line_wait_seconds[20s]))) >= 0`)
}

// dashboardQueries returns what the panels ask, by their titles.
func dashboardQueries(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID          int
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], target.Expr)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
	}
	if got := slices.Sorted(maps.Keys(all)); len(got) < 10 {
		t.Errorf("panels %q, want at least 10", got)
	}
	return all
}

// prometheus is a real one that scrapes a gate, and has its alerts.
type prometheus struct{ url string }

func newPrometheus(t *testing.T, admin string, flags ...string) *prometheus {
	t.Helper()
	command := debian(t, "prometheus", "prometheus")
	rules, err := filepath.Abs(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	replaceFile(t, config, fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: headgate, static_configs: [{targets: [%q]}]}]
`, rules, strings.TrimPrefix(admin, "http://")))
	addr := freeAddr(t)
	flags = append(flags, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd := exec.Command(command, flags...)
	out := newText()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", out)
		}
	})
	return &prometheus{"http://" + addr}
}

// freeAddr returns an address that nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ask makes a request of the API, and decodes its data into v.
func (p *prometheus) ask(path string, v any) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(p.url + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: v}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// query returns how many series an expression has.
func (p *prometheus) query(expr string) (int, error) {
	var data struct{ Result []struct{} }
	err := p.ask("query?query="+url.QueryEscape(expr), &data)
	return len(data.Result), err
}

// waitFor waits until an expression has an answer.
func (p *prometheus) waitFor(t *testing.T, expr string) {
	t.Helper()
	eventually(t, "Prometheus has "+expr, func() bool {
		n, err := p.query(expr)
		return err == nil && n > 0
	})
}

// rulesAreWell is false until each rule has been evaluated without a fault.
func (p *prometheus) rulesAreWell(t *testing.T) bool {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.ask("rules", &data); err != nil || len(data.Groups) == 0 {
		t.Fatalf("rules: %v, %+v", err, data)
	}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				if r.LastError != "" {
					t.Fatalf("rule %s: %s", r.Name, r.LastError)
				}
				return false
			}
		}
	}
	return true
}
