package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/lease"
)

// How long to wait before subscribing again.
const (
	resubscribe     = 20 * time.Millisecond
	resubscribeMost = time.Second
)

// Run listens to what is published in the namespace until ctx ends, and returns
// its cause. hear is called for each message, in order; it must not block. Of
// lease.Wake, Pause is in whole milliseconds, rounded up. A
// subscription that is lost is taken up again, by backoff with full jitter;
// what was published in the meantime is lost.
func (s *Store) Run(ctx context.Context, hear func(lease.Wake)) error {
	return s.follow(ctx, func(text string) {
		if w, ok := parseWake(text); ok {
			hear(w)
		}
	})
}

// follow is Run for the texts of messages.
func (s *Store) follow(ctx context.Context, hear func(text string)) error {
	wait := resubscribe
	for {
		var subscribed atomic.Bool
		err := s.listen(ctx, func() { subscribed.Store(true) }, hear)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, ErrClosed) {
			return err
		}
		if subscribed.Load() {
			wait = resubscribe
		}
		timer := time.NewTimer(rand.N(wait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		wait = min(2*wait, resubscribeMost)
	}
}

// listen subscribes, and returns when the subscription has ended. It calls
// subscribed when it has begun.
func (s *Store) listen(ctx context.Context, subscribed func(), hear func(text string)) error {
	var client rueidis.Client
	err := s.do(ctx, func(_ context.Context, c rueidis.Client) error {
		client = c
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { subscribed() })
	err = client.Receive(ctx, client.B().Subscribe().Channel(s.channel).Build(), func(m rueidis.PubSubMessage) {
		hear(m.Message)
	})
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// parseWake reads a message. ok is false if it is not one of ours.
func parseWake(text string) (w lease.Wake, ok bool) {
	var m struct {
		Account   string   `json:"account"`
		From      string   `json:"from"`
		PauseMS   int64    `json:"pause_ms"`
		Instances []string `json:"instances"`
	}
	if json.Unmarshal([]byte(text), &m) != nil || m.Account == "" {
		return lease.Wake{}, false
	}
	const most = int64(365 * 24 * time.Hour / time.Millisecond)
	pause := time.Duration(min(max(m.PauseMS, 0), most)) * time.Millisecond
	return lease.Wake{Account: m.Account, Instances: m.Instances, Pause: pause, From: m.From}, true
}
