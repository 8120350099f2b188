package cli

import (
	"testing"

	"github.com/headgate/headgate/config"
)

// Set panics for what it does not know: every flag of the process must be
// something that it does.
func TestFlagsOfTheProcessGoOverAFile(t *testing.T) {
	p := processFlags{
		stateFlags: stateFlags{state: "memory", namespace: "n", onStoreLoss: "wait"},
		listen:     "127.0.0.1:1", admin: "off", logLevel: "warn", logFormat: "json",
		jobs: "./jobs.db", retention: "2h",
	}
	var c config.Config
	if err := setOver(nil, p.settings(), &c); err != nil {
		t.Fatal(err)
	}
	if c.Jobs != "./jobs.db" || c.Retention.String() != "2h" || c.Listen != "127.0.0.1:1" || c.Log.Format != "json" {
		t.Errorf("configuration %+v lacks what the flags say", c)
	}
}
