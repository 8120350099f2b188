package gateway

import (
	"bytes"
	"math"
)

// What a stream of requests may not hold, because two readers could take it
// for two different things (RFC 9112, sections 2.2, 5, 6, 7.1 and 11.2).
var (
	errRequestLine = badRequest("the request line does not end in a version of HTTP")
	errBareLF      = badRequest("a line ends in LF alone")
	errBareCR      = badRequest("a CR stands alone")
	errNUL         = badRequest("a line of the head holds NUL")
	errFold        = badRequest("a field is folded over several lines")
	errField       = badRequest("a line of the head is not a field: want a name, a colon and a value, without space before the colon")
	errLength      = badRequest("Content-Length: want one number of bytes")
	errCoding      = badRequest("Transfer-Encoding: want chunked, once, and HTTP/1.1")
	errBothFramed  = badRequest("both Transfer-Encoding and Content-Length")
	errChunkSize   = badRequest("a chunk's size is not a hexadecimal number in bounds")
	errChunkLine   = badRequest("a chunk's line is too long or holds control characters")
	errChunkEnd    = badRequest("a chunk is not followed by CRLF")
	errChunkExcess = badRequest("chunks hold more extensions than data")
	errTrailer     = badRequest("the trailer section is malformed or too long")
)

// Bounds of a chunked body. None is wider than net/http's: a body that it gave
// up half read would leave it where no request begins.
const (
	maxChunkLine   = 4 << 10   // bytes, as in net/http
	maxChunkDigits = 16        // as in net/http
	maxChunk       = 1 << 60   // bytes: twice as many can be counted
	maxExcess      = 16 << 10  // bytes of chunk lines beyond 16 a chunk and twice the data, as in net/http
	maxTrailers    = 4<<10 - 1 // bytes: net/http gives up once its buffer of 4 KiB is full
)

// frames follows a stream of HTTP/1 requests (RFC 9112) byte by byte, to tell
// where one ends and the next begins. It takes only what can be read in one
// way. Of a head it checks what frames it, and leaves the rest to net/http.
//
// The zero value stands at the beginning of a stream. After an error it is of
// no use.
type frames struct {
	at part

	// Of a head that is not whole yet, from its first byte.
	line int // where the line begins that has no end yet
	seen int // what was searched for an end of line

	lengths, codings int   // fields that frame the body
	http11           bool  // what the request line says
	left             int64 // bytes of the body or chunk to come

	digits  int   // of the chunk's size
	lineLen int   // bytes of the chunk's line, or of the trailer section
	excess  int64 // bytes, see maxExcess
}

// part is where in a request a stream stands: at its beginning, or before a
// byte of its body.
type part uint8

const (
	inHead part = iota
	inLength
	inChunkSize
	inChunkExtension
	inChunkLF
	inChunk
	afterChunk
	afterChunkCR
	inTrailers // at the beginning of a line
	inTrailerName
	inTrailerValue
	inTrailerLF
	inLastLF
)

// follow goes over what comes next and returns how much of it belongs to the
// request that is under way or begins; where that ends so does follow. A head
// is taken whole: as long as its end is not there follow returns 0, and is
// called again with the same bytes and more. An empty line before a request
// (RFC 9112, section 2.2) is taken by itself. The error is a *badRequestError.
func (f *frames) follow(b []byte) (n int, err error) {
	if f.at == inHead {
		if n, err = f.head(b); err != nil {
			return 0, err
		}
	}
	for n < len(b) && f.at != inHead {
		if f.at == inLength || f.at == inChunk {
			n += f.data(len(b) - n)
			continue
		}
		if err := f.chunked(b[n]); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// head returns the length of the head that b begins with, 0 if it has no end
// yet, and then stands behind it.
func (f *frames) head(b []byte) (int, error) {
	first, lines := f.line, 0 // of this call
	for {
		i := bytes.IndexByte(b[f.seen:], '\n')
		if i < 0 {
			if i = bytes.IndexByte(b[f.seen:], '\r'); i >= 0 && f.seen+i < len(b)-1 {
				return 0, errBareCR
			}
			f.seen = max(f.line, len(b)-1)
			return 0, checkLines(b[first:f.line], lines)
		}
		begin, end := f.line, f.seen+i-1
		if end < begin || b[end] != '\r' {
			return 0, errBareLF
		}
		f.line, f.seen = end+2, end+2
		lines++
		switch {
		case end == begin:
			return f.endHead(b[first:f.line], lines)
		case begin == 0:
			if err := f.requestLine(b[:end]); err != nil {
				return 0, err
			}
		default:
			if err := f.field(b[begin:end]); err != nil {
				return 0, err
			}
		}
	}
}

// checkLines refuses control characters that b, so many lines that end in
// CRLF, holds beside these ends.
func checkLines(b []byte, lines int) error {
	if bytes.Count(b, []byte{'\r'}) != lines {
		return errBareCR
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return errNUL
	}
	return nil
}

// requestLine takes the first line of a head. It refuses what is of another
// protocol, or of HTTP/0.9, at once: there may be no head to come.
func (f *frames) requestLine(line []byte) error {
	version := line[max(0, len(line)-len(" HTTP/1.1")):]
	if !bytes.HasPrefix(version, []byte(" HTTP/")) {
		return errRequestLine
	}
	f.http11 = string(version) == " HTTP/1.1"
	return nil
}

// field takes a field line of a head.
func (f *frames) field(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errFold
	}
	colon := 0
	for colon < len(line) && isTokenByte[line[colon]] {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return errField
	}
	name, value := line[:colon], line[colon+1:]
	switch len(name) {
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			return f.length(bytes.Trim(value, " \t"))
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			if f.codings++; !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked")) {
				return errCoding
			}
		}
	}
	return nil
}

