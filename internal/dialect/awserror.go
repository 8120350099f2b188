package dialect

import (
	"bytes"
	"strings"
)

// awsError returns the name of the error of an AWS service, without namespace
// and address: from the field x-amzn-ErrorType, or from __type, code or Code of a
// JSON body, or from Code of an XML one, in this order. "" if there is none.
func awsError(a *answer) string {
	for _, s := range [...]string{
		a.field("X-Amzn-Errortype"), a.field("X-Amzn-Error-Type"),
		a.text("__type"), a.text("code"), a.text("Code"), a.text("Error", "Code"), a.text("error", "code"),
		xmlText(a.Body, "Code"),
	} {
		if s = awsName(s); s != "" {
			return s
		}
	}
	return ""
}

// awsName strips what stands before "#" and behind ":" in the name of an error.
func awsName(s string) string {
	s, _, _ = strings.Cut(s, ":")
	return trim(s[strings.LastIndexByte(s, '#')+1:])
}

// xmlText returns the text of the first XML element of that name; "" if there
// is none, or if it has attributes or elements of its own.
func xmlText(body []byte, element string) string {
	_, rest, ok := bytes.Cut(body, []byte("<"+element+">"))
	if !ok {
		return ""
	}
	value, rest, ok := bytes.Cut(rest, []byte("<"))
	if !ok || !bytes.HasPrefix(rest, []byte("/"+element+">")) {
		return ""
	}
	return string(bytes.TrimSpace(value))
}
