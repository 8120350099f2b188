package config

import (
	"maps"
	"slices"
	"time"
)

// WithDefaults returns a copy in which every field that was left zero and has
// a default holds it. Retry.Methods stays empty: what is safe to repeat
// depends on the call.
func (c Config) WithDefaults() Config {
	def(&c.Listen, "127.0.0.1:8787")
	def(&c.Admin, "127.0.0.1:8788")
	def(&c.State, "memory")
	def(&c.Namespace, "default")
	def(&c.OnStoreLoss, "share")
	def(&c.Jobs, "./headgate.db")
	def(&c.Retention, Duration(24*time.Hour))
	def(&c.Log.Level, "info")
	def(&c.Log.Format, "text")
	c.Upstreams = maps.Clone(c.Upstreams)
	for name, u := range c.Upstreams {
		c.Upstreams[name] = u.withDefaults(name)
	}
	c.Clients = slices.Clone(c.Clients)
	for i := range c.Clients {
		cl := &c.Clients[i]
		if cl.Priority == nil {
			cl.Priority = new(3)
		}
		def(&cl.Weight, 1)
	}
	c.Sources = slices.Clone(c.Sources)
	for i := range c.Sources {
		c.Sources[i] = c.Sources[i].withDefaults()
	}
	return c
}

func (u Upstream) withDefaults(name string) Upstream {
	def(&u.Dialect, "auto")
	def(&u.Quota, name)
	def(&u.Guard, "adaptive")
	u.Limits = slices.Clone(u.Limits)
	for i := range u.Limits {
		u.Limits[i].Scope = scopeOf(u.Limits[i])
	}
	u.Retry = u.Retry.withDefaults()
	def(&u.Breaker.OpenFor, Duration(30*time.Second))
	def(&u.Breaker.Failures, Failures{Share: 0.5, Of: 20})
	def(&u.Line.MaxWait, Duration(2*time.Minute))
	def(&u.Line.MaxLength, 10_000)
	def(&u.Line.MaxBytes, 256<<20)
	def(&u.Timeout.Attempt, Duration(60*time.Second))
	def(&u.Timeout.IdleStream, Duration(60*time.Second))
	return u
}

func (r Retry) withDefaults() Retry {
	def(&r.Attempts, 5)
	def(&r.Base, Duration(500*time.Millisecond))
	def(&r.Cap, Duration(60*time.Second))
	def(&r.Jitter, "full")
	def(&r.Budget, 0.2)
	def(&r.Body, 1<<20)
	def(&r.BodyFile, 64<<20)
	return r
}

func (s Source) withDefaults() Source {
	def(&s.Request.Method, "POST")
	queue := s.List
	if s.Stream != "" {
		def(&s.Group, "headgate")
		queue = s.Stream
	}
	if queue != "" {
		def(&s.Dead, Destination{List: queue + ":dead"})
	}
	return s
}

// def sets a field that is zero.
func def[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}
