package tokens

import "encoding/binary"

// awsEvents takes the messages of an AWS event stream apart that come in pieces
// (docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html):
//
//	total length 4 | length of headers 4 | CRC 4 | headers | payload | CRC 4
//
// The payload is an event's data. Checksums are the receiver's business.
type awsEvents struct {
	prelude [awsPrelude]byte
	at      int64 // in the message
	payload int64 // where it begins
	tail    int64 // where it ends
	lost    bool  // a length was impossible: what follows cannot be read
}

const (
	awsPrelude = 12
	awsTail    = 4
)

// next takes bytes in up to the end of a piece of an event's data, or of the
// event, and returns how many.
func (e *awsEvents) next(p []byte) (data []byte, n int, ended bool) {
	if e.lost {
		return nil, len(p), false
	}
	for e.at < awsPrelude {
		if n == len(p) {
			return nil, n, false
		}
		e.prelude[e.at] = p[n]
		e.at++
		n++
		if e.at == awsPrelude && !e.lengths() {
			e.lost = true
			return nil, len(p), false
		}
	}
	n += e.advance(len(p)-n, e.payload)
	begin := n
	n += e.advance(len(p)-n, e.tail)
	if data = p[begin:n]; len(data) > 0 {
		return data, n, false
	}
	n += e.advance(len(p)-n, e.tail+awsTail)
	if ended = e.at == e.tail+awsTail; ended {
		e.at = 0
	}
	return nil, n, ended
}

// lengths reads the prelude.
func (e *awsEvents) lengths() bool {
	total, headers := binary.BigEndian.Uint32(e.prelude[:]), binary.BigEndian.Uint32(e.prelude[4:])
	e.payload = awsPrelude + int64(headers)
	e.tail = int64(total) - awsTail
	return e.payload <= e.tail
}

// advance goes on by up to n bytes, not beyond a place in the message, and
// returns by how many.
func (e *awsEvents) advance(n int, to int64) int {
	by := min(int64(n), max(to-e.at, 0))
	e.at += by
	return int(by)
}
