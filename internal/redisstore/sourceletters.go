package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/source"
)

// letterPage is how many dead letters are read at once.
const letterPage = 100

// Letters is as in source.Letters. What is not a dead letter is passed over. Pages
// are read from the latest letter back, so that neither letters that come meanwhile
// nor those that f removes move what is still to be read.
func (s *Source) Letters(ctx context.Context, f func(source.Letter) bool) error {
	form, key := s.o.Dead.form()
	kind, err := asked(ctx, s, func(ctx context.Context, c rueidis.Client) (string, error) {
		return c.Do(ctx, c.B().Type().Key(key).Build()).ToString()
	})
	switch {
	case err != nil || kind == "none":
		return err
	case kind != form:
		return fmt.Errorf("source %s: %w", s.o.Name, &typeError{key, kind, form})
	}
	for cursor, more := "", true; more; {
		var page []source.Letter
		if page, cursor, more, err = s.page(ctx, form, key, cursor); err != nil {
			return err
		}
		for _, l := range page {
			if !f(l) {
				return nil
			}
		}
	}
	return nil
}

// page reads letters from a cursor on, "" for the first, and returns the next one.
func (s *Source) page(ctx context.Context, form, key, cursor string) (page []source.Letter, next string, more bool, err error) {
	add := func(ref, text string) {
		if l, err := source.ReadLetter([]byte(text)); err == nil {
			l.Ref = ref
			page = append(page, l)
		}
	}
	switch form {
	case "list":
		last, err := s.last(ctx, key, cursor)
		if err != nil || last < 0 {
			return nil, "", false, err
		}
		first := max(last-letterPage+1, 0)
		texts, err := asked(ctx, s, func(ctx context.Context, c rueidis.Client) ([]string, error) {
			return c.Do(ctx, c.B().Lrange().Key(key).Start(first).Stop(last).Build()).AsStrSlice()
		})
		for _, text := range slices.Backward(texts) {
			add("", text)
		}
		return page, strconv.FormatInt(first-1, 10), first > 0, err
	case "stream":
		from := "+"
		if cursor != "" {
			from = "(" + cursor
		}
		entries, err := asked(ctx, s, func(ctx context.Context, c rueidis.Client) ([]rueidis.XRangeEntry, error) {
			return c.Do(ctx, c.B().Xrevrange().Key(key).End(from).Start("-").Count(letterPage).Build()).AsXRange()
		})
		for _, e := range entries {
			add(e.ID, e.FieldValues["letter"])
			next = e.ID
		}
		return page, next, len(entries) == letterPage, err
	}
	at, _ := strconv.ParseUint(cursor, 10, 64)
	scan, err := asked(ctx, s, func(ctx context.Context, c rueidis.Client) (rueidis.ScanEntry, error) {
		return c.Do(ctx, c.B().Hscan().Key(key).Cursor(at).Count(letterPage).Build()).AsScanEntry()
	})
	for i := 0; i+1 < len(scan.Elements); i += 2 {
		add(scan.Elements[i], scan.Elements[i+1])
	}
	return page, strconv.FormatUint(scan.Cursor, 10), scan.Cursor != 0, err
}

// last returns the index in a list that a cursor stands for.
func (s *Source) last(ctx context.Context, key, cursor string) (int64, error) {
	if cursor != "" {
		return strconv.ParseInt(cursor, 10, 64)
	}
	n, err := asked(ctx, s, func(ctx context.Context, c rueidis.Client) (int64, error) {
		return c.Do(ctx, c.B().Llen().Key(key).Build()).AsInt64()
	})
	return n - 1, err
}

// Revive is as in source.Letters.
func (s *Source) Revive(ctx context.Context, l source.Letter) error {
	form, key := s.o.Dead.form()
	parts := l.Fields
	switch {
	case s.kind == "list":
		parts = []string{rueidis.BinaryString(l.Body)}
	case parts == nil:
		parts = []string{"message", rueidis.BinaryString(l.Body)}
	}
	letter := []string{form, key, l.Ref, rueidis.BinaryString(l.Raw)}
	if s.near(key) {
		_, err := s.ask(ctx, s.key, "revive", append(letter, parts...)...)
		return gone(err)
	}
	if _, err := s.ask(ctx, key, "there", letter...); err != nil {
		return gone(err)
	}
	// It waits before the letter goes, so that it is lost at no moment.
	if _, err := s.ask(ctx, s.key, "revive", append([]string{"", "", "", ""}, parts...)...); err != nil {
		return err
	}
	_, err := s.ask(ctx, key, "drop", letter...)
	return gone(err)
}

// Purge is as in source.Letters.
func (s *Source) Purge(ctx context.Context, l source.Letter) error {
	form, key := s.o.Dead.form()
	_, err := s.ask(ctx, key, "drop", form, key, l.Ref, rueidis.BinaryString(l.Raw))
	return gone(err)
}

func gone(err error) error {
	if errors.Is(err, source.ErrGone) {
		return source.ErrNoLetter
	}
	return err
}

// asked has f ask the server, for sourcePatience at most.
func asked[T any](ctx context.Context, s *Source, f func(context.Context, rueidis.Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, sourcePatience)
	defer cancel()
	got := make(chan T, 1) // f may outlive this call
	err := s.store.do(ctx, func(ctx context.Context, c rueidis.Client) error {
		one, err := f(ctx, c)
		if err == nil {
			got <- one
		}
		return err
	})
	if err != nil {
		var none T
		return none, fmt.Errorf("source %s: redis at %s: %w", s.o.Name, s.store.addr, err)
	}
	return <-got, nil
}
