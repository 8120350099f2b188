package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestTextFormsReadAndWrite(t *testing.T) {
	type value interface {
		encoding.TextUnmarshaler
		fmt.Stringer
	}
	for _, test := range []struct {
		into value
		in   string
		want string // as String writes it; "" if it is refused
		hint string
	}{
		{new(Duration), "500ms", "500ms", ""},
		{new(Duration), "60s", "1m", ""},
		{new(Duration), "90m", "1h30m", ""},
		{new(Duration), "2h", "2h", ""},
		{new(Duration), "24h", "1d", ""},
		{new(Duration), "7d", "7d", ""},
		{new(Duration), "1h0m1s", "1h0m1s", ""},
		{new(Duration), "30", "", "30s"},
		{new(Duration), "5 Minutes", "", "5m"},
		{new(Duration), "-5s", "", ""},
		{new(Duration), "1.5d", "", ""},
		{new(Duration), "9999999h", "", ""},
		{new(Duration), "", "", ""},
		{new(Percent), "20%", "20%", ""},
		{new(Percent), "29%", "29%", ""},
		{new(Percent), "12.5%", "12.5%", ""},
		{new(Percent), "0%", "0%", ""},
		{new(Percent), "100%", "100%", ""},
		{new(Percent), "100.1%", "", ""},
		{new(Percent), "20", "", "20%"},
		{new(Percent), "0.2", "", "20%"},
		{new(Percent), "20 %", "", "20%"},
		{new(Percent), "NaN%", "", ""},
		{new(Size), "0", "0", ""},
		{new(Size), "1000", "1KB", ""},
		{new(Size), "1025", "1025", ""},
		{new(Size), "65536", "64KiB", ""},
		{new(Size), "1MiB", "1MiB", ""},
		{new(Size), "10MB", "10MB", ""},
		{new(Size), "12B", "12", ""},
		{new(Size), "64k", "", "64KiB"},
		{new(Size), "64 kib", "", "64KiB"},
		{new(Size), "1mb", "", "1MB"},
		{new(Size), "-1", "", ""},
		{new(Size), "9223372036854775807", "9223372036854775807", ""},
		{new(Size), "9223372036854775808", "", ""},
		{new(Size), "9223372036854775807KiB", "", ""},
		{new(OpenAfter), "10 throttled in 1m", "10 throttled in 1m", ""},
		{new(OpenAfter), "off", "off", ""},
		{new(OpenAfter), "10 in 1m", "", "10 throttled in 1m"},
		{new(OpenAfter), "0 throttled in 1m", "", ""},
		{new(OpenAfter), "1 throttled in 9999999h", "", ""},
		{new(Failures), "50% of 20", "50% of 20", ""},
		{new(Failures), "off", "off", ""},
		{new(Failures), "50%", "", "50% of 20"},
		{new(Failures), "150% of 20", "", ""},
		{new(Failures), "50% of 99999999999999999999", "", ""},
		{new(Reserve), "20% for 0-3", "20% for 0-3", ""},
		{new(Reserve), "20% for 0", "20% for 0", ""},
		{new(Reserve), "20% for 2-2", "20% for 2", ""},
		{new(Reserve), "off", "off", ""},
		{new(Reserve), "20%", "", "20% for 0-3"},
		{new(Reserve), "20% for 8", "", ""},
		{new(Reserve), "120% for 0", "", ""},
	} {
		err := test.into.UnmarshalText([]byte(test.in))
		if test.want == "" {
			e, ok := err.(*Error)
			if !ok || e.Hint != test.hint {
				t.Errorf("%T of %q = %v, want an error with hint %q", test.into, test.in, err, test.hint)
			}
			continue
		}
		if got := test.into.String(); err != nil || got != test.want {
			t.Errorf("%T of %q = %s, %v, want %s, nil", test.into, test.in, got, err, test.want)
		}
		text, err := test.into.(encoding.TextMarshaler).MarshalText()
		if string(text) != test.want || err != nil {
			t.Errorf("%T of %q marshals to %q, %v, want %q", test.into, test.in, text, err, test.want)
		}
	}
}

func TestFailuresOffIsNotTheDefault(t *testing.T) {
	var f Failures
	if err := f.UnmarshalText([]byte("off")); err != nil || f == (Failures{}) || f.Of != 0 {
		t.Errorf(`"off" = %#v, %v, want Of 0 and another value than zero`, f, err)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	s := NewSecret(secret)
	u := Upstream{Credentials: []Credential{{Header: "K", Value: s}}}
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		out = append(out, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, u))
	}
	j, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "u", u)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "u", u)
	out = append(out, string(j), string(y), log.String())
	for _, text := range out {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("secret shows in %s", text)
		}
	}
	for _, text := range []string{string(j), string(y), log.String(), fmt.Sprint(s)} {
		if !strings.Contains(text, "***") {
			t.Errorf("no *** in %s", text)
		}
	}
	if s.Reveal() != secret {
		t.Errorf("Reveal = %q, want %q", s.Reveal(), secret)
	}
}
