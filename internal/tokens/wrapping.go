package tokens

import "encoding/base64"

// wrapping takes documents out of what Bedrock's InvokeModelWithResponseStream
// wraps them in, {"bytes":"<base64>"}, when they come in pieces. Other data
// passes as it is.
type wrapping struct {
	seen  int     // bytes of wrapMark that the data began with
	plain bool    // it began with others
	quad  [4]byte // base64 that is not decoded yet
	held  int     // of quad
	ended bool    // the string has
}

const wrapMark = `{"bytes":"`

// next takes bytes of data in, and returns how many, and what was in them and
// held back before; one of the two is more than none. What it returns may lie in
// room, which is empty and holds the length of wrapMark or more.
func (w *wrapping) next(data, room []byte) (inner []byte, n int) {
	if w.plain {
		return data, len(data)
	}
	for w.seen < len(wrapMark) {
		if n == len(data) {
			return nil, n
		}
		if data[n] != wrapMark[w.seen] {
			if w.plain = true; w.seen == 0 {
				return data, len(data)
			}
			return append(room, wrapMark[:w.seen]...), n
		}
		w.seen++
		n++
	}
	for ; n < len(data) && !w.ended && len(room)+3 <= cap(room); n++ {
		switch c := data[n]; c {
		case '"':
			w.ended = true
		case '\\': // in front of a slash
		default:
			w.quad[w.held] = c
			if w.held++; w.held == len(w.quad) {
				w.held = 0
				var three [3]byte
				m, err := base64.StdEncoding.Decode(three[:], w.quad[:])
				w.ended = err != nil
				room = append(room, three[:m]...)
			}
		}
	}
	if w.ended {
		n = len(data)
	}
	return room, n
}
