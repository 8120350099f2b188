package dialect

import (
	"math/big"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// none stands for a value that cannot be read.
const none = time.Duration(-1)

func TestDelayOrMomentReadsEveryForm(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	for _, c := range []struct {
		in   string
		want time.Duration
	}{
		{"0", 0}, {"000", 0}, {"007", 7 * sec}, {"1.5", 1500 * ms}, {"2.0", 2 * sec},
		{"7.66", 7660 * ms}, {"0.0001", ms}, {"0.0010", ms}, {"0.00100000000000000001", 2 * ms}, {"17.399999999", 17400 * ms},
		{"31622400", MaxWait}, {"31622401", MaxWait}, {"9223372036", MaxWait}, {"9223372037", MaxWait}, {"99999999999999999999", MaxWait},
		{"20ms", 20 * ms}, {"6m0s", 6 * time.Minute}, {"1h34m52.896s", 5692896 * ms}, {"2s", 2 * sec}, {"1d", 24 * time.Hour},
		{"1.5d", 36 * time.Hour}, {"17.399999999s", 17400 * ms}, {"1us", ms}, {"1µs", ms}, {"1ns", ms}, {"0.1ns", ms}, {"0.0ns", 0},
		{"999999999999999d999999999999999d", MaxWait},
		{"", none}, {"-5", none}, {"+5", none}, {"NaN", none}, {"Infinity", none}, {"1e3", none}, {"0x10", none}, {"1_000", none},
		{".5", none}, {"5.", none}, {"1.2.3", none}, {"s", none}, {"5x", none}, {"5s5", none}, {"5 s", none}, {"-5s", none}, {"soon", none}, {"１", none},
		{"Tue, 10 Mar 2026 12:00:45 GMT", 45 * sec}, {"Tue, 10 Mar 2026 12:00:45 UTC", 45 * sec}, {"Tue, 10 Mar 2026 12:00:45 +0000", 45 * sec},
		{"Tuesday, 10-Mar-26 12:02:00 GMT", 120 * sec}, {"Tuesday, 10-Mar-26 12:02:00 UTC", 120 * sec}, {"Tue Mar 10 12:01:30 2026", 90 * sec},
		{"Tue, 10 Mar 2026 12:00:45 CET", none}, {"Tuesday, 10-Mar-26 12:02:00 XYZ", none}, {"Tue, 10 Mar 2026 12:00:45", none},
		{"Tue, 10 Mar 2026 11:58:00 GMT", 0}, {"Fri, 10 Mar 9999 11:58:00 GMT", MaxWait}, {"Sat, 01 Jan 0000 00:00:00 GMT", 0},
		{"2026-03-10T12:05:00Z", 300 * sec}, {"2026-03-10T12:05Z", 300 * sec}, {"2026-03-10T12:00:00.25Z", 250 * ms},
		{"2026-03-10T12:00:00.0001Z", ms}, {"2026-03-10T14:05:00+02:00", 300 * sec}, {"2026-03-10T14:05+0200", 300 * sec},
		{"2026-03-10T10:05:00-0200", 300 * sec}, {"2026-03-10", none}, {"2026-13-10T12:05:00Z", none},
	} {
		got, ok := delayOrMoment(c.in, t0)
		if !ok {
			got = none
		}
		if got != c.want {
			t.Errorf("delayOrMoment(%q) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestDelayOrMomentTellsUnitBySize(t *testing.T) {
	base := time.Unix(1_000_000_000, 0)
	for _, c := range []struct {
		in   string
		base time.Time
		want time.Duration
	}{
		{"90", t0, 90 * time.Second},
		{"999999999", t0, MaxWait}, // seconds from now, 31 years
		{"999999999.9", base, MaxWait},
		{"1000000000", base, 0}, // Unix time
		{"1000000001.5", base, 1500 * time.Millisecond},
		{"999999999999", t0, MaxWait},
		{"1000000000000", base, 0}, // Unix time in ms
		{"1000000001500", base, 1500 * time.Millisecond},
		{"1000000001500.5", base, 1501 * time.Millisecond},
		{"0001773144090", t0, 90 * time.Second}, // zeros in front are no size
		{"1773143990", t0, 0},
		{"99999999999999999999", t0, MaxWait},
		{"6m0s", t0, 6 * time.Minute},
		{"Tue, 10 Mar 2026 12:01:30 GMT", t0, 90 * time.Second},
		{"2026-03-10T12:01:30Z", t0, 90 * time.Second},
		{"-1", t0, none}, {"", t0, none}, {"never", t0, none},
	} {
		got, ok := delayOrMoment(c.in, c.base)
		if !ok {
			got = none
		}
		if got != c.want {
			t.Errorf("delayOrMoment(%q, %v) = %v, want %v", c.in, c.base.Unix(), got, c.want)
		}
	}
}

func TestCountKnowsWhatItCannotRead(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, " 12 ": 12, "598.0": 598, "3.9": 3, "9223372036854775807": 1<<63 - 1, "9223372036854775808": 1<<63 - 1,
		"-1": -1, "": -1, "NaN": -1, "unlimited": -1, "1e3": -1,
	} {
		if got := count(in); got != want {
			t.Errorf("count(%q) = %d, want %d", in, got, want)
		}
	}
}

func FuzzDelay(f *testing.F) {
	for _, s := range samples(f) {
		for _, lines := range s.Headers {
			for _, v := range lines {
				f.Add(v)
			}
		}
	}
	for _, s := range []string{"1h34m52.896s", "17.399999999s", "0.0000000000001d", "9223372036854775807", "2.5.1", "µ"} {
		f.Add(s)
	}
	number := regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	f.Fuzz(func(t *testing.T, s string) {
		for name, read := range map[string]func() (time.Duration, bool){
			"delay":         func() (time.Duration, bool) { return delay(s, time.Second) },
			"delayOrMoment": func() (time.Duration, bool) { return delayOrMoment(s, t0) },
		} {
			d, ok := read()
			if d < 0 || d > MaxWait || d%time.Millisecond != 0 || !ok && d != 0 {
				t.Errorf("%s(%q) = %v, %t; want whole ms between 0 and %v", name, s, d, ok, MaxWait)
			}
		}
		if count(s) < -1 {
			t.Errorf("count(%q) = %d", s, count(s))
		}
		if len(s) > 1000 {
			return // big.Rat is slow
		}
		d, ok := delay(s, time.Second)
		if number.MatchString(s) {
			if want := exactSeconds(s); !ok || d != want {
				t.Errorf("delay(%q) = %v, %t, want %v", s, d, ok, want)
			}
		} else if goes, err := time.ParseDuration(s); err == nil && ok && goes < MaxWait && s[0] != '.' {
			if diff := d - goes; diff < 0 || diff > time.Millisecond+time.Duration(len(s)) { // ParseDuration truncates each part to ns
				t.Errorf("delay(%q) = %v, time.ParseDuration gives %v", s, d, goes)
			}
		} else if _, err := strconv.ParseFloat(s, 64); err == nil && ok {
			t.Errorf("delay(%q) = %v: only digits and one point make a number", s, d)
		}
	})
}

// exactSeconds is the oracle of plain numbers: exact fractions, rounded up.
func exactSeconds(s string) time.Duration {
	r, _ := new(big.Rat).SetString(s)
	r.Mul(r, big.NewRat(1000, 1))
	ms, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		ms.Add(ms, big.NewInt(1))
	}
	if ms.Cmp(big.NewInt(MaxWait.Milliseconds())) > 0 {
		return MaxWait
	}
	return time.Duration(ms.Int64()) * time.Millisecond
}
