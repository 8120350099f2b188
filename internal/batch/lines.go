package batch

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxLine bounds a line of input, in bytes without its end.
const maxLine = 64 << 20

// A line is a call as it stands in the input.
type line struct {
	number int64  // from 1, of the line that it begins on
	text   []byte // JSON, if it is valid; nobody else's
}

// A badLine is why a line cannot be made a call. The rest can be read.
type badLine struct{ why string }

func (e *badLine) Error() string { return e.why }

func bad(format string, args ...any) error { return &badLine{fmt.Sprintf(format, args...)} }

// lineReader reads the lines of JSON Lines. Empty ones are none.
type lineReader struct {
	r      *bufio.Reader
	most   int   // bytes of a line
	number int64 // of the line read last
	offset int64 // in bytes, behind the line read last
	torn   bool  // the line read last had no end
}

func newLineReader(r io.Reader, most int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 256<<10), most: most}
}

// next returns the next line. The error is a badLine of that line, io.EOF, or
// why nothing more can be read.
func (l *lineReader) next() (line, error) {
	for {
		text, whole, err := l.raw()
		if err != nil {
			return line{}, err
		}
		if l.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\uFEFF"))
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		at := line{number: l.number}
		switch {
		case !whole:
			return at, bad("longer than %d MiB", l.most>>20)
		case !utf8.Valid(text):
			return at, bad("not UTF-8 text")
		}
		at.text = bytes.Clone(text)
		return at, nil
	}
}

// raw returns the next line without its end, which is good until the next call.
// Of one that is longer than most the rest is skipped, and whole is false. The
// error is not io.EOF if there is a last line without an end.
func (l *lineReader) raw() (text []byte, whole bool, err error) {
	text, err = l.r.ReadSlice('\n')
	l.offset += int64(len(text))
	whole = true
	if errors.Is(err, bufio.ErrBufferFull) {
		text = bytes.Clone(text)
		for errors.Is(err, bufio.ErrBufferFull) {
			var more []byte
			more, err = l.r.ReadSlice('\n')
			l.offset += int64(len(more))
			if len(text)+len(more) > l.most+len("\r\n") {
				whole = false
			} else if whole {
				text = append(text, more...)
			}
		}
	}
	if l.torn = errors.Is(err, io.EOF); l.torn && len(text) == 0 {
		return nil, false, io.EOF
	} else if err != nil && !l.torn {
		return nil, false, err
	}
	l.number++
	return bytes.TrimSuffix(text, []byte("\n")), whole, nil
}

// rowReader reads CSV (RFC 4180) whose first row names the columns. A row becomes
// an object of strings.
type rowReader struct {
	r       *csv.Reader
	bounded *boundedReader
	most    int // bytes of a row
	columns []string
}

func newRowReader(r io.Reader, most int) *rowReader {
	b := &boundedReader{r: bufio.NewReaderSize(r, 256<<10)}
	if bom, err := b.r.Peek(3); err == nil && string(bom) == "\uFEFF" {
		b.r.Discard(3)
	}
	c := csv.NewReader(b)
	c.ReuseRecord = true
	return &rowReader{r: c, bounded: b, most: most}
}

// next returns the next row, as lineReader does.
func (r *rowReader) next() (line, error) {
	if r.columns == nil {
		if err := r.header(); err != nil {
			return line{}, err
		}
	}
	r.bounded.left = r.most
	fields, err := r.r.Read()
	if wrong := (*csv.ParseError)(nil); errors.As(err, &wrong) {
		if errors.Is(err, csv.ErrFieldCount) {
			return line{number: int64(wrong.StartLine)}, bad("has %d fields, and the first row %d", len(fields), len(r.columns))
		}
		return line{number: int64(wrong.StartLine)}, bad("not CSV: %v", wrong.Err)
	} else if err != nil {
		return line{}, err
	}
	number, _ := r.r.FieldPos(0)
	at := line{number: int64(number)}
	object := make(map[string]string, len(fields))
	for i, field := range fields {
		if !utf8.ValidString(field) {
			return at, bad("not UTF-8 text")
		}
		object[r.columns[i]] = field
	}
	at.text, err = json.Marshal(object)
	return at, err
}

func (r *rowReader) header() error {
	r.bounded.left = r.most
	fields, err := r.r.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("the first row, which names the columns: %w", err)
	} else if err != nil {
		return err
	}
	named := make(map[string]bool, len(fields))
	for _, name := range fields {
		if named[name] {
			return fmt.Errorf("the first row, which names the columns, has %q twice", name)
		}
		named[name] = true
		r.columns = append(r.columns, name)
	}
	return nil
}

// errEndless is why nothing more can be read of CSV in which a quote is never
// closed: it would be one row to its end.
var errEndless = errors.New("a row is too long; is a quote open?")

// InputError is why the input cannot be read to its end.
type InputError struct {
	Path string
	Line int64 // 0 if it is not known
	Err  error
}

func (e *InputError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("read %s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("read %s: line %d: %v", e.Path, e.Line, e.Err)
}

func (e *InputError) Unwrap() error { return e.Err }

// boundedReader reads up to left bytes.
type boundedReader struct {
	r    *bufio.Reader
	left int
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errEndless
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}
