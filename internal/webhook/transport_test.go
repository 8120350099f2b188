package webhook

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// named returns a resolver to whom every name has the addresses that answers
// gives for its n-th question of a kind; n counts from 0.
func named(answers func(n int) []string) *net.Resolver {
	asked := make(chan map[uint16]int, 1)
	asked <- map[uint16]int{}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe() // a stream: each message has its length in front
		go func() {
			defer there.Close()
			size := make([]byte, 2)
			if _, err := io.ReadFull(there, size); err != nil {
				return
			}
			m := make([]byte, binary.BigEndian.Uint16(size))
			if _, err := io.ReadFull(there, m); err != nil {
				return
			}
			end := 12 // behind the name, the kind and the class of the one question
			for m[end] != 0 {
				end += int(m[end]) + 1
			}
			end += 5
			kind := binary.BigEndian.Uint16(m[end-4:])
			counts := <-asked
			n := counts[kind]
			counts[kind]++
			asked <- counts
			m = append(m[:end:end], resources(kind, answers(n))...)
			copy(m[2:], []byte{0x81, 0x80, 0, 1, 0, byte(count(kind, answers(n))), 0, 0, 0, 0})
			there.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
		}()
		return here, nil
	}}
}

const (
	kindA    = 1
	kindAAAA = 28
)

func isOf(kind uint16, addr netip.Addr) bool {
	return kind == kindA && addr.Is4() || kind == kindAAAA && addr.Is6()
}

func count(kind uint16, addrs []string) (n int) {
	for _, a := range addrs {
		if isOf(kind, netip.MustParseAddr(a)) {
			n++
		}
	}
	return n
}

func resources(kind uint16, addrs []string) (b []byte) {
	for _, a := range addrs {
		if addr := netip.MustParseAddr(a); isOf(kind, addr) {
			b = append(b, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(addr.BitLen()/8))
			b = append(b, addr.AsSlice()...)
		}
	}
	return b
}

func post(t *testing.T, rt http.RoundTripper, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err == nil {
		t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

func TestNamesOfPrivateAddressesAreRefusedAtConnect(t *testing.T) {
	for _, addr := range []string{
		"127.0.0.1", "10.0.0.1", "172.20.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "168.63.129.16", "224.0.0.1", "0.0.0.0",
		"::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "ff02::1",
	} {
		p := policy()
		p.resolver = named(func(int) []string { return []string{addr} })
		if err := p.CheckURL("http://hook.test/"); err != nil {
			t.Fatalf("the name itself: %v", err)
		}
		if _, err := post(t, p.Transport(), "http://hook.test/"); !errors.Is(err, ErrAddress) {
			t.Errorf("a name of %s: %v, want ErrAddress", addr, err)
		}
	}
}

// A name that was public when it was looked at may be private the next time.
func TestReboundNamesAreRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
	}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	p := policy("127.0.0.1/32")
	p.resolver = named(func(n int) []string { return []string{[]string{"127.0.0.1", "127.0.0.2"}[min(n, 1)]} })
	rt := p.Transport()
	if _, err := post(t, rt, "http://hook.test:"+port); err != nil {
		t.Fatalf("an allowed address: %v", err)
	}
	if _, err := post(t, rt, "http://hook.test:"+port); !errors.Is(err, ErrAddress) {
		t.Errorf("after it was rebound: %v, want ErrAddress", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	hits := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits <- r.URL.Path
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	resp, err := post(t, policy("127.0.0.0/8").Transport(), server.URL+"/hook")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusTemporaryRedirect || len(hits) != 1 {
		t.Errorf("status %d after %d requests, want the redirect itself after one", resp.StatusCode, len(hits))
	}
}

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
	p := policy()
	p.Transport()
	if p.http.Proxy != nil {
		t.Error("callbacks go through a proxy, which would connect to any address for us")
	}
}

func TestAnswersAreCut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", 1<<20))
	}))
	defer server.Close()
	resp, err := post(t, policy("127.0.0.0/8").Transport(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || len(body) != maxAnswer {
		t.Errorf("read %d bytes, %v; want %d", len(body), err, maxAnswer)
	}
}

// A host that is dead must not cost the others their callbacks.
func TestHostsHaveDoorsOfTheirOwn(t *testing.T) {
	status := make(chan int, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(<-status)
	}))
	defer server.Close()
	p := policy("127.0.0.0/8")
	status <- http.StatusTooManyRequests
	if _, err := post(t, p.Transport(), server.URL); err != nil {
		t.Fatal(err)
	}
	status <- http.StatusOK
	start := time.Now()
	resp, err := post(t, p.Transport(), server.URL)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("another door: %v, %v after %v, want an answer", resp, err, time.Since(start))
	}
}
