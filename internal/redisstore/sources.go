package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/headgate/headgate/internal/source"
)

const (
	// sourcePatience bounds the wait for one answer about a source; messages
	// may have many megabytes.
	sourcePatience = 5 * time.Second

	// takeBytes is how many bytes of messages suffice for one Take.
	takeBytes = 4 << 20

	// adoptEvery is how often a stream is searched for what consumers that are
	// none of ours have left.
	adoptEvery = 30 * time.Second
)

// theSourceScript is the step of sources.
var theSourceScript = newScript(readLua("sources/list", "sources/stream", "sources/step"), "step")

// SourceOptions say what queue to drain, and where it is.
type SourceOptions struct {
	Options // its Namespace does not count

	Name   string // of the source, as dead letters have it
	Holder string // who takes: differs from all others, also from those that are dead

	List   string // key of the list; or
	Stream string // key of the stream, with
	Group  string // its group, made if there is none

	Results Destination // zero: results are not kept
	Dead    Destination
}

// Destination is where to write: the key of one of these.
type Destination struct {
	Hash, List, Stream string
}

// form returns the type of the key, as Redis names it, and the key.
func (d Destination) form() (form, key string) {
	switch {
	case d.Hash != "":
		return "hash", d.Hash
	case d.List != "":
		return "list", d.List
	case d.Stream != "":
		return "stream", d.Stream
	}
	return "", ""
}

// Source is a list or a stream in Redis that others write to: a source.Queue, and
// the source.Letters of its dead.
//
// # Keys
//
// A list is read at its right end, so that what is pushed on the left comes first
// in, first out. Our own keys begin with QUEUE:headgate:, or {QUEUE}:headgate: if
// QUEUE has no hash tag, and so lie in the queue's slot of a cluster. For a stream
// the group follows. Behind that stand
//
//	held:HOLDER  hash: messages that were taken from a list, by number
//	taken        string: the last number
//	leases       sorted set: holders, by when their lease lapses
//	losses       hash: how often a message was lost with its holder, for a week
//
// What is taken from a stream is pending with its group, with the holder as the
// consumer; what was given back is the consumer headgate:left's. Entries are
// acknowledged and not deleted: whoever writes the stream bounds it by MAXLEN or
// MINID, and entries that are trimmed before they are taken are gone. What
// consumers of other programs leave pending for 5 min is taken over: the group is
// for Headgate alone.
//
// # Results and dead letters
//
// In a hash the field is the message's ID. If that is made of the message's
// content and there is such a field, "-" and a number follow: equal messages have a
// result each. A list gets them on the right. An entry of a stream has the fields
// id, status and result; of a dead letter id, reason and letter. See
// source.WriteResult and source.WriteLetter for what they say.
//
// They are written in the step that lets go of the message. In a cluster that
// takes keys with the same hash tag as the queue; else the result is written first,
// and written again if the process dies in between.
//
// The user needs what the package comment says, on these keys and the queue's
// own, and +@list +@stream +@sortedset +incr +type +exists +expire.
type Source struct {
	store  *Store
	o      SourceOptions
	kind   string // list or stream
	key    string
	prefix string

	// turn is a lock: who takes, keeps or changes the holder goes alone.
	turn    chan struct{}
	adopted time.Time // guarded by turn
	unsure  bool      // guarded by turn: a Take may have brought what nobody knows of

	mu struct {
		sync.Mutex
		generation int                 // of the holder
		held       map[string]struct{} // refs
	}
}

var (
	_ source.Queue   = (*Source)(nil)
	_ source.Letters = (*Source)(nil)
)

