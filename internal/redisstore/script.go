package redisstore

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed lua
var lua embed.FS

var theScript = newScript(stepLua(), "sync")

// stepLua returns what defines the step of accounts.
func stepLua() string {
	return readLua("state", "pool", "moment", "record", "fill", "account", "sync")
}

// readLua returns files of the directory lua, one behind the other.
func readLua(names ...string) string {
	var text strings.Builder
	for _, name := range names {
		part, err := lua.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // it is embedded
		}
		text.Write(part)
		text.WriteByte('\n')
	}
	return text.String()
}

// script is a step, in both forms that servers take.
type script struct {
	name    string // of the library and of its function
	library string // for FUNCTION LOAD
	text    string // for EVAL
	sha     string // for EVALSHA
}

// oomName returns what a function is called that runs when memory is used up.
func (s *script) oomName() string { return s.name + "_oom" }

// newScript returns the step that body defines as step. The body is run at the
// first call: while a library is loaded it has no math, table or struct.
func newScript(body, step string) *script {
	define := "local function define()\n" + body + "\nreturn " + step + "\nend\n"
	text := define + "return define()(KEYS, ARGV)\n"
	sum := sha1.Sum([]byte(text)) // as SCRIPT LOAD does
	sha := hex.EncodeToString(sum[:])
	name := "headgate_1_" + sha[:8]
	return &script{
		name: name,
		library: "#!lua name=" + name + "\n" + define + "local step\n" +
			"local function run(keys, args)\nstep = step or define()\nreturn step(keys, args)\nend\n" +
			"redis.register_function('" + name + "', run)\n" +
			"redis.register_function{function_name = '" + name + "_oom', callback = run, flags = {'allow-oom'}}\n",
		text: text,
		sha:  sha,
	}
}

// call runs a function of the step on a key. args[0] is left to it.
func (s *Store) call(ctx context.Context, client rueidis.Client, function, key string, args []string) ([]rueidis.RedisMessage, error) {
	for {
		if s.clockless.Load() {
			now, err := s.clock(ctx, client)
			if err != nil {
				return nil, err
			}
			args[0] = strconv.FormatInt(now, 10)
		}
		m, err := s.run(ctx, client, function, key, args)
		if err != nil {
			return nil, err
		}
		if m.IsArray() {
			return m.ToArray()
		}
		if args[0] != "" {
			return nil, fmt.Errorf("not an answer: %v", m)
		}
		s.clockless.Store(true) // some managed servers refuse TIME there
	}
}

// run runs the step as a function if it can, and else as a script. What is not
// loaded it loads.
func (s *Store) run(ctx context.Context, client rueidis.Client, function, key string, args []string) (rueidis.RedisMessage, error) {
	if !s.scripted.Load() {
		m, err := fcall(ctx, client, function, key, args)
		if isMissing(err) {
			if err = s.load(ctx, client); err == nil {
				m, err = fcall(ctx, client, function, key, args)
			}
		}
		if !isRefused(err) {
			return m, err
		}
		s.scripted.Store(true)
	}
	m, err := client.Do(ctx, client.B().Evalsha().Sha1(s.script.sha).Numkeys(1).Key(key).Arg(args...).Build()).ToMessage()
	if !isMissing(err) {
		return m, err
	}
	return client.Do(ctx, client.B().Eval().Script(s.script.text).Numkeys(1).Key(key).Arg(args...).Build()).ToMessage()
}

func fcall(ctx context.Context, client rueidis.Client, function, key string, args []string) (rueidis.RedisMessage, error) {
	return client.Do(ctx, client.B().Fcall().Function(function).Numkeys(1).Key(key).Arg(args...).Build()).ToMessage()
}

// load loads the function into all servers that take it. It fails if none does.
func (s *Store) load(ctx context.Context, client rueidis.Client) error {
	var errs []error
	nodes := client.Nodes()
	for addr, node := range nodes {
		err := node.Do(ctx, node.B().FunctionLoad().Replace().FunctionCode(s.script.library).Build()).Error()
		if err != nil {
			errs = append(errs, fmt.Errorf("load function into %s: %w", addr, err))
		}
	}
	if len(errs) < len(nodes) {
		return nil // the others are replicas, or away
	}
	return errors.Join(errs...)
}

// clock returns the microseconds of the server's clock: in a cluster, always of
// the same one's.
func clock(ctx context.Context, client rueidis.Client) (int64, error) {
	_, node := firstNode(client)
	if node == nil {
		return 0, errors.New("ask for the time: no node known")
	}
	return clockOf(ctx, node)
}

func clockOf(ctx context.Context, node rueidis.Client) (int64, error) {
	t, err := node.Do(ctx, node.B().Time().Build()).AsIntSlice()
	if err != nil {
		return 0, fmt.Errorf("ask for the time: %w", err)
	}
	if len(t) != 2 {
		return 0, fmt.Errorf("ask for the time: %v is none", t)
	}
	return t[0]*1e6 + t[1], nil
}

// firstNode returns the node with the first address; nil if none is known.
func firstNode(client rueidis.Client) (string, rueidis.Client) {
	nodes := client.Nodes()
	var addrs []string
	for addr := range nodes {
		addrs = append(addrs, addr)
	}
	if len(addrs) == 0 {
		return "", nil
	}
	first := slices.Min(addrs)
	return first, nodes[first]
}

// isMissing reports whether a server does not know the function or the script.
func isMissing(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && (re.IsNoScript() || strings.Contains(strings.ToLower(re.Error()), "function not found"))
}

// isRefused reports whether a server knows no functions or lets us use none.
func isRefused(err error) bool {
	var re *rueidis.RedisError
	if !errors.As(err, &re) {
		return false
	}
	text := strings.TrimPrefix(strings.ToLower(re.Error()), "err ")
	for _, sign := range []string{"noperm ", "unknown command", "unknown subcommand", "command is not allowed"} {
		if strings.HasPrefix(text, sign) {
			return true
		}
	}
	return false
}
