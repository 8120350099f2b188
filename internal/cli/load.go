package cli

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/headgate/headgate/config"
)

// load reads a file for check and serve alike, with the certificate that it
// names: what check lets through, serve can run. Every fault is a
// *config.Error.
func load(file string) (config.Config, error) {
	c, err := config.Load(file)
	if err != nil {
		return c, err
	}
	return c, certificateFault(file, c.TLS)
}

// certificateFault says why the certificate of a file cannot be used. Names
// are not shown: they may come from an expansion.
func certificateFault(file string, t config.TLS) error {
	if t == (config.TLS{}) {
		return nil
	}
	var pem [2][]byte
	for i, part := range []struct{ path, name string }{{"tls.cert", t.Cert}, {"tls.key", t.Key}} {
		data, err := os.ReadFile(part.name)
		if err != nil {
			if pe, ok := errors.AsType[*fs.PathError](err); ok {
				err = pe.Err
			}
			return &config.Error{File: file, Path: part.path, Msg: err.Error()}
		}
		pem[i] = data
	}
	if _, err := tls.X509KeyPair(pem[0], pem[1]); err != nil {
		return &config.Error{File: file, Path: "tls", Msg: strings.TrimPrefix(err.Error(), "tls: ")}
	}
	return nil
}
