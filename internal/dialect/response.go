package dialect

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

// responseMax bounds how much ReadResponse reads, in bytes.
const responseMax = 1 << 20

// ReadResponse reads an HTTP response as "curl -i" prints it. Before it may
// stand the header blocks of others: a proxy's "200 Connection established",
// "100 Continue", redirects that were followed; the last block counts. Lines end
// in CRLF or LF. The body is what follows, however long the header says it is,
// and nil if nothing does; input is read up to 1 MiB. An error says which line
// is wrong and what was expected there.
func ReadResponse(r io.Reader) (status int, header http.Header, body []byte, err error) {
	input, err := io.ReadAll(io.LimitReader(r, responseMax))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("read response: %w", err)
	}
	in := lines{rest: strings.TrimPrefix(string(input), string(byteOrderMark))}
	for blank := true; blank && in.rest != ""; {
		ahead := in
		if blank = trim(ahead.next()) == ""; blank {
			in = ahead
		}
	}
	if in.rest == "" {
		return 0, nil, nil, errors.New("read response: no input; " + wantResponse)
	}
	line := in.next()
	status, ok := statusOf(line)
	if !ok {
		return 0, nil, nil, fmt.Errorf("read response: line %d: %s; %s", in.n, quote(line), wantResponse)
	}
	for {
		if header, err = in.header(); err != nil {
			return 0, nil, nil, fmt.Errorf("read response: %w", err)
		}
		ahead := in
		next, another := statusOf(ahead.next())
		if !another {
			break
		}
		status, in = next, ahead
	}
	if in.rest != "" {
		body = []byte(in.rest)
	}
	return status, header, body, nil
}

const wantResponse = `want an HTTP response as "curl -i" prints it, beginning with a line such as "HTTP/1.1 429 Too Many Requests"`

// statusOf reads a status line, whose version may lack its minor number and
// whose reason may be missing.
func statusOf(line string) (status int, ok bool) {
	rest, ok := strings.CutPrefix(line, "HTTP/")
	if !ok {
		return 0, false
	}
	version, rest, ok := strings.Cut(rest, " ")
	if !ok || !isNumber(version) {
		return 0, false
	}
	code, _, _ := strings.Cut(rest, " ")
	if len(code) != 3 || prefix(code, isDigit) < 3 || code[0] == '0' {
		return 0, false
	}
	return int(count(code)), true
}

// lines hands out a text line by line.
type lines struct {
	rest string
	n    int // of the line last handed out, from 1
}

// next returns the next line without its end; "" after the last.
func (l *lines) next() string {
	line, rest, _ := strings.Cut(l.rest, "\n")
	l.rest = rest
	l.n++
	return strings.TrimSuffix(line, "\r")
}

// header reads the fields of a header block and the blank line that ends it,
// which may be missing at the end of the text. A line that begins with a blank
// goes on with the field before it, and blanks in front of a colon don't count.
func (l *lines) header() (http.Header, error) {
	h := http.Header{}
	for l.rest != "" {
		line := l.next()
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimRight(name, " \t"); !ok || !isToken(name) {
			return nil, fmt.Errorf(`line %d: %s; want a header field such as "Retry-After: 30", or an empty line before the body`,
				l.n, quote(line))
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		parts := []string{trim(value)}
		for strings.HasPrefix(l.rest, " ") || strings.HasPrefix(l.rest, "\t") {
			parts = append(parts, trim(l.next()))
		}
		h[key] = append(h[key], strings.Join(parts, " "))
	}
	return h, nil
}
