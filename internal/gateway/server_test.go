package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/config"
)

// writeCert writes a certificate for 127.0.0.1 with that serial number.
func writeCert(t *testing.T, dir string, serial int64) config.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: cert}, files.Key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestTLSServesBothProtocolsAndReloadsItsCertificate(t *testing.T) {
	dir := t.TempDir()
	cfg := file()
	cfg.TLS = writeCert(t, dir, 1)
	g, base := start(t, echoDoor(nil), cfg, Options{})
	base = "https" + base[len("http"):]
	get := func(h2 bool) (proto string, serial int64) {
		tr := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr}).Get(base + "/api/")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.Proto, res.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if proto, serial := get(false); proto != "HTTP/1.1" || serial != 1 {
		t.Errorf("got %s with certificate %d, want HTTP/1.1 with 1", proto, serial)
	}
	if proto, _ := get(true); proto != "HTTP/2.0" {
		t.Errorf("got %s, want HTTP/2.0", proto)
	}
	writeCert(t, dir, 2)
	if err := g.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if _, serial := get(true); serial != 2 {
		t.Errorf("after Reload: certificate %d, want 2", serial)
	}
	os.WriteFile(cfg.TLS.Cert, []byte("nothing"), 0o600)
	if err := g.Reload(cfg); err == nil {
		t.Errorf("Reload took a broken certificate")
	}
	if _, serial := get(true); serial != 2 {
		t.Errorf("after a refused Reload: certificate %d, want 2", serial)
	}
}

func TestShutdownLetsCallsEnd(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		entered, hold := make(chan struct{}), make(chan struct{})
		door := doorFunc(func(req *http.Request) (*http.Response, error) {
			close(entered)
			<-hold
			return answer(200, "done"), nil
		})
		g, base := start(t, door, file(), Options{})
		got := make(chan string, 1)
		go func() {
			_, body := do(t, newClient(t, h2), "GET", base+"/api/", "")
			got <- body
		}()
		<-entered
		down := make(chan error, 1)
		go func() { down <- g.Shutdown(t.Context()) }()
		for { // until nothing is accepted any more
			conn, err := net.Dial("tcp", base[len("http://"):])
			if err != nil {
				break
			}
			conn.Close()
		}
		select {
		case err := <-down:
			t.Fatalf("Shutdown = %v while a call was in flight", err)
		default:
		}
		close(hold)
		if body := <-got; body != "done" {
			t.Errorf("the call in flight got %q, want done", body)
		}
		if err := <-down; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
}

func TestShutdownCancelsCallsThatLast(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		for _, body := range []io.Reader{nil, bytes.NewReader([]byte("short")), struct{ io.Reader }{strings.NewReader("long")}} {
			entered := make(chan struct{})
			door := doorFunc(func(req *http.Request) (*http.Response, error) {
				close(entered)
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
			g, base := start(t, door, file(), Options{})
			type result struct {
				status int
				body   string
			}
			got := make(chan result, 1)
			go func() {
				res, err := newClient(t, h2).Post(base+"/api/", "", body)
				if err != nil {
					t.Error(err)
					got <- result{}
					return
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				got <- result{res.StatusCode, string(text)}
			}()
			<-entered
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown = %v, want context.DeadlineExceeded", err)
			}
			cancel()
			if r := <-got; r.status != 503 || !strings.Contains(r.body, "/shutting-down") {
				t.Errorf("body %T: got %d %s, want 503 shutting-down", body, r.status, r.body)
			}
		}
	})
}

func TestServerAnswersManyCallsOnOneHTTP2Connection(t *testing.T) {
	const calls = 600
	entered, hold := make(chan struct{}, calls), make(chan struct{})
	door := doorFunc(func(req *http.Request) (*http.Response, error) {
		entered <- struct{}{}
		<-hold
		return answer(200, "ok"), nil
	})
	_, base := start(t, door, file(), Options{})
	tr := &http.Transport{Protocols: protocols(true), HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true}}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	done := make(chan error, calls)
	for range calls {
		go func() {
			res, err := client.Get(base + "/api/")
			if err == nil {
				res.Body.Close()
			}
			done <- err
		}()
	}
	for range calls {
		<-entered
	}
	close(hold)
	for range calls {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