// OpenSource returns the queue that o says. Like Open it does not need the server.
func OpenSource(o SourceOptions) (*Source, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open source %s: %w", o.Name, err)
	}
	s := &Source{o: o, kind: "list", key: o.List, turn: make(chan struct{}, 1)}
	if o.Stream != "" {
		s.kind, s.key = "stream", o.Stream
	}
	_, dead := o.Dead.form()
	switch {
	case s.key == "" || o.List != "" && o.Stream != "" || o.Stream != "" && o.Group == "":
		return nil, fmt.Errorf("open source %s: want a list, or a stream with a group", o.Name)
	case o.Holder == "" || dead == "":
		return nil, fmt.Errorf("open source %s: want a holder, and where the dead go", o.Name)
	}
	s.prefix = s.key
	if tag(s.key) == s.key {
		if strings.Contains(s.key, "}") && o.Cluster {
			return nil, fmt.Errorf("open source %s: key %q: no other key of its slot can be named in a cluster: have a hash tag in it, as in {jobs}:pending", o.Name, s.key)
		}
		s.prefix = "{" + s.key + "}"
	}
	s.prefix += ":headgate:"
	if o.Stream != "" {
		s.prefix += o.Group + ":"
	}
	s.mu.held = make(map[string]struct{})
	s.store = newStore(o.Options, theSourceScript)
	s.store.options.ConnWriteTimeout = sourcePatience
	return s, nil
}

// tag returns what the slot of a key is made of (Redis Cluster specification,
// "Hash tags").
func tag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if t, _, ok := strings.Cut(rest, "}"); ok && t != "" {
			return t
		}
	}
	return key
}

// near says whether a key can be written in one step with the queue.
func (s *Source) near(key string) bool { return !s.o.Cluster || tag(key) == tag(s.key) }

// Close ends what is under way and lets go of all connections. It may be called
// twice.
func (s *Source) Close() error {
	s.store.Close()
	return nil
}

// Take is as in source.Queue.
func (s *Source) Take(ctx context.Context, n int) ([]source.Message, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.unlock()
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	s.unsure = true // until the answer is there
	answer, err := s.ask(ctx, s.key, "take", s.holder(), leaseFor(), s.holds(), strconv.Itoa(n), strconv.Itoa(takeBytes))
	if err != nil {
		if refused(err) {
			s.unsure = false
		}
		s.lostIf(err)
		return nil, err
	}
	s.unsure = false
	messages := make([]source.Message, len(answer))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range answer {
		if messages[i], err = s.read(m); err != nil {
			s.unsure = true
			return nil, fmt.Errorf("take from %s: %w", s.key, err)
		}
	}
	for _, m := range messages {
		s.mu.held[m.Ref] = struct{}{}
	}
	return messages, nil
}

// read reads a message as the step hands it out: its ref, itself, and how often
// it was lost.
func (s *Source) read(m rueidis.RedisMessage) (source.Message, error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 3 {
		return source.Message{}, fmt.Errorf("not a message: %v", m)
	}
	var x source.Message
	if x.Ref, err = parts[0].ToString(); err != nil {
		return x, err
	}
	losses, err := parts[2].ToString()
	if err != nil {
		return x, err
	}
	if x.Losses, err = strconv.Atoi(losses); err != nil {
		return x, err
	}
	if s.kind == "stream" {
		x.Fields, err = parts[1].AsStrSlice()
		x.ID, x.Own, x.Body = x.Ref, true, source.BodyOf(x.Fields)
		return x, err
	}
	text, err := parts[1].ToString()
	x.Body = []byte(text)
	x.ID, x.Own = source.IDOf(x.Body)
	return x, err
}

// settle gives the holder an heir if it may hold what nobody knows of: that waits
// again then. It is called with the lock.
func (s *Source) settle(ctx context.Context) error {
	if !s.unsure {
		return nil
	}
	s.mu.Lock()
	from, to := s.nameLocked(s.mu.generation), s.nameLocked(s.mu.generation+1)
	refs := slices.Collect(maps.Keys(s.mu.held))
	s.mu.Unlock()
	if _, err := s.ask(ctx, s.key, "move", from, to, leaseFor(), strings.Join(refs, " ")); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.generation++
	s.unsure = false
	return nil
}

