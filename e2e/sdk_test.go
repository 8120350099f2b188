package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// sdks are the vendors' clients, unchanged but for their base URL.
var sdks = []string{"openai", "anthropic"}

// said is what the model of headgate mock says, always.
const said = "This is a mock upstream: it counted your call and found room for it."

func TestSDKsCallThroughTheGate(t *testing.T) {
	t.Parallel()
	g := serve(t, "--upstream", mock(t))
	for i, o := range callSDKs(t,
		sdkCall{SDK: "openai", BaseURL: g.url},
		sdkCall{SDK: "anthropic", BaseURL: g.url},
		sdkCall{SDK: "openai", BaseURL: g.url, Stream: true},
		sdkCall{SDK: "anthropic", BaseURL: g.url, Stream: true},
	) {
		if o.Error != nil || o.Text != said {
			t.Errorf("call %d = %q, %+v, want what the model says", i, o.Text, o.Error)
		}
		if i < 2 {
			continue
		}
		// The mock sends 14 words, one per 30 ms.
		if n := len(o.Chunks); n < 14 || o.Chunks[n-1]-o.Chunks[0] < 300 {
			t.Errorf("chunks of stream %d came at %.0f ms, want 14 or more over 300 ms or more", i, o.Chunks)
		}
	}
}

func TestGateHealsThrottlingForSDKsWithoutRetries(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		model := mock(t)
		var calls atomic.Int32
		up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1)%3 != 0 { // twice for each call
				w.Header().Set("Retry-After-Ms", "50")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			forwardTo(t, model, w, r)
		})
		g := serve(t, "--upstream", up.URL)
		var all []sdkCall
		for _, sdk := range sdks {
			all = append(all, sdkCall{SDK: sdk, BaseURL: g.url, Stream: stream, Options: options{"maxRetries": 0}})
		}
		for i, o := range callSDKs(t, all...) {
			if o.Error != nil || o.Text != said {
				t.Errorf("%s, stream %v: %+v, want what the model says", sdks[i], stream, o)
			}
		}
		if n := calls.Load(); n != 6 {
			t.Errorf("stream %v: the upstream got %d attempts, want 3 for each of 2 calls", stream, n)
		}
	}
}

func TestSDKsTakeRefusalsForWhatTheyAre(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/bad") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	key, hash := newKey(t)
	g, _ := serveFile(t, fmt.Sprintf(`
upstreams:
  slow: {url: %[1]q, limits: [1/1h]}
  broken: {url: "%[1]s/bad", breaker: {failures: 50%% of 2}, retry: {attempts: 1}}
clients:
  - {name: sdk, key: %[2]q, limits: [5/1h]}
`, up.URL, hash))
	c := newClient(t)
	get(t, c, g.url+"/slow/", "Headgate-Key", key)
	for range 2 {
		get(t, c, g.url+"/broken/", "Headgate-Key", key)
	}
	var all []sdkCall
	for _, name := range []string{"slow", "broken"} {
		all = append(all, sdkCall{SDK: sdks[len(all)], BaseURL: g.url + "/" + name, APIKey: key, Options: options{"maxRetries": 0}})
	}
	// The client's own limit is used up from here on.
	for _, sdk := range sdks {
		all = append(all, sdkCall{SDK: sdk, BaseURL: g.url + "/slow", APIKey: key, Options: options{"maxRetries": 0}})
	}
	for _, sdk := range sdks {
		all = append(all, sdkCall{SDK: sdk, BaseURL: g.url + "/slow", APIKey: "sk-nobody", Options: options{"maxRetries": 0}})
	}
	outcomes := callSDKs(t, all...)
	for i, want := range []sdkError{
		{Name: "InternalServerError", Status: 504},
		{Name: "ServiceUnavailableError", Status: 503},
		{Name: "RateLimitError", Status: 429},
		{Name: "RateLimitError", Status: 429},
		{Name: "AuthenticationError", Status: 401},
		{Name: "AuthenticationError", Status: 401},
	} {
		if got := outcomes[i].Error; got == nil || got.Name != want.Name || got.Status != want.Status {
			t.Errorf("call %d with %s = %+v, want %s with status %d", i, all[i].SDK, got, want.Name, want.Status)
		}
	}
}

