// Package stores turns what a configuration says of stores into stores. It opens
// them and knows nothing of what they are for.
package stores

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/job"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/sqlitestore"
)

// Redis returns how the Redis at an address is reached.
func Redis(at config.Store, namespace string) redisstore.Options {
	o := redisstore.Options{
		Addrs:            at.Addrs,
		Username:         at.Username,
		Password:         at.Password.Reveal(),
		DB:               at.DB,
		Master:           at.Master,
		SentinelPassword: at.SentinelPassword.Reveal(),
		Cluster:          at.Kind == config.Cluster,
		Namespace:        namespace,
	}
	if at.TLS {
		o.TLS = &tls.Config{}
	}
	return o
}

// Jobs opens the store of jobs that cfg names; nil if it names none. A Redis that
// is away is no error here. Where nothing is said of jobs the file of the default
// is made by the first one; then the error does not keep the store from being
// used.
func Jobs(cfg config.Config) (job.Store, error) {
	said := cfg.Jobs != ""
	cfg = cfg.WithDefaults()
	at, err := cfg.JobStore()
	switch {
	case err != nil || at.None():
		return nil, err
	case at.File != "":
		open := func() (job.Store, error) {
			s, err := sqlitestore.Open(at.File, sqlitestore.Options{Retention: time.Duration(cfg.Retention)})
			if err != nil {
				return nil, err
			}
			return s, nil
		}
		if said {
			return open()
		}
		return newLazy(at.File, open)
	}
	o := Redis(at.Redis, cfg.Namespace)
	o.Retention = time.Duration(cfg.Retention)
	s, err := redisstore.OpenJobs(o)
	if err != nil {
		return nil, fmt.Errorf("jobs %s: %w", at, err)
	}
	return s, nil
}

// Source returns the queue that a source of cfg drains, for a holder whose name
// nobody had before.
func Source(c config.Source, holder string) (*redisstore.Source, error) {
	at, err := c.Store()
	if err != nil {
		return nil, err
	}
	q, err := redisstore.OpenSource(redisstore.SourceOptions{
		Options: Redis(at, ""),
		Name:    c.Name,
		Holder:  holder,
		List:    c.List,
		Stream:  c.Stream,
		Group:   c.Group,
		Results: redisstore.Destination(c.Results),
		Dead:    redisstore.Destination(c.Dead),
	})
	if err != nil {
		return nil, fmt.Errorf("source %q at %s: %w", c.Name, at, err)
	}
	return q, nil
}
