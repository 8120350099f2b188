package headgate

import (
	"net/http"

	"github.com/headgate/headgate/config"
)

// An Option is a setting of a Transport or a Gate.
type Option interface{ apply(*options) }

type options struct {
	upstream config.Upstream // of a Transport
	base     http.RoundTripper
	events   Events
	tracer   Tracer // nil: no call is followed
	store    store  // in place of the one that the configuration names; nil: none
}

type (
	limitOption  string
	retryOption  config.Retry
	lineOption   config.Line
	eventsOption Events
	tracerOption struct{ Tracer }
	baseOption   struct{ http.RoundTripper }
)

func (l limitOption) apply(o *options) {
	o.upstream.Limits = append(o.upstream.Limits, config.Limit{Limit: string(l)})
}
func (r retryOption) apply(o *options)  { o.upstream.Retry = config.Retry(r) }
func (l lineOption) apply(o *options)   { o.upstream.Line = config.Line(l) }
func (e eventsOption) apply(o *options) { o.events = Events(e) }
func (t tracerOption) apply(o *options) { o.tracer = t.Tracer }
func (b baseOption) apply(o *options)   { o.base = b.RoundTripper }

// Limit adds a limit to a Transport, written as in the configuration file:
// "50/1m" is 50 requests in any 60 s, "concurrent:8" is 8 in flight at once.
func Limit(s string) Option { return limitOption(s) }

// Retry sets when a Transport gives a call another attempt. Fields left zero
// mean the defaults that config.Retry documents.
func Retry(r config.Retry) Option { return retryOption(r) }

// Line bounds the waiting line of a Transport. Fields left zero mean the
// defaults that config.Line documents.
func Line(l config.Line) Option { return lineOption(l) }

// WithEvents has e told what passes.
func WithEvents(e Events) Option { return eventsOption(e) }

// WithTracer has t follow each call of a Transport or a Gate; nil: none is
// followed, which costs nothing. Permits that Gate.Acquire grants are not calls.
func WithTracer(t Tracer) Option { return tracerOption{t} }

// Base sets what sends single attempts; by default an http.Transport that
// keeps as many connections as there are calls. Bodies of its responses must be
// closed as net/http asks, and httptrace hooks called if it can: without
// WroteRequest an attempt counts as written when it was answered.
func Base(rt http.RoundTripper) Option { return baseOption{rt} }
