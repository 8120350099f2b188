package batch

import (
	"bytes"
	"io"
)

// countLines returns how many lines of JSON Lines there are in r, or how many rows
// of CSV behind the first. What cannot be told cheaply is not: lines that hold
// nothing but blanks count.
func countLines(r io.Reader, isCSV bool) (n int64, err error) {
	buf := make([]byte, 256<<10)
	var (
		open   bool // within quotes of CSV: ends of lines are none
		filled bool // the line that is read holds something
	)
	for {
		m, err := r.Read(buf)
		for rest := buf[:m]; len(rest) > 0; {
			part, after, ended := bytes.Cut(rest, []byte{'\n'})
			if isCSV && bytes.Count(part, []byte{'"'})%2 == 1 {
				open = !open
			}
			filled = filled || len(part) > 0 && string(part) != "\r"
			if ended && !open && filled {
				n, filled = n+1, false
			}
			rest = after
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return 0, err
		}
	}
	if filled {
		n++
	}
	if isCSV && n > 0 {
		n-- // the names of the columns
	}
	return n, nil
}
