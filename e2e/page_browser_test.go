package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a Chromium with one page. It notes what the page complains of and
// what it fetches.
type browser struct {
	ctx context.Context

	mu       sync.Mutex
	faults   []string
	requests []string
}

// newBrowser starts a Chromium with a profile of its own.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium (Debian package chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-background-networking", true), chromedp.WSURLReadTimeout(deadline))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closePage := chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // it knows fewer events than Chromium tells
	ctx, late := context.WithTimeout(ctx, 4*deadline)
	b := &browser{ctx: ctx}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for Chromium, whose profile is removed next
		late()
		closePage()
		stop()
	})
	chromedp.ListenTarget(ctx, b.hear)
	if err := chromedp.Run(ctx, network.Enable(), log.Enable()); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return b
}

func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			b.faults = append(b.faults, fmt.Sprintf("console %s: %s", e.Type, e.Args[0].Value))
		}
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case *log.EventEntryAdded: // violations of the policy too
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			b.faults = append(b.faults, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// complaints are errors and warnings so far.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.faults...)
}

// elsewhere are the requests that went to other hosts than that of a URL.
func (b *browser) elsewhere(t *testing.T, home string) (found []string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	h, err := url.Parse(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range b.requests {
		if u, err := url.Parse(r); err != nil || u.Host != h.Host {
			found = append(found, r)
		}
	}
	return found
}

func (b *browser) do(t *testing.T, what string, actions ...chromedp.Action) {
	t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, deadline)
	defer stop()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatalf("%s: %v\nthe page says:\n%s", what, err, b.text(t))
	}
}

func (b *browser) open(t *testing.T, address string) {
	t.Helper()
	b.do(t, "open "+address, chromedp.Navigate(address))
}

// look has the page be of a size and a colour scheme.
func (b *browser) look(t *testing.T, width, height int64, scheme string) {
	t.Helper()
	b.do(t, "look", chromedp.EmulateViewport(width, height), chromedp.ActionFunc(func(ctx context.Context) error {
		return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}).Do(ctx)
	}))
}

// click clicks on what a selector finds first.
func (b *browser) click(t *testing.T, selector string) {
	t.Helper()
	b.do(t, "click "+selector, chromedp.Click(selector, chromedp.ByQuery))
}

// eval returns the text that an expression of JavaScript comes to.
func (b *browser) eval(t *testing.T, js string) (value string) {
	t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, deadline)
	defer stop()
	if err := chromedp.Run(ctx, chromedp.Evaluate("String("+js+")", &value)); err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return value
}

// text is what is to be read of the page.
func (b *browser) text(t *testing.T) string {
	t.Helper()
	return b.eval(t, "document.body.innerText")
}

// waitFor waits until the page, or what a selector finds of it, says something.
func (b *browser) waitFor(t *testing.T, selector, says string) {
	t.Helper()
	js := fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.innerText).join('\\n')", selector)
	late := time.After(deadline)
	for {
		found := b.eval(t, js)
		if strings.Contains(found, says) {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-late:
			t.Fatalf("%s says\n%s\nwant %q in it; the page says\n%s", selector, found, says, b.text(t))
		}
	}
}

// tab opens a view.
func (b *browser) tab(t *testing.T, name string) {
	t.Helper()
	b.click(t, "#tab-"+name)
	b.waitFor(t, "[role=tab][aria-selected=true]", strings.ToUpper(name[:1])+name[1:])
}

// lowContrast returns the texts that are seen whose contrast with what is behind
// them is less than WCAG 2.2 AA asks for (success criterion 1.4.3).
func (b *browser) lowContrast(t *testing.T) string {
	t.Helper()
	return b.eval(t, `(() => {
		const channels = (c) => { const m = c.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
		const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
		const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
		const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
		const behind = (e) => {
			if (!e) return [255, 255, 255, 1];
			const c = channels(getComputedStyle(e).backgroundColor);
			return c[3] === 1 ? c : over(c, behind(e.parentElement));
		};
		const bad = new Set();
		for (const e of document.querySelectorAll("body *")) {
			const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
			if (!own || e.disabled || !e.checkVisibility() || e.closest(".unseen, .skip, noscript, option")) continue;
			const style = getComputedStyle(e), ground = behind(e), ink = over(channels(style.color), ground);
			const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
			const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
			const ratio = (high + 0.05) / (low + 0.05);
			if (ratio < (large ? 3 : 4.5)) bad.add(e.innerText.slice(0, 40) + " " + ratio.toFixed(2));
		}
		return [...bad].join("\n");
	})()`)
}

// nameless returns the controls that a screen reader has no name for.
func (b *browser) nameless(t *testing.T) string {
	t.Helper()
	return b.eval(t, `[...document.querySelectorAll("button, input, select, a, [role=img], table")].filter((e) => e.checkVisibility() &&
		!(e.innerText?.trim() || e.getAttribute("aria-label") || e.labels?.length || e.caption)).map((e) => e.outerHTML.slice(0, 120)).join("\n")`)
}
