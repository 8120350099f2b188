package dialect

import "strings"

// routeOf is the scope of the endpoint that was asked: its path, with "*" for what
// names single objects; "" if the path is not known.
func routeOf(a *answer) string { return route(a.Path, 0) }

// objectOf is the scope of the object that was asked for: the path as it is.
func objectOf(a *answer) string {
	if a.Path == "" {
		return ""
	}
	return RouteScope + a.Path
}

// route is the scope of a path in which "*" stands for all names of objects but
// the first keep.
func route(path string, keep int) string {
	if path == "" {
		return ""
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if !isName(s) {
			continue
		}
		if keep--; keep < 0 {
			segments[i] = "*"
		}
	}
	return RouteScope + strings.Join(segments, "/")
}

// isName reports whether a segment of a path looks like the name of one object: a
// number of three digits or more, or something longer or composed that has
// digits in it. Versions ("v10", "2", "2010-04-01") don't.
func isName(s string) bool {
	digits := 0
	for i := range len(s) {
		if isDigit(s[i]) {
			digits++
		}
	}
	switch {
	case digits == 0:
		return false
	case digits == len(s):
		return len(s) >= 3
	case digits == len(s)-strings.Count(s, "-") && (len(s) == len("2010-04") || len(s) == len("2010-04-01")):
		return false
	}
	return len(s) >= 8 || strings.ContainsAny(s, "-_")
}