// Keep is as in source.Queue.
func (s *Source) Keep(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.settle(ctx); err != nil {
		return err
	}
	adopt := "0"
	if now := time.Now(); s.kind == "stream" && now.Sub(s.adopted) >= adoptEvery {
		s.adopted, adopt = now, "1"
	}
	_, err := s.ask(ctx, s.key, "keep", s.holder(), leaseFor(), s.holds(), adopt)
	s.lostIf(err)
	return err
}

// End is as in source.Queue. It may be called again after an error.
func (s *Source) End(ctx context.Context, m source.Message, e source.End) error {
	where := s.putting(m, e)
	if len(where) > 0 && !s.near(where[1]) {
		if _, err := s.of(ctx, m.Ref, "holds"); err != nil {
			return err
		}
		if _, err := s.ask(ctx, where[1], "put", where...); err != nil {
			return err
		}
		where = nil
	}
	_, err := s.of(ctx, m.Ref, "finish", where...)
	if err == nil || errors.Is(err, source.ErrGone) {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.mu.held, m.Ref)
	}
	return err
}

// putting returns where to write what of an end, as the step takes it; nil:
// nothing.
func (s *Source) putting(m source.Message, e source.End) []string {
	d, field, value, called, text := s.o.Results, "status", strconv.Itoa(e.Status), "result", []byte(nil)
	if e.Dead != "" {
		d, field, value, called = s.o.Dead, "reason", e.Dead, "letter"
	}
	form, key := d.form()
	if form == "" {
		return nil
	}
	if e.Dead != "" {
		text = source.WriteLetter(s.o.Name, m, e)
	} else {
		text = source.WriteResult(m, e)
	}
	unique := ""
	if !m.Own || e.Dead != "" {
		unique = m.Ref
	}
	return []string{form, key, m.ID, unique, field, value, called, rueidis.BinaryString(text)}
}

// of asks about a message that this holder, or the heir that it got meanwhile,
// holds.
func (s *Source) of(ctx context.Context, ref, operation string, args ...string) ([]rueidis.RedisMessage, error) {
	for {
		holder := s.holder()
		answer, err := s.ask(ctx, s.key, operation, append([]string{holder, ref}, args...)...)
		if !errors.Is(err, source.ErrGone) || holder == s.holder() {
			return answer, err
		}
	}
}

// Back is as in source.Queue.
func (s *Source) Back(ctx context.Context, messages []source.Message) error {
	if err := s.lock(ctx); err != nil { // the holder must not change
		return err
	}
	defer s.unlock()
	for part := range slices.Chunk(messages, 1000) {
		refs := make([]string, len(part))
		for i, m := range part {
			refs[i] = m.Ref
		}
		if _, err := s.ask(ctx, s.key, "back", s.holder(), strings.Join(refs, " ")); err != nil {
			return err
		}
		s.mu.Lock()
		for _, ref := range refs {
			delete(s.mu.held, ref)
		}
		s.mu.Unlock()
	}
	return nil
}

// Waiting is as in source.Queue.
func (s *Source) Waiting(ctx context.Context) (int64, error) {
	answer, err := s.ask(ctx, s.key, "waiting")
	if err != nil || len(answer) != 1 {
		return 0, err
	}
	n, err := answer[0].ToString()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(n, 10, 64)
}

func leaseFor() string { return strconv.FormatInt(source.LeaseFor.Microseconds(), 10) }

func (s *Source) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Source) unlock() { <-s.turn }

func (s *Source) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nameLocked(s.mu.generation)
}

func (s *Source) nameLocked(generation int) string {
	return s.o.Holder + "." + strconv.Itoa(generation)
}

// holds says, as the step takes it, whether something is held.
func (s *Source) holds() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.held) > 0 {
		return "1"
	}
	return "0"
}

// lostIf forgets all that was held if an answer says that it is another's.
func (s *Source) lostIf(err error) {
	if !errors.Is(err, source.ErrGone) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.mu.held)
	s.mu.generation++
}
