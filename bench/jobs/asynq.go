//go:build linux

package main

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
)

// peer is asynq with a handler that does nothing. It keeps nothing of a task that
// has ended, which is its default and its fastest.
type peer struct {
	client *asynq.Client
	server *asynq.Server
	begun  bool
}

func openAsynq(_ context.Context, redis *server, s settings) (system, error) {
	at := asynq.RedisClientOpt{Addr: redis.addr, PoolSize: s.callers + s.workers}
	return &peer{
		client: asynq.NewClient(at),
		server: asynq.NewServer(at, asynq.Config{
			Concurrency: s.workers, LogLevel: asynq.ErrorLevel, TaskCheckInterval: 10 * time.Millisecond,
		}),
	}, nil
}

func (p *peer) put(ctx context.Context, body []byte) error {
	_, err := p.client.EnqueueContext(ctx, asynq.NewTask("call", body))
	return err
}

func (p *peer) work(ended func()) error {
	p.begun = true
	return p.server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		ended()
		return nil
	}))
}

func (p *peer) close() {
	if p.begun {
		p.server.Shutdown()
	}
	_ = p.client.Close() // nothing is under way
}