func TestRetriesOfSDKsDoNotMultiplyAttempts(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		var calls atomic.Int32
		up := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.Header().Set("Retry-After-Ms", "20")
			w.WriteHeader(status)
		})
		g, _ := serveFile(t, fmt.Sprintf(`upstreams: {api: {url: %q, retry: {attempts: 3, methods: any, base: 20ms}}}`, up.URL))
		for _, sdk := range sdks {
			calls.Store(0)
			o := callSDKs(t, sdkCall{SDK: sdk, BaseURL: g.url + "/api"})[0] // with the retries it makes by default
			if o.Error == nil || o.Error.Status != status {
				t.Errorf("%s = %+v, want the upstream's own %d", sdk, o, status)
			}
			if n := calls.Load(); n != 3 {
				t.Errorf("%s: %d attempts for one call answered with %d, want the gate's 3", sdk, n, status)
			}
		}
	}
}

// sdkCall is a call that testdata/sdk/calls.mjs makes.
type sdkCall struct {
	SDK     string  `json:"sdk"`
	BaseURL string  `json:"baseURL"`
	APIKey  string  `json:"apiKey"`
	Stream  bool    `json:"stream"`
	Options options `json:"options"` // of the client
}

type options map[string]any

// sdkOutcome is what became of it.
type sdkOutcome struct {
	Text   string
	Chunks []float64 // when pieces of a stream came, in ms
	Error  *sdkError
}

type sdkError struct {
	Name, Type, Message string
	Status              int
}

// callSDKs makes calls one after the other in one Node process.
func callSDKs(t *testing.T, calls ...sdkCall) []sdkOutcome {
	t.Helper()
	dir := install(t, "sdk")
	for i := range calls {
		if calls[i].APIKey == "" {
			calls[i].APIKey = "sk-test"
		}
	}
	stdin, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "calls.mjs")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	r := run(t, cmd)
	var outcomes []sdkOutcome
	if err := json.Unmarshal([]byte(r.stdout), &outcomes); err != nil || r.status != 0 || len(outcomes) != len(calls) {
		t.Fatalf("node calls.mjs = %d, %v\n%s%s", r.status, err, r.stdout, r.stderr)
	}
	return outcomes
}

var installing sync.Mutex

// install installs a directory of testdata as its lock file says, and returns
// where. What was installed is kept in the user's cache for the next run.
func install(t *testing.T, name string) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs Node 20 or later with npm: %v", err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("needs a directory to install npm packages in: %v", err)
	}
	source := filepath.Join("testdata", name)
	files, err := filepath.Glob(filepath.Join(source, "*.*")) // sorted
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds %q: %v", source, files, err)
	}
	sum := sha256.New()
	contents := make([][]byte, len(files))
	for i, file := range files {
		if contents[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		sum.Write(contents[i])
	}
	dir := filepath.Join(cache, "headgate-e2e", fmt.Sprintf("%s-%x", name, sum.Sum(nil)[:8]))
	installing.Lock()
	defer installing.Unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	for i, file := range files {
		if err := os.WriteFile(filepath.Join(tmp, filepath.Base(file)), contents[i], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = tmp
	if r := run(t, cmd); r.status != 0 {
		t.Skipf("needs the packages of %s: npm ci = %d\n%s", source, r.status, r.stderr)
	}
	if err := os.Rename(tmp, dir); err != nil && !isDir(dir) { // another run may have been quicker
		t.Fatal(err)
	}
	return dir
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// forwardTo answers a call with what another server answers, as it comes.
func forwardTo(t *testing.T, url string, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("read the request: %v", err)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, url+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header = r.Header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Errorf("forward to %s: %v", url, err)
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if err := copyAtOnce(w, resp.Body); err != nil {
		t.Errorf("forward the answer of %s: %v", url, err)
	}
}

// copyAtOnce copies a body to its end, each piece as it comes.
func copyAtOnce(w http.ResponseWriter, body io.Reader) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