// length takes the value of a Content-Length.
func (f *frames) length(digits []byte) error {
	if f.lengths++; f.lengths > 1 || len(digits) == 0 {
		return errLength
	}
	for _, c := range digits {
		d := int64(c - '0')
		if c < '0' || c > '9' || f.left > (math.MaxInt64-d)/10 {
			return errLength
		}
		f.left = 10*f.left + d
	}
	return nil
}

// endHead takes the empty line at the end of a head, or of what is none. It
// returns where that ends. b is what has not been checked before.
func (f *frames) endHead(b []byte, lines int) (int, error) {
	if err := checkLines(b, lines); err != nil {
		return 0, err
	}
	n := f.line
	if n == len("\r\n") {
		f.line, f.seen = 0, 0
		return n, nil
	}
	return n, f.beginBody()
}

// beginBody goes from the end of a head to what it announces.
func (f *frames) beginBody() error {
	switch {
	case f.codings > 0 && f.lengths > 0:
		return errBothFramed
	case f.codings > 1 || f.codings > 0 && !f.http11:
		return errCoding
	case f.codings > 0:
		*f = frames{at: inChunkSize}
	case f.left > 0:
		*f = frames{at: inLength, left: f.left}
	default:
		*f = frames{}
	}
	return nil
}

// data takes what it can of n bytes of a body or chunk.
func (f *frames) data(n int) int {
	n = int(min(int64(n), f.left))
	if f.left -= int64(n); f.left > 0 {
		return n
	}
	if f.at == inChunk {
		f.at = afterChunk
	} else {
		*f = frames{}
	}
	return n
}

// chunked takes a byte of a chunked body (RFC 9112, section 7.1) that is not
// data.
func (f *frames) chunked(c byte) error {
	switch f.at {
	case inChunkSize:
		return f.chunkSize(c)
	case inChunkExtension:
		if f.lineLen++; f.lineLen > maxChunkLine-len("\r\n") || isControl(c) && c != '\r' {
			return orBareLF(c, errChunkLine)
		}
		if c == '\r' {
			f.at = inChunkLF
		}
	case inChunkLF:
		if c != '\n' {
			return errBareCR
		}
		return f.beginChunk()
	case afterChunk:
		if c != '\r' {
			return errChunkEnd
		}
		f.at = afterChunkCR
	case afterChunkCR:
		if c != '\n' {
			return errChunkEnd
		}
		f.at = inChunkSize
	default:
		return f.trailer(c)
	}
	return nil
}

// chunkSize takes a byte of a chunk's size, or the one behind it.
func (f *frames) chunkSize(c byte) error {
	f.lineLen++
	digit, ok := hexDigit(c)
	switch {
	case ok && f.digits < maxChunkDigits && f.left < maxChunk>>4:
		f.digits++
		f.left = f.left<<4 | digit
	case c == '\r' && f.digits > 0:
		f.at = inChunkLF
	case c == ';' && f.digits > 0:
		f.at = inChunkExtension
	default:
		return orBareLF(c, errChunkSize)
	}
	return nil
}

// beginChunk goes from the end of a chunk's line to its data.
func (f *frames) beginChunk() error {
	f.excess = max(0, f.excess+int64(f.lineLen+len("\n"))-16-2*f.left)
	if f.excess > maxExcess {
		return errChunkExcess
	}
	f.digits, f.lineLen = 0, 0
	if f.at = inChunk; f.left == 0 {
		f.at = inTrailers
	}
	return nil
}

// trailer takes a byte of what follows the last chunk.
func (f *frames) trailer(c byte) error {
	if f.lineLen++; f.lineLen > maxTrailers {
		return errTrailer
	}
	switch f.at {
	case inTrailers:
		if c == ' ' || c == '\t' {
			return errFold
		}
		if c == '\r' {
			f.at = inLastLF
			return nil
		}
		if !isTokenByte[c] {
			return orBareLF(c, errTrailer)
		}
		f.at = inTrailerName
	case inTrailerName:
		if c != ':' && !isTokenByte[c] {
			return orBareLF(c, errTrailer)
		}
		if c == ':' {
			f.at = inTrailerValue
		}
	case inTrailerValue:
		if isControl(c) && c != '\r' {
			return orBareLF(c, errTrailer)
		}
		if c == '\r' {
			f.at = inTrailerLF
		}
	case inTrailerLF:
		if c != '\n' {
			return errBareCR
		}
		f.at = inTrailers
	case inLastLF:
		if c != '\n' {
			return errBareCR
		}
		*f = frames{}
	}
	return nil
}

// orBareLF returns the error for a byte that does not belong where it is.
func orBareLF(c byte, err error) error {
	if c == '\n' {
		return errBareLF
	}
	return err
}

// isControl reports whether c is a control character, tab excepted.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func hexDigit(c byte) (digit int64, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int64(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}

// isTokenByte says which bytes names of fields are made of (RFC 9110, section
// 5.6.2).
var isTokenByte = func() (is [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		is[c] = true
	}
	return is
}()
