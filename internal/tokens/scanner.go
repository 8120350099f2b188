package tokens

import "strconv"

const (
	maxText  = 128           // bytes that are kept of a name or a value
	maxDepth = 8             // objects that lead to a value; no dialect has more than 4
	maxCount = 1_000_000_000 // a larger number is no count of tokens

	// blobBytes is what an embedded file counts for: at the usual 4 bytes the
	// thousand tokens that vendors charge for an image.
	blobBytes = 4096
	// blobHead is within what "data:image/png;base64," ends.
	blobHead = 64
)

// scanner finds values in JSON documents that are fed to it in pieces, one after
// the other or as elements of an array. It checks nothing: of what is not JSON
// it may find anything, in time linear to its length and without growing.
// Members with escaped names are not found.
type scanner struct {
	root *node

	in     inside
	isKey  bool // the string that it is in names a member
	keeps  bool // what it is in is a name or a wanted value, and goes to buf
	esc    bool // the last byte was a backslash
	over   bool // buf was too small
	blob   bool // the string may still be an embedded file
	filled int  // of buf
	buf    [maxText]byte
	length int64 // of the string so far, if it doesn't keep it

	arrays  int  // open around the document
	depth   int  // objects open in which something may be found, in at
	skip    int  // objects and arrays open in which nothing can be
	isValue bool // a colon came: what follows is the value of member
	member  *node
	at      [maxDepth]*node

	documents int          // that have ended
	values    [slots]value // of the document
	model     string       // of the document
	spare     int64        // bytes of all documents that embedded files have above blobBytes
}

// inside is what the next byte belongs to.
type inside uint8

const (
	inStructure inside = iota
	inString
	inScalar // a number, true, false or null
)

// value is a number that was found; a truth is 1.
type value struct {
	rank uint8 // of its path; 0 if nothing was found
	n    int64
}

// next takes bytes in up to the end of a document, and returns how many.
// What the document told stays until the next one begins.
func (s *scanner) next(p []byte) (n int, ended bool) {
	for n < len(p) {
		switch {
		case s.in == inString:
			n += s.chars(p[n:])
		case s.in == inScalar && !endsScalar(p[n]):
			s.keep(p[n])
			n++
		default:
			if s.in == inScalar {
				s.end()
			}
			n++
			if s.structure(p[n-1]) {
				return n, true
			}
		}
	}
	return n, false
}

// reset forgets a document that has not ended.
func (s *scanner) reset() {
	s.in, s.esc = inStructure, false
	s.arrays, s.depth, s.skip = 0, 0, 0
}

// complete reports whether all that began has ended.
func (s *scanner) complete() bool {
	return s.documents > 0 && s.in == inStructure && s.arrays == 0 && s.depth == 0 && s.skip == 0
}

// inBlob reports whether it stopped within an embedded file.
func (s *scanner) inBlob() bool {
	return s.in == inString && s.blob && s.length > blobBytes
}

func (s *scanner) structure(c byte) (ended bool) {
	switch c {
	case '{':
		s.open()
	case '}':
		if s.skip > 0 {
			s.skip--
		} else if s.depth > 0 {
			s.depth--
			s.isValue = false
			if s.depth == 0 {
				s.documents++
				return true
			}
		}
	case '[':
		if s.depth == 0 {
			s.arrays++
		} else {
			s.skip++
		}
	case ']':
		if s.skip > 0 {
			s.skip--
		} else if s.depth == 0 && s.arrays > 0 {
			s.arrays--
		}
	case ':':
		s.isValue = true
	case ',':
		if s.skip == 0 {
			s.isValue = false
		}
	case '"':
		s.begin(inString)
	case ' ', '\t', '\r', '\n':
	default:
		s.begin(inScalar)
		s.keep(c)
	}
	return false
}

// open enters an object.
func (s *scanner) open() {
	switch {
	case s.skip > 0:
		s.skip++
	case s.depth == 0:
		s.values, s.model = [slots]value{}, ""
		s.at[0], s.depth = s.root, 1
		s.isValue = false
	case s.wanted() && s.member.below != nil && s.depth < maxDepth:
		s.tellError()
		s.at[s.depth] = s.member
		s.depth++
		s.isValue = false
	default:
		s.tellError()
		s.skip++
	}
}

