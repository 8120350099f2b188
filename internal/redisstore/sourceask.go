package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/source"
)

// ask has the server do an operation at a key, and returns what it answers behind
// ok.
func (s *Source) ask(ctx context.Context, key, operation string, args ...string) ([]rueidis.RedisMessage, error) {
	all := append([]string{"", operation, s.kind, s.o.Group, s.prefix}, args...)
	answer, err := asked(ctx, s, func(ctx context.Context, c rueidis.Client) ([]rueidis.RedisMessage, error) {
		return s.store.call(ctx, c, s.store.script.oomName(), key, all)
	})
	if err != nil {
		return nil, err
	}
	return s.behindOK(answer)
}

// typeError says that a key holds something else than it should.
type typeError struct{ key, has, want string }

func (e *typeError) Error() string {
	return fmt.Sprintf("key %q holds a %s, want a %s: name another key, or move that one away", e.key, e.has, e.want)
}

// refused says whether the step itself has refused, before it did anything.
func refused(err error) bool {
	var te *typeError
	return errors.As(err, &te) || errors.Is(err, source.ErrGone)
}

func (s *Source) behindOK(answer []rueidis.RedisMessage) ([]rueidis.RedisMessage, error) {
	var words []string
	for _, m := range answer {
		word, err := m.ToString()
		if err != nil {
			break
		}
		words = append(words, word)
	}
	switch {
	case len(words) > 0 && words[0] == "ok":
		return answer[1:], nil
	case len(words) == 1 && words[0] == "gone":
		return nil, source.ErrGone
	case len(words) == 4 && words[0] == "type":
		return nil, fmt.Errorf("source %s: %w", s.o.Name, &typeError{key: words[1], has: words[2], want: words[3]})
	}
	return nil, fmt.Errorf("source %s: not an answer: %s", s.o.Name, strings.Join(words, " "))
}
