package limit

import (
	"errors"
	"testing"
	"time"
)

func TestParseReadsWhatPeopleWrite(t *testing.T) {
	tests := []struct {
		text string
		want Limit
		form string // as String writes it; "" the same
	}{
		{"50/1m", Limit{Requests, 50, time.Minute, Sliding, 0}, ""},
		{" 50 / 1m ", Limit{Requests, 50, time.Minute, Sliding, 0}, "50/1m"},
		{"requests:50/60s", Limit{Requests, 50, time.Minute, Sliding, 0}, "50/1m"},
		{"50/1m fixed", Limit{Requests, 50, time.Minute, Fixed, 0}, ""},
		{"50/1m   fixed", Limit{Requests, 50, time.Minute, Fixed, 0}, "50/1m fixed"},
		{"10/1s burst 20", Limit{Requests, 10, time.Second, Bucket, 20}, ""},
		{"tokens:200000/1m", Limit{Tokens, 200000, time.Minute, Sliding, 0}, ""},
		{"tokens: 9/1h", Limit{Tokens, 9, time.Hour, Sliding, 0}, "tokens:9/1h"},
		{"my_cost-2:1/1ms", Limit{"my_cost-2", 1, time.Millisecond, Sliding, 0}, ""},
		{"concurrent:32", Limit{InFlight, 32, 0, Concurrent, 0}, ""},
		{"1/1d", Limit{Requests, 1, 24 * time.Hour, Sliding, 0}, ""},
		{"1/24h", Limit{Requests, 1, 24 * time.Hour, Sliding, 0}, "1/1d"},
		{"1/366d", Limit{Requests, 1, maxWindow, Sliding, 0}, ""},
		{"1/36h", Limit{Requests, 1, 36 * time.Hour, Sliding, 0}, ""},
		{"1/1h30m", Limit{Requests, 1, 90 * time.Minute, Sliding, 0}, ""},
		{"1/1h10m", Limit{Requests, 1, 70 * time.Minute, Sliding, 0}, ""},
		{"1/10m30s", Limit{Requests, 1, 630 * time.Second, Sliding, 0}, ""},
		{"1/1.5ms", Limit{Requests, 1, 1500 * time.Microsecond, Sliding, 0}, ""},
		{"2305843009213693951/1s", Limit{Requests, maxN, time.Second, Sliding, 0}, ""},
	}
	for _, test := range tests {
		got, err := Parse(test.text)
		if err != nil || got != test.want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", test.text, got, err, test.want)
			continue
		}
		form := test.form
		if form == "" {
			form = test.text
		}
		if got.String() != form {
			t.Errorf("Parse(%q).String() = %q, want %q", test.text, got, form)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	const help = `; want "50/1m", "50/1m fixed", "10/1s burst 20", "tokens:200000/1m" or "concurrent:32"`
	tests := []struct{ text, want string }{
		{"50/1min", `"50/1min": window "1min" has no known unit (ms, s, m, h, d); did you mean "50/1m"?`},
		{"50/60", `"50/60": window "60" has no known unit (ms, s, m, h, d); did you mean "50/60s"?`},
		{"1/1", `"1/1": window "1" has no known unit (ms, s, m, h, d); did you mean "1/1s"?`},
		{"50/hour", `"50/hour": window "hour" has no known unit (ms, s, m, h, d); did you mean "50/1h"?`},
		{"50/2days fixed", `"50/2days fixed": window "2days" has no known unit (ms, s, m, h, d); did you mean "50/2d fixed"?`},
		{"50/1min sometimes", `"50/1min sometimes": window "1min" has no known unit (ms, s, m, h, d)`},
		{"50/fortnight", `"50/fortnight": window "fortnight" has no known unit (ms, s, m, h, d)`},
		{"50/", `"50/": the window is missing; did you mean "50/1m"?`},
		{"x/", `"x/": "x" is not a whole number` + help},
		{"50", `"50": ` + help[2:]},
		{"", `"": ` + help[2:]},
		{"1_000/1m", `"1_000/1m": "1_000" is not a plain whole number`},
		{"1.5/1s", `"1.5/1s": "1.5" is not a plain whole number`},
		{"0/1m", `"0/1m": 0 must be at least 1`},
		{"-3/1m", `"-3/1m": -3 must be at least 1`},
		{"2305843009213693952/1s", `"2305843009213693952/1s": 2305843009213693952 is too large`},
		{"5/999us", `"5/999us": window "999us" must be between 1ms and 366d`},
		{"5/367d", `"5/367d": window "367d" must be between 1ms and 366d`},
		{"5/-1d", `"5/-1d": window "-1d" is not a number of days`},
		{"concurrent:8/1m", `"concurrent:8/1m": a concurrent limit has no window; did you mean "concurrent:8"?`},
		{"concurrent:x/1m", `"concurrent:x/1m": a concurrent limit has no window`},
		{"concurrent:0", `"concurrent:0": 0 must be at least 1`},
		{"To kens:5/1m", `"To kens:5/1m": dimension "To kens" is not a word of a-z, 0-9, _ and -`},
		{":5/1m", `":5/1m": dimension "" is not a word of a-z, 0-9, _ and -`},
		{"5/1m often", `"5/1m often": "often" after the window; want nothing, "fixed" or "burst N"`},
		{"5/1m fixed burst 5", `"5/1m fixed burst 5": "fixed burst 5" after the window; want nothing, "fixed" or "burst N"`},
		{"5/1m burst 0", `"5/1m burst 0": 0 must be at least 1`},
		{"5/1m burst", `"5/1m burst": "burst" after the window; want nothing, "fixed" or "burst N"`},
	}
	for _, test := range tests {
		got, err := Parse(test.text)
		syntax, ok := errors.AsType[*SyntaxError](err)
		if !ok || syntax.Text != test.text || err.Error() != test.want {
			t.Errorf("Parse(%q) = %v, %v\nwant error %s", test.text, got, err, test.want)
		}
	}
}

func TestCapacityOfABucketIsItsBurst(t *testing.T) {
	for text, want := range map[string]int64{"50/1m": 50, "50/1m fixed": 50, "10/1s burst 20": 20, "concurrent:3": 3} {
		if got := mustParse(t, text).Capacity(); got != want {
			t.Errorf("%q: capacity %d, want %d", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"50/1m", "50/1min", "1/1", "tokens:5/1d fixed", "10/1s burst 20", "concurrent:8/1m", "concurrent:x/1m", "5/", "a:b:c/1s", "9/1h0m0s", "5/5 5", "1e3/1.5h", "５/1m"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			syntax, ok := errors.AsType[*SyntaxError](err)
			if !ok {
				t.Fatalf("Parse(%q): %T, want *SyntaxError", text, err)
			}
			if _, err := Parse(syntax.Hint); syntax.Hint != "" && err != nil {
				t.Fatalf("Parse(%q) hints at %q, which does not parse: %v", text, syntax.Hint, err)
			}
			return
		}
		again, err := Parse(l.String())
		if err != nil || again != l {
			t.Fatalf("Parse(%q) = %+v, and Parse(%q) = %+v, %v", text, l, l, again, err)
		}
	})
}

func mustParse(t testing.TB, text string) Limit {
	t.Helper()
	l, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