// wanted reports whether the value that begins is, or leads to, something to be
// found.
func (s *scanner) wanted() bool {
	return s.skip == 0 && s.depth > 0 && s.isValue && s.member != nil
}

// tellError notes an error, which counts if it is an object or a string: null
// and false say that there is none.
func (s *scanner) tellError() {
	if s.wanted() && s.member.slot == errorSlot {
		s.values[errorSlot] = value{1, 1}
	}
}

// begin enters a string or a scalar.
func (s *scanner) begin(in inside) {
	s.in = in
	s.isKey = in == inString && s.skip == 0 && s.depth > 0 && !s.isValue
	s.keeps = s.isKey || s.wanted() && s.member.slot != noSlot && s.member.slot != errorSlot
	s.over, s.filled = false, 0
	s.blob, s.length = in == inString, 0
	if in == inString {
		s.tellError()
	}
}

// end leaves a string or a scalar.
func (s *scanner) end() {
	quoted := s.in == inString
	s.in = inStructure
	switch {
	case s.isKey:
		s.member = nil
		if !s.over {
			s.member = s.at[s.depth-1].child(s.buf[:s.filled])
		}
	case s.keeps:
		s.found(s.member.slot, s.member.rank, quoted)
	case s.blob && s.length > blobBytes:
		s.spare += s.length - blobBytes
	}
}

// found takes the value in buf. Of several for one slot the path that ranks
// first counts, and of a member that is there twice the last; of caps the
// largest does, for which of them an upstream obeys is not known.
func (s *scanner) found(to slot, rank uint8, quoted bool) {
	text := s.buf[:s.filled]
	old := s.values[to]
	if old.rank != 0 && old.rank < rank && to != capSlot {
		return
	}
	switch to {
	case modelSlot:
		if quoted {
			s.model, s.values[to].rank = string(text), rank
		}
	case streamSlot, streamAskSlot:
		s.values[to] = value{rank: rank}
		if string(text) == "true" {
			s.values[to].n = 1
		}
	default:
		n, ok := count(text)
		if s.over || !ok {
			return
		}
		if to == capSlot {
			n = max(n, old.n)
		}
		s.values[to] = value{rank, n}
	}
}

// count reads a number of things, rounded down. ok is false for what is
// negative, absurd or no number.
func count(text []byte) (n int64, ok bool) {
	if len(text) == 0 || text[0] < '0' || text[0] > '9' {
		return 0, false // and not Infinity
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f > maxCount {
		return 0, false
	}
	return int64(f), true
}

// chars takes bytes of a string in, up to its end, and returns how many.
func (s *scanner) chars(p []byte) (n int) {
	switch {
	case s.esc:
		s.esc = false
		if p[0] != '/' && p[0] != '"' && p[0] != '\\' {
			s.keep('\\')
		}
		s.keep(p[0])
		s.length++
		return 1
	case s.keeps:
		for n < len(p) && p[n] != '"' && p[n] != '\\' {
			n++
		}
		kept := copy(s.buf[s.filled:], p[:n])
		s.filled += kept
		s.over = s.over || kept < n
	default:
		if s.blob {
			n = s.blobChars(p)
		}
		for n < len(p) && p[n] != '"' && p[n] != '\\' {
			n++
		}
		s.length += int64(n)
	}
	if n == len(p) {
		return n
	}
	if p[n] == '"' {
		s.end()
	} else {
		s.esc, s.blob = true, false
		s.length++
	}
	return n + 1
}

func (s *scanner) keep(c byte) {
	switch {
	case !s.keeps:
	case s.filled < maxText:
		s.buf[s.filled] = c
		s.filled++
	default:
		s.over = true
	}
}

// blobChars returns how many bytes p begins with that may be of an embedded
// file: base64, in a data URL or without one. Text has a blank before long.
func (s *scanner) blobChars(p []byte) (n int) {
	for n < len(p) && (isBase64[p[n]] || s.length+int64(n) < blobHead && isURLMark(p[n])) {
		n++
	}
	s.blob = n == len(p) || p[n] == '"'
	return n
}

func isURLMark(c byte) bool { return c == ':' || c == ';' || c == ',' || c == '.' }

var isBase64 = func() (is [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=" {
		is[c] = true
	}
	return is
}()

func endsScalar(c byte) bool {
	switch c {
	case ',', '}', ']', ' ', '\t', '\r', '\n', ':', '"', '{', '[':
		return true
	}
	return false
}
