package config

import (
	"fmt"
	"maps"
	"os"
)

// Set puts text in the place of what a file says of the process: path is
// listen, admin, state, namespace, on_store_loss, jobs, retention, log.level or
// log.format. It expands text as Parse does, and checks little: Validate does
// the rest. The error is an *Error. Other paths are a mistake of the program: Set
// panics.
func (c *Config) Set(path, text string) error {
	var retention string
	field := map[string]*string{
		"listen":        &c.Listen,
		"admin":         &c.Admin,
		"state":         &c.State,
		"namespace":     &c.Namespace,
		"on_store_loss": &c.OnStoreLoss,
		"jobs":          &c.Jobs,
		"retention":     &retention,
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
	if field == &retention {
		if err := c.Retention.UnmarshalText([]byte(value)); err != nil {
			return &Error{Path: path, Value: text, Msg: `want a duration such as "24h" or "7d"`}
		}
	}
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
