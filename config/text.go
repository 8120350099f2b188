package config

import (
	"encoding"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A form is how a value is written: one definition for reading it, for telling
// people what was expected and for the schema.
type form struct {
	want    string                   // completes "want …"; never quotes what was written
	pattern string                   // regular expression of the whole text, common to RE2 and ECMAScript
	mend    func(text string) string // what might have been meant; need not be valid; nil: no guess
	re      *regexp.Regexp
}

// formed is implemented by every type that is written as text of its own form.
type formed interface {
	encoding.TextMarshaler
	form() *form
}

func newForm(want, pattern string, mend func(string) string) *form {
	return &form{want: want, pattern: pattern, mend: mend, re: regexp.MustCompile("^(?:" + pattern + ")$")}
}

// fault reports text that is not of the form.
func (f *form) fault(text []byte) error {
	e := &Error{Value: string(text), Msg: "want " + f.want}
	if f.mend != nil {
		if guess := f.mend(e.Value); f.re.MatchString(guess) && guess != e.Value {
			e.Hint = guess
		}
	}
	return e
}

const (
	durationPattern = `(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+|[0-9]{1,5}d`
	percentPattern  = `[0-9]{1,3}(?:\.[0-9]{1,4})?%`
)

var (
	durationForm  = newForm(`a duration such as "500ms", "30s", "2m" or "1d"`, durationPattern, mendDuration)
	percentForm   = newForm(`a percentage such as "20%", from 0% to 100%`, percentPattern, mendPercent)
	sizeForm      = newForm(`a size such as "64KiB", "1MiB", "10MB" or a number of bytes`, `[0-9]+(?:B|[KMGT]i?B)?`, mendSize)
	openAfterForm = newForm(`text such as "10 throttled in 1m", or "off"`,
		`([1-9][0-9]*) throttled in (`+durationPattern+`)|off`,
		func(s string) string { return strings.Replace(s, " in ", " throttled in ", 1) })
	failuresForm = newForm(`text such as "50% of 20", or "off"`,
		`(`+percentPattern+`) of ([1-9][0-9]*)|off`,
		func(s string) string { return s + " of 20" })
	reserveForm = newForm(`text such as "20% for 0-3" (priorities 0 to 7), or "off"`,
		`(`+percentPattern+`) for ([0-7])(?:-([0-7]))?|off`,
		func(s string) string { return s + " for 0-3" })
)

func (Duration) form() *form  { return durationForm }
func (Percent) form() *form   { return percentForm }
func (Size) form() *form      { return sizeForm }
func (OpenAfter) form() *form { return openAfterForm }
func (Failures) form() *form  { return failuresForm }
func (Reserve) form() *form   { return reserveForm }

// UnmarshalText reads a Go duration without a sign, or whole days as in "1d".
func (d *Duration) UnmarshalText(text []byte) error {
	v, ok := parseDuration(string(text))
	if !ok {
		return durationForm.fault(text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is time.Duration's without units that are zero, and in days where
// these are whole: 1m, 1h30m, 1d.
func (d Duration) String() string {
	const day = 24 * time.Hour
	v := time.Duration(d)
	if v >= day && v%day == 0 {
		return strconv.FormatInt(int64(v/day), 10) + "d"
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func parseDuration(s string) (time.Duration, bool) {
	if !durationForm.re.MatchString(s) {
		return 0, false
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64) // five digits at most: no overflow
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

var unitWords = []struct {
	re   *regexp.Regexp
	unit string
}{
	{regexp.MustCompile(`(msecs?|millis|milliseconds?)$`), "ms"},
	{regexp.MustCompile(`(secs?|seconds?)$`), "s"},
	{regexp.MustCompile(`(mins?|minutes?)$`), "m"},
	{regexp.MustCompile(`(hrs?|hours?)$`), "h"},
	{regexp.MustCompile(`days?$`), "d"},
}

func mendDuration(s string) string {
	s = strings.ToLower(strings.ReplaceAll(s, " ", ""))
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s + "s"
	}
	for _, w := range unitWords {
		if w.re.MatchString(s) {
			return w.re.ReplaceAllString(s, w.unit)
		}
	}
	return s
}

// UnmarshalText reads "20%": 0% to 100%, with up to four decimals.
func (p *Percent) UnmarshalText(text []byte) error {
	v, ok := parsePercent(string(text))
	if !ok {
		return percentForm.fault(text)
	}
	*p = v
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String writes the share with up to four decimals: 20%, 12.5%.
func (p Percent) String() string {
	hundredths := math.Round(float64(p)*1e6) / 1e4
	return strconv.FormatFloat(hundredths, 'f', -1, 64) + "%"
}

func parsePercent(s string) (Percent, bool) {
	if !percentForm.re.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return Percent(v / 100), err == nil && v <= 100
}

func mendPercent(s string) string {
	s = strings.ReplaceAll(s, " ", "")
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return s
	case v < 1:
		return Percent(v).String()
	}
	return s + "%"
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// UnmarshalText reads a number of bytes, plain or with one of the units B, KB,
// MB, GB and TB (powers of 1000), KiB, MiB, GiB and TiB (powers of 1024).
func (n *Size) UnmarshalText(text []byte) error {
	s := string(text)
	if !sizeForm.re.MatchString(s) {
		return sizeForm.fault(text)
	}
	unit := int64(1)
	for _, u := range sizeUnits {
		if digits, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = digits, u.bytes
			break
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v > math.MaxInt64/unit {
		return &Error{Value: string(text), Msg: "size is too large"}
	}
	*n = Size(v * unit)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (n Size) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// String writes the size in the largest unit that leaves it whole: 64KiB,
// 10MB, and plain bytes if there is none.
func (n Size) String() string {
	for _, u := range sizeUnits {
		if u.bytes > 1 && n != 0 && int64(n)%u.bytes == 0 {
			return strconv.FormatInt(int64(n)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(n), 10)
}

func mendSize(s string) string {
	s = strings.ToUpper(strings.ReplaceAll(s, " ", ""))
	digits := strings.TrimRight(s, "BKMGTI")
	switch unit := s[len(digits):]; len(unit) {
	case 1:
		if unit != "B" {
			s = digits + unit + "iB"
		}
	case 3:
		s = digits + strings.Replace(unit, "I", "i", 1)
	}
	return s
}

// UnmarshalText reads "10 throttled in 1m" or "off".
func (o *OpenAfter) UnmarshalText(text []byte) error {
	m := openAfterForm.re.FindStringSubmatch(string(text))
	if m == nil {
		return openAfterForm.fault(text)
	}
	if m[0] == "off" {
		*o = OpenAfter{}
		return nil
	}
	n, err := strconv.Atoi(m[1])
	in, ok := parseDuration(m[2])
	if err != nil || !ok {
		return openAfterForm.fault(text)
	}
	*o = OpenAfter{Throttled: n, In: in}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (o OpenAfter) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// String writes what UnmarshalText reads.
func (o OpenAfter) String() string {
	if o == (OpenAfter{}) {
		return "off"
	}
	return strconv.Itoa(o.Throttled) + " throttled in " + Duration(o.In).String()
}

// UnmarshalText reads "50% of 20" or "off". Off keeps a share, so that it
// differs from the zero value, which stands for the default.
func (f *Failures) UnmarshalText(text []byte) error {
	m := failuresForm.re.FindStringSubmatch(string(text))
	if m == nil {
		return failuresForm.fault(text)
	}
	if m[0] == "off" {
		*f = Failures{Share: 1}
		return nil
	}
	share, ok := parsePercent(m[1])
	of, err := strconv.Atoi(m[2])
	if err != nil || !ok {
		return failuresForm.fault(text)
	}
	*f = Failures{Share: share, Of: of}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (f Failures) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// String writes what UnmarshalText reads; "off" for the zero value, too.
func (f Failures) String() string {
	if f.Of == 0 {
		return "off"
	}
	return f.Share.String() + " of " + strconv.Itoa(f.Of)
}

// UnmarshalText reads "20% for 0-3", "20% for 0" or "off".
func (r *Reserve) UnmarshalText(text []byte) error {
	m := reserveForm.re.FindStringSubmatch(string(text))
	if m == nil {
		return reserveForm.fault(text)
	}
	if m[0] == "off" {
		*r = Reserve{}
		return nil
	}
	share, ok := parsePercent(m[1])
	if !ok {
		return reserveForm.fault(text)
	}
	from := int(m[2][0] - '0') // the pattern admits one digit
	to := from
	if m[3] != "" {
		to = int(m[3][0] - '0')
	}
	*r = Reserve{Share: share, From: from, To: to}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Reserve) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String writes what UnmarshalText reads.
func (r Reserve) String() string {
	if r.Share == 0 {
		return "off"
	}
	s := r.Share.String() + " for " + strconv.Itoa(r.From)
	if r.To != r.From {
		s += "-" + strconv.Itoa(r.To)
	}
	return s
}
