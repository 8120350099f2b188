package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Facts are what a server says of itself. In a cluster it is the node with the
// first address. What the user may not ask for is left at its zero value.
type Facts struct {
	Addr       string
	Server     string // redis or valkey
	Version    string
	Mode       string // how the step runs: function or script; "" on a replica
	Role       string // master or replica
	Save       string // when snapshots are taken, as in redis.conf: pairs of seconds and changes; "": never
	AppendOnly bool
	Fsync      string        // always, everysec or no, with AppendOnly; "": unknown
	MaxMemory  int64         // bytes; 0: no bound
	Eviction   string        // maxmemory_policy; "noeviction" is what ledgers and jobs want
	Replicas   int           // connected to a master
	Cluster    string        // its state: ok or fail; "": it is none
	Ahead      time.Duration // of this process's clock, at most RoundTrip/2 wrong
	RoundTrip  time.Duration
}

// Probe asks a server about itself, and loads the step into it.
func (s *Store) Probe(ctx context.Context) (Facts, error) {
	var facts Facts
	err := s.do(ctx, func(ctx context.Context, client rueidis.Client) error {
		f, err := s.probe(ctx, client)
		if err == nil {
			facts = f
		}
		return err
	})
	if err != nil {
		return Facts{}, fmt.Errorf("probe %s: %w", s.addr, err)
	}
	return facts, nil
}

func (s *Store) probe(ctx context.Context, client rueidis.Client) (Facts, error) {
	addr, node := firstNode(client)
	if node == nil {
		return Facts{}, errors.New("no node known")
	}
	return s.probeNode(ctx, client, addr, node)
}

func (s *Store) probeNode(ctx context.Context, client rueidis.Client, addr string, node rueidis.Client) (Facts, error) {
	f := Facts{Addr: addr}
	info, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return Facts{}, fmt.Errorf("INFO: %w", err)
	}
	clustered := f.readInfo(fields(info))
	for name, value := range map[string]*string{"save": &f.Save, "appendfsync": &f.Fsync} {
		m, err := node.Do(ctx, node.B().ConfigGet().Parameter(name).Build()).AsStrMap()
		if _, refused := rueidis.IsRedisErr(err); err != nil && !refused {
			return Facts{}, fmt.Errorf("CONFIG GET %s: %w", name, err)
		}
		*value = m[name]
	}
	if clustered {
		text, err := node.Do(ctx, node.B().ClusterInfo().Build()).ToString()
		if err != nil {
			return Facts{}, fmt.Errorf("CLUSTER INFO: %w", err)
		}
		f.Cluster = fields(text)["cluster_state"]
	}
	if f.Role == "master" {
		if f.Mode, err = s.mode(ctx, client, node); err != nil {
			return Facts{}, err
		}
	}
	sent := time.Now()
	at, err := clockOf(ctx, node)
	if err != nil {
		return Facts{}, err
	}
	f.RoundTrip = time.Since(sent)
	f.Ahead = time.UnixMicro(at).Sub(sent.Add(f.RoundTrip / 2)).Truncate(time.Microsecond)
	return f, nil
}

// readInfo takes what INFO says, and returns whether it is a cluster's node.
func (f *Facts) readInfo(info map[string]string) (clustered bool) {
	f.Server, f.Version = "redis", info["redis_version"]
	if v := info["valkey_version"]; v != "" {
		f.Server, f.Version = "valkey", v
	}
	f.Role = info["role"]
	if f.Role == "slave" {
		f.Role = "replica"
	}
	f.AppendOnly = info["aof_enabled"] == "1"
	f.MaxMemory, _ = strconv.ParseInt(info["maxmemory"], 10, 64)
	f.Eviction = info["maxmemory_policy"]
	f.Replicas, _ = strconv.Atoi(info["connected_slaves"])
	return info["cluster_enabled"] == "1"
}

// mode finds out how the step runs, and loads it.
func (s *Store) mode(ctx context.Context, client, node rueidis.Client) (string, error) {
	if !s.scripted.Load() {
		err := s.load(ctx, client)
		if err == nil {
			// Without a key it does nothing.
			err = node.Do(ctx, node.B().Fcall().Function(s.script.name).Numkeys(0).Build()).Error()
		}
		if err == nil || rueidis.IsRedisNil(err) {
			return "function", nil
		}
		if !isRefused(err) {
			return "", err
		}
		s.scripted.Store(true)
	}
	err := node.Do(ctx, node.B().Eval().Script(s.script.text).Numkeys(0).Build()).Error()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", fmt.Errorf("load script: %w", err)
	}
	return "script", nil
}

// fields reads lines of name:value.
func fields(text string) map[string]string {
	m := make(map[string]string)
	text = strings.TrimPrefix(text, "txt:") // of a verbatim string in RESP3
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			m[name] = value
		}
	}
	return m
}
