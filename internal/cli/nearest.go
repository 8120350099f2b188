package cli

import (
	"fmt"
	"strings"
)

// didYouMean names the nearest of names, if one is near enough to have been
// meant: one edit in three letters.
func didYouMean(prefix, text string, names []string) string {
	best, least := "", (len(text)+2)/3+1
	for _, name := range names {
		if d := distance(strings.ToLower(text), name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, best)
}

// distance is how many bytes must be added, dropped or replaced to make b of a
// (Levenshtein). It walks the table of all prefixes row by row.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // to b[:j] from a[:i]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
