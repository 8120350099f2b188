package webhook

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/headgate/headgate/config"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func policy(allow ...string) *Policy {
	return &Policy{Secret: config.NewSecret(secret), Allow: prefixes(allow...)}
}

func TestCheckURLRefusesWhatIsNotPublic(t *testing.T) {
	refused := []string{
		"http://127.0.0.1/", "http://127.8.8.8:80/x", "https://[::1]/", "http://localhost/", "http://a.LOCALHOST./",
		"http://0.0.0.0/", "http://0.1.2.3/", "http://[::]/",
		"http://10.1.2.3/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/", "http://[fd00:ec2::254]/",
		"http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://168.63.129.16/",
		"http://100.64.0.1/", "http://100.100.100.200/", "http://192.0.0.192/", "http://198.18.0.1/",
		"http://192.0.2.1/", "http://198.51.100.1/", "http://203.0.113.1/", "http://[2001:db8::1]/",
		"http://224.0.0.1/", "http://239.1.1.1/", "http://[ff02::1]/", "http://255.255.255.255/", "http://240.0.0.1/",
		"http://[::ffff:127.0.0.1]/", "http://[::ffff:a9fe:a9fe]/", "http://[::127.0.0.1]/",
		"http://[64:ff9b::7f00:1]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b:1::1]/",
		"http://[2002:7f00:1::]/", "http://[2001:0:1::1]/", "http://[fec0::1]/", "http://[100::1]/",
	}
	for _, u := range refused {
		if err := policy().CheckURL(u); !errors.Is(err, ErrAddress) {
			t.Errorf("CheckURL(%q) = %v, want ErrAddress", u, err)
		}
	}
	public := []string{
		"https://example.com/hook?x=1", "http://example.com:8080", "http://1.1.1.1/", "https://[2606:4700::1111]/",
		"http://[64:ff9b::101:101]/", "http://[::ffff:1.1.1.1]/", "http://172.32.0.1/", "http://100.128.0.1/",
	}
	for _, u := range public {
		if err := policy().CheckURL(u); err != nil {
			t.Errorf("CheckURL(%q) = %v, want nil", u, err)
		}
	}
}

func TestCheckURLAllowsNamedNetworks(t *testing.T) {
	p := policy("10.0.0.0/8", "127.0.0.0/8", "fd00::/16")
	for _, u := range []string{
		"http://10.1.2.3/", "http://[::ffff:10.1.2.3]/", "http://[64:ff9b::a01:203]/", "http://localhost:99/", "http://[fd00::1]/",
	} {
		if err := p.CheckURL(u); err != nil {
			t.Errorf("CheckURL(%q) = %v, want nil", u, err)
		}
	}
	if err := p.CheckURL("http://192.168.0.1/"); !errors.Is(err, ErrAddress) {
		t.Errorf("an address beside those allowed: %v, want ErrAddress", err)
	}
}

func TestCheckURLSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ url, want string }{
		{"", "scheme"},
		{"example.com/hook", "scheme"},
		{"ftp://example.com/", `"ftp"`},
		{"gopher://example.com/", `"gopher"`},
		{"http:///path", "no host"},
		{"http://me:hunter2@example.com/", "user"},
		{"http://exa mple.com/hunter2", "invalid character"},
		{"http://example.com/" + strings.Repeat("x", maxURL), "2067 bytes"},
	}
	for _, test := range tests {
		err := policy().CheckURL(test.url)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("CheckURL(%.40q) = %v, want %q in it", test.url, err, test.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("CheckURL(%.40q) = %v: it tells a secret", test.url, err)
		}
	}
}

func TestSignatureIsOneThatReceiversVerify(t *testing.T) {
	body := []byte(`{"type":"job.done"}`)
	h := make(http.Header)
	if err := policy().Sign(h, "job_1", time.Now(), body); err != nil {
		t.Fatal(err)
	}
	receiver, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Verify(body, h); err != nil {
		t.Errorf("a receiver says %v of %v", err, h)
	}
	if err := receiver.Verify([]byte(`{"type":"job.failed"}`), h); err == nil {
		t.Error("a receiver takes the signature for another body")
	}
}

// Of the scheme's own test: the same message, the same signature.
func TestSignatureIsThatOfTheScheme(t *testing.T) {
	h := make(http.Header)
	body := []byte(`{"test": 2432232314}`)
	if err := policy().Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), body); err != nil {
		t.Fatal(err)
	}
	if got, want := h.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	if got := h.Get("webhook-timestamp"); got != "1614265330" {
		t.Errorf("timestamp %q, want 1614265330", got)
	}
}

func TestUnfitSecretIsRefusedAndNotTold(t *testing.T) {
	for _, text := range []string{"", "hunter2", "whsec_", "whsec_aHVudGVyMg==", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_hunter2hunter2hunter2hunter2!!"} {
		p := &Policy{Secret: config.NewSecret(text)}
		err := p.Check()
		if err == nil {
			t.Errorf("secret %q is taken", text)
		} else if text != "" && text != "whsec_" && strings.Contains(err.Error(), strings.TrimPrefix(text, "whsec_")) {
			t.Errorf("secret %q is told: %v", text, err)
		}
	}
	if err := policy().Check(); err != nil {
		t.Error(err)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1", "https://[::ffff:10.0.0.1]:8/x", "http://a@b/", "//x", "http://0x7f.1/", "http://%31"} {
		f.Add(s)
	}
	p := policy()
	f.Fuzz(func(t *testing.T, s string) {
		if p.CheckURL(s) != nil {
			return
		}
		host := strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(s), "https://"), "http://")
		host, _, _ = strings.Cut(host, "/")
		if addr, err := netip.ParseAddr(host); err == nil && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()) {
			t.Errorf("CheckURL(%q) allows a private address", s)
		}
	})
}
