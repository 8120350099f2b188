package config

import (
	"fmt"
	"maps"
	"os"
)

// Set puts text in the place of what a file says of the process: path is
// listen, admin, state, namespace, on_store_loss, log.level or log.format. It
// expands text as Parse does, and checks nothing: Validate does. The error is an
// *Error. Other paths are a mistake of the program: Set panics.
func (c *Config) Set(path, text string) error {
	field := map[string]*string{
		"listen":        &c.Listen,
		"admin":         &c.Admin,
		"state":         &c.State,
		"namespace":     &c.Namespace,
		"on_store_loss": &c.OnStoreLoss,
		"log.level":     &c.Log.Level,
		"log.format":    &c.Log.Format,
	}[path]
	if field == nil {
		panic(fmt.Sprintf("config: Set of %q", path))
	}
	value, expanded, err := lookup{env: os.LookupEnv, file: readValueFile}.expand(text)
	if err != nil {
		return &Error{Path: path, Msg: err.Error()}
	}
	*field = value
	hidden := maps.Clone(c.hidden)
	if delete(hidden, path); expanded {
		if hidden == nil {
			hidden = map[string]bool{}
		}
		hidden[path] = true
	}
	c.hidden = hidden
	return nil
}
