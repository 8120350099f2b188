package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// lookup is where expansions take their values from.
type lookup struct {
	env  func(name string) (value string, ok bool)
	file func(path string) (string, error)
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces each ${env:NAME} and ${file:PATH} in text, and $${ by ${.
// What it puts in is not expanded again. expanded reports whether it put
// anything in. Errors quote nothing of text but names of variables and files.
func (from lookup) expand(text string) (out string, expanded bool, err error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), expanded, nil
		}
		if literal, ok := strings.CutSuffix(b.String(), "$"); ok && strings.HasSuffix(before, "$") {
			b.Reset()
			b.WriteString(literal + "${")
			text = after
			continue
		}
		ref, rest, ok := strings.Cut(after, "}")
		if !ok {
			return "", true, errors.New(`a "${" is not closed by "}"; write "$${" for the characters themselves`)
		}
		value, err := from.value(ref)
		if err != nil {
			return "", true, err
		}
		b.WriteString(value)
		text, expanded = rest, true
	}
}

// value looks up what stands between ${ and }.
func (from lookup) value(ref string) (string, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if !envName.MatchString(name) {
			return "", errors.New("${env:NAME} wants the name of an environment variable")
		}
		v, ok := from.env(name)
		if !ok {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
		return v, nil
	}
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		if path == "" {
			return "", errors.New("${file:PATH} wants the path of a file")
		}
		v, err := from.file(path)
		if err != nil {
			return "", fmt.Errorf("file %s: %s", quote(path), whyUnreadable(err))
		}
		return strings.TrimSuffix(strings.TrimSuffix(v, "\n"), "\r"), nil
	}
	return "", errors.New(`want ${env:NAME} or ${file:PATH}; write "$${" for the characters "${" themselves`)
}

// readValueFile reads a file that holds one value. It refuses pipes and
// devices, which could block, and more than 1 MiB.
func readValueFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const most = 1 << 20 // bytes
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", err
	}
	if len(data) > most {
		return "", errors.New("is larger than 1MiB")
	}
	return string(data), nil
}
