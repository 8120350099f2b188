package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/headgate/headgate/config"
)

// stateFlags say where quotas are kept and with whom they are shared. "" leaves
// it to the file or to the default.
type stateFlags struct {
	state, namespace, onStoreLoss string
}

func (s *stateFlags) add(f *pflag.FlagSet) {
	f.StringVar(&s.state, "state", "", "`WHERE` quotas are kept: memory, or the ADDRESS of a Redis that instances share, such as\nredis://:${env:REDIS_PASSWORD}@localhost:6379/0; also rediss://, redis+sentinel://,\nredis+cluster:// (default memory)")
	f.StringVar(&s.namespace, "namespace", "", "`NAME` under which instances share; those with another have their own quotas (default default)")
	f.StringVar(&s.onStoreLoss, "on-store-loss", "", "`WHAT` to do while the Redis cannot be reached: share (limit / instances last alive),\nwait or fail (default share)")
}

// settings are what the flags say, by the path that a file has for it.
func (s *stateFlags) settings() []setting {
	return []setting{
		{"state", s.state},
		{"namespace", s.namespace},
		{"on_store_loss", s.onStoreLoss},
	}
}

// processFlags are about the process, whatever it serves. "" leaves it to the
// file or to the default.
type processFlags struct {
	stateFlags
	listen, admin, logLevel, logFormat string
	jobs, retention                    string
}

func (p *processFlags) add(f *pflag.FlagSet) {
	p.stateFlags.add(f)
	f.StringVarP(&p.listen, "listen", "a", "", "`ADDRESS` of the gateway; port 0 is any free one (default 127.0.0.1:8787)")
	f.StringVar(&p.admin, "admin", "", "`ADDRESS` of health, metrics and status, or off (default 127.0.0.1:8788)")
	f.StringVar(&p.jobs, "jobs", "", "`WHERE` jobs are kept, calls with Prefer: respond-async: a file of SQLite, the\nADDRESS of a Redis, or none (default ./headgate.db, made by the first job)")
	f.StringVar(&p.retention, "retention", "", "`DURATION` for which a job that has ended is kept (default 24h)")
	f.StringVar(&p.logLevel, "log-level", "", "`LEVEL`: debug, info, warn or error (default info)")
	f.StringVar(&p.logFormat, "log-format", "", "`FORMAT`: text or json (default text)")
}

func (p *processFlags) settings() []setting {
	return append(p.stateFlags.settings(),
		setting{"listen", p.listen},
		setting{"admin", p.admin},
		setting{"jobs", p.jobs},
		setting{"retention", p.retention},
		setting{"log.level", p.logLevel},
		setting{"log.format", p.logFormat},
	)
}

// A setting is what a flag says of the process: a path of the file, and its
// text; "" if the flag was not given.
type setting struct{ path, text string }

// loadUnder loads a file and puts settings over it.
func loadUnder(cmd *cobra.Command, settings []setting, file string) (config.Config, error) {
	c, err := load(file)
	if err != nil {
		return c, err
	}
	if err := setOver(cmd, settings, &c); err != nil {
		return c, &usageError{cmd, fmt.Errorf("with the flags given: %w", err)}
	}
	return c, nil
}

// setOver puts settings over a configuration that is valid without. Errors are
// wrong usage of cmd.
func setOver(cmd *cobra.Command, settings []setting, c *config.Config) error {
	for _, s := range settings {
		if s.text == "" {
			continue
		}
		if err := c.Set(s.path, s.text); err != nil {
			return &usageError{cmd, inWordsOfFlags(err)}
		}
	}
	if err := c.Validate(); err != nil {
		return &usageError{cmd, inWordsOfFlags(err)}
	}
	return nil
}
