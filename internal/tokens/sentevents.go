package tokens

// sentEvents takes server-sent events apart that come in pieces
// (html.spec.whatwg.org, section 9.2.6). Lines end in LF, CRLF or CR.
type sentEvents struct {
	field int  // bytes of dataField that the line began with
	in    line // what the rest of the line is
	cr    bool // the last byte was a CR: an LF belongs to it
}

const dataField = "data:"

// line is what the bytes of a line are.
type line uint8

const (
	inName  line = iota // its field's name, as far as it is dataField's
	inBlank             // the blank that may stand before a value
	inData              // a value of dataField
	inOther             // any other field, or a comment
)

// next takes bytes in up to the end of a piece of an event's data, or of the
// event, and returns how many. Between lines of data it leaves out the breaks,
// which in JSON mean nothing.
func (e *sentEvents) next(p []byte) (data []byte, n int, ended bool) {
	for n < len(p) {
		c := p[n]
		if c == '\n' && e.cr {
			e.cr = false
			n++
			continue
		}
		if e.cr = c == '\r'; e.cr || c == '\n' {
			empty := e.in == inName && e.field == 0
			e.in, e.field = inName, 0
			n++
			if empty {
				return nil, n, true
			}
			continue
		}
		switch e.in {
		case inName:
			if c != dataField[e.field] {
				e.in = inOther
				continue
			}
			n++
			if e.field++; e.field == len(dataField) {
				e.in = inBlank
			}
		case inBlank:
			e.in = inData
			if c == ' ' {
				n++
			}
		case inData:
			rest := lineOf(p[n:])
			return rest, n + len(rest), false
		case inOther:
			n += len(lineOf(p[n:]))
		}
	}
	return nil, n, false
}

// lineOf returns p up to the end of the line.
func lineOf(p []byte) []byte {
	for i, c := range p {
		if c == '\n' || c == '\r' {
			return p[:i]
		}
	}
	return p
}
