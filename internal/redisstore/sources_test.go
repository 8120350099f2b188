package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/internal/source"
)

// listSource are the options of a source in tests: the list q, its results in the
// hash q:results.
func listSource(addrs ...string) SourceOptions {
	return SourceOptions{
		Options: Options{Addrs: addrs}, Name: "s", Holder: "one", List: "q",
		Results: Destination{Hash: "q:results"}, Dead: Destination{List: "q:dead"},
	}
}

func streamSource(addrs ...string) SourceOptions {
	o := listSource(addrs...)
	o.List, o.Stream, o.Group = "", "q", "headgate"
	return o
}

func openSource(t *testing.T, o SourceOptions) *Source {
	t.Helper()
	s, err := OpenSource(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func take(t *testing.T, s *Source, n int) []source.Message {
	t.Helper()
	taken, err := s.Take(t.Context(), n)
	if err != nil {
		t.Fatalf("Take(%d) = %v", n, err)
	}
	return taken
}

func bodies(messages []source.Message) string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Body))
	}
	return strings.Join(all, " ")
}

func ok(m source.Message) source.End {
	return source.End{Status: 200, ContentType: "text/plain", Body: append([]byte("did "), m.Body...), Attempts: 1, At: time.Unix(1e9, 0)}
}

// lapse has the lease of all holders be over.
func lapse(server *redistest.Server, prefix string) {
	for _, holder := range strings.Fields(server.CLI("ZRANGE", prefix+"leases", "0", "-1")) {
		server.CLI("ZADD", prefix+"leases", "1", holder)
	}
}

func TestListIsTakenAtTheRightAndGivenBackAsItWas(t *testing.T) {
	server := redistest.Start(t)
	s := openSource(t, listSource(server.Addr))
	server.CLI("LPUSH", "q", "a", "b", "c", "d", "e")
	taken := take(t, s, 3)
	if got := bodies(taken); got != "a b c" {
		t.Fatalf("took %q, want a b c", got)
	}
	if err := s.End(t.Context(), taken[1], ok(taken[1])); err != nil {
		t.Fatal(err)
	}
	if err := s.Back(t.Context(), []source.Message{taken[0], taken[1], taken[2]}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(server.CLI("LRANGE", "q", "0", "-1")); !slices.Equal(got, []string{"e", "d", "c", "a"}) {
		t.Errorf("the list is %v, want e d c a", got)
	}
	if n, err := s.Waiting(t.Context()); n != 4 || err != nil {
		t.Errorf("Waiting = %d, %v, want 4", n, err)
	}
}

func TestStreamMakesItsGroupAndAcknowledges(t *testing.T) {
	server := redistest.Start(t)
	s := openSource(t, streamSource(server.Addr))
	if got := take(t, s, 3); len(got) != 0 {
		t.Fatalf("took %v of a stream that is not there", got)
	}
	server.CLI("XADD", "q", "1-1", "text", "a")
	server.CLI("XADD", "q", "1-2", "text", "b", "lang", "de")
	server.CLI("XADD", "q", "1-3", "text", "c")
	taken := take(t, s, 2)
	if got := bodies(taken); got != `a {"text":"b","lang":"de"}` || taken[0].ID != "1-1" {
		t.Fatalf("took %q, ID %s", got, taken[0].ID)
	}
	if n, err := s.Waiting(t.Context()); n != 1 || err != nil {
		t.Errorf("Waiting = %d, %v, want 1", n, err)
	}
	if err := s.End(t.Context(), taken[0], ok(taken[0])); err != nil {
		t.Fatal(err)
	}
	if err := s.End(t.Context(), taken[0], ok(taken[0])); !errors.Is(err, source.ErrGone) {
		t.Errorf("the second End = %v, want ErrGone", err)
	}
	if err := s.Back(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	if got := bodies(take(t, s, 9)); got != `{"text":"b","lang":"de"} c` {
		t.Errorf("then took %q, want what was given back first", got)
	}
	server.CLI("XGROUP", "DESTROY", "q", "headgate")
	if got := take(t, s, 9); len(got) != 3 {
		t.Errorf("with the group destroyed took %q, want all from the beginning", bodies(got))
	}
	server.CLI("DEL", "q")
	if got := take(t, s, 9); len(got) != 0 {
		t.Errorf("of a deleted stream took %q", bodies(got))
	}
}

func TestWhatADeadHolderHeldIsTakenOverAndFenced(t *testing.T) {
	for kind, o := range map[string]func(...string) SourceOptions{"list": listSource, "stream": streamSource} {
		t.Run(kind, func(t *testing.T) {
			server := redistest.Start(t)
			other := o(server.Addr)
			other.Holder = "two"
			one, two := openSource(t, o(server.Addr)), openSource(t, other)
			fill(server, kind, "a", "b", "c")
			held := take(t, one, 2)
			if got := bodies(take(t, two, 1)); got != "c" {
				t.Fatalf("the other took %q, want c", got)
			}
			lapse(server, two.prefix)
			if err := two.Keep(t.Context()); err != nil {
				t.Fatalf("Keep of a lease that lapsed and nobody took = %v", err)
			}
			over := take(t, two, 3)
			if got := bodies(over); got != "a b" || over[0].Losses != 1 {
				t.Fatalf("the other took over %q, %d losses, want a b and 1", got, over[0].Losses)
			}
			if err := one.End(t.Context(), held[0], ok(held[0])); !errors.Is(err, source.ErrGone) {
				t.Errorf("End of the late one = %v, want ErrGone", err)
			}
			if got := server.CLI("HLEN", "q:results"); got != "0" {
				t.Errorf("%s results, want none of the late one", got)
			}
			if err := one.Keep(t.Context()); !errors.Is(err, source.ErrGone) {
				t.Errorf("Keep of the late one = %v, want ErrGone", err)
			}
			if got, err := one.Take(t.Context(), 1); err != nil || len(got) != 0 {
				t.Errorf("Take of the late one = %v, %v", got, err)
			}
			if err := two.End(t.Context(), over[0], ok(over[0])); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTakeWhoseAnswerIsLostLeavesNothingWithItsHolder(t *testing.T) {
	for kind, o := range map[string]func(...string) SourceOptions{"list": listSource, "stream": streamSource} {
		t.Run(kind, func(t *testing.T) {
			server := redistest.Start(t)
			s := openSource(t, o(server.Addr))
			fill(server, kind, "a", "b", "c")
			known := take(t, s, 1)
			// What a lost answer leaves behind:
			if _, err := s.ask(t.Context(), s.key, "take", s.holder(), leaseFor(), "1", "1", "1000"); err != nil {
				t.Fatal(err)
			}
			s.unsure = true
			if got := bodies(take(t, s, 9)); got != "b c" {
				t.Errorf("took %q, want b c", got)
			}
			if err := s.End(t.Context(), known[0], ok(known[0])); err != nil {
				t.Errorf("End of what was known = %v", err)
			}
		})
	}
}

func fill(server *redistest.Server, kind string, messages ...string) {
	for _, m := range messages {
		if kind == "list" {
			server.CLI("LPUSH", "q", m)
		} else {
			server.CLI("XADD", "q", "*", "text", m)
		}
	}
}

func TestSourceTakesOverFromConsumersOfOtherPrograms(t *testing.T) {
	server := redistest.Start(t)
	s := openSource(t, streamSource(server.Addr))
	fill(server, "stream", "a", "b")
	server.CLI("XGROUP", "CREATE", "q", "headgate", "0")
	server.CLI("XREADGROUP", "GROUP", "headgate", "celery", "COUNT", "1", "STREAMS", "q", ">")
	id := strings.Fields(server.CLI("XPENDING", "q", "headgate", "-", "+", "1"))[0]
	if err := s.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := bodies(take(t, s, 9)); got != "b" {
		t.Fatalf("took %q, want b: a was delivered to another just now", got)
	}
	server.CLI("XCLAIM", "q", "headgate", "celery", "0", id, "IDLE", "300001")
	s.adopted = time.Time{}
	if err := s.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := bodies(take(t, s, 9)); got != "a" {
		t.Errorf("took %q, want a", got)
	}
}

func TestDestinationsAreWrittenAsTheirTypeSays(t *testing.T) {
	server := redistest.Start(t)
	result := `{"id":"7","status":200,"content_type":"text/plain","body":"did {\"id\":7}","attempts":1,"ended_at":"2001-09-09T01:46:40Z"}`
	for _, c := range []struct {
		to   Destination
		read []string
		want string
	}{
		{Destination{Hash: "r"}, []string{"HGET", "r", "7"}, result},
		{Destination{List: "r"}, []string{"LRANGE", "r", "0", "-1"}, result},
		{Destination{Stream: "r"}, []string{"XRANGE", "r", "-", "+"}, "id\n7\nstatus\n200\nresult\n" + result},
	} {
		server.FlushAll()
		o := listSource(server.Addr)
		o.Results = c.to
		s := openSource(t, o)
		fill(server, "list", `{"id":7}`)
		m := take(t, s, 1)[0]
		if err := s.End(t.Context(), m, ok(m)); err != nil {
			t.Fatal(err)
		}
		if got := server.CLI(c.read...); !strings.HasSuffix(strings.TrimSpace(got), c.want) {
			t.Errorf("%v: wrote\n%s\nwant\n%s", c.to, got, c.want)
		}
	}
}

func TestEqualMessagesHaveAResultEach(t *testing.T) {
	server := redistest.Start(t)
	s := openSource(t, listSource(server.Addr))
	fill(server, "list", "same", "same", "same", "other")
	for _, m := range take(t, s, 4) {
		if err := s.End(t.Context(), m, ok(m)); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.CLI("HLEN", "q:results"); got != "4" {
		t.Errorf("%s results, want 4:\n%s", got, server.CLI("HGETALL", "q:results"))
	}
}

func TestKeysOfAnotherTypeAreNamedAndNothingIsLost(t *testing.T) {
	server := redistest.Start(t)
	server.CLI("SET", "q", "x")
	s := openSource(t, listSource(server.Addr))
	want := `key "q" holds a string, want a list`
	if _, err := s.Take(t.Context(), 1); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Take = %v, want %s", err, want)
	}
	if _, err := s.Waiting(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Waiting = %v, want %s", err, want)
	}
	server.CLI("DEL", "q")
	server.CLI("SET", "q:results", "x")
	fill(server, "list", "a")
	m := take(t, s, 1)[0]
	want = `key "q:results" holds a string, want a hash`
	if err := s.End(t.Context(), m, ok(m)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("End = %v, want %s", err, want)
	}
	server.CLI("DEL", "q:results")
	if err := s.End(t.Context(), m, ok(m)); err != nil {
		t.Errorf("End after the key was mended = %v", err)
	}
}

func TestMessagesMayBeLargeAndBinary(t *testing.T) {
	server := redistest.Start(t)
	s := openSource(t, listSource(server.Addr))
	large := strings.Repeat("0123456789", 1<<20)
	binary := "\x00\xff\r\n\xfe"
	push := func(text string) {
		if _, err := s.ask(t.Context(), "q", "revive", "", "", "", "", text); err != nil {
			t.Fatal(err)
		}
	}
	push(large)
	push(binary)
	push("small")
	taken := take(t, s, 9)
	if len(taken) != 1 || string(taken[0].Body) != large {
		t.Fatalf("took %d messages, want the large one alone", len(taken))
	}
	taken = append(taken, take(t, s, 9)...)
	for _, m := range taken {
		if err := s.End(t.Context(), m, source.End{Dead: "no", At: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	revive(t, s, "")
	got := take(t, s, 9)
	if len(got) != 3 || string(got[0].Body) != "small" || string(got[1].Body) != binary || string(got[2].Body) != large {
		t.Errorf("after a death took %d messages, %.20q, want them as they were", len(got), bodies(got))
	}
}

// revive revives letters that match, and returns how many.
func revive(t *testing.T, s *Source, text string) (n int) {
	t.Helper()
	err := s.Letters(t.Context(), func(l source.Letter) bool {
		if l.Matches(text) {
			if err := s.Revive(t.Context(), l); err != nil {
				t.Error(err)
			}
			if err := s.Revive(t.Context(), l); !errors.Is(err, source.ErrNoLetter) {
				t.Errorf("the second Revive = %v, want ErrNoLetter", err)
			}
			n++
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
	return n
}

func TestDeadLettersAreReadRevivedAndPurged(t *testing.T) {
	for _, dead := range []Destination{{List: "d"}, {Hash: "d"}, {Stream: "d"}} {
		for kind, o := range map[string]func(...string) SourceOptions{"list": listSource, "stream": streamSource} {
			t.Run(fmt.Sprint(kind, dead), func(t *testing.T) {
				server := redistest.Start(t)
				options := o(server.Addr)
				options.Dead = dead
				s := openSource(t, options)
				const letters = letterPage + 7
				for i := range letters {
					fill(server, kind, strconv.Itoa(i))
				}
				for i, m := range take(t, s, letters) {
					e := source.End{Dead: "odd", Status: 400, Body: []byte(`{"e":1}`), Attempts: 2, At: time.Unix(int64(i), 0)}
					if i%2 == 0 {
						e.Dead = "even"
					}
					if err := s.End(t.Context(), m, e); err != nil {
						t.Fatal(err)
					}
				}
				if n := revive(t, s, "even"); n != letters/2+1 {
					t.Errorf("revived %d, want %d", n, letters/2+1)
				}
				got := map[string]bool{}
				for _, m := range take(t, s, letters) {
					if n, _ := strconv.Atoi(string(m.Body)); n%2 != 0 {
						t.Errorf("%s was not to be revived", m.Body)
					}
					got[string(m.Body)] = true
				}
				if len(got) != letters/2+1 {
					t.Errorf("%d messages wait again, want %d", len(got), letters/2+1)
				}
				left := 0
				err := s.Letters(t.Context(), func(l source.Letter) bool {
					left++
					if l.Reason != "odd" || l.End.Status != 400 || string(l.End.Body) != `{"e":1}` || l.Source != "s" {
						t.Errorf("letter %+v", l)
					}
					if err := s.Purge(t.Context(), l); err != nil {
						t.Error(err)
					}
					return true
				})
				if err != nil || left != letters/2 {
					t.Errorf("%d letters left, %v, want %d", left, err, letters/2)
				}
				if err := s.Letters(t.Context(), func(l source.Letter) bool { t.Errorf("letter %+v is left", l); return true }); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestSourceWorksInAClusterWithinAndAcrossSlots(t *testing.T) {
	cluster := redistest.StartCluster(t)
	for i, c := range []struct{ list, results, dead string }{
		{"plain", "elsewhere", "else:dead"},
		{"{tag}:q", "{tag}:r", "{tag}:d"},
	} {
		o := listSource(cluster.Addrs...)
		o.Cluster = true
		o.List, o.Results, o.Dead = c.list, Destination{Hash: c.results}, Destination{List: c.dead}
		s := openSource(t, o)
		for _, text := range []string{"a", "b"} {
			if _, err := s.ask(t.Context(), c.list, "revive", "", "", "", "", text); err != nil {
				t.Fatal(err)
			}
		}
		taken := take(t, s, 2)
		if got := bodies(taken); got != "a b" {
			t.Fatalf("%d: took %q", i, got)
		}
		if err := s.End(t.Context(), taken[0], ok(taken[0])); err != nil {
			t.Fatal(err)
		}
		if err := s.End(t.Context(), taken[1], source.End{Dead: "no"}); err != nil {
			t.Fatal(err)
		}
		if n := revive(t, s, ""); n != 1 {
			t.Errorf("%d: revived %d, want 1", i, n)
		}
		if got := bodies(take(t, s, 9)); got != "b" {
			t.Errorf("%d: then took %q, want b", i, got)
		}
	}
	o := listSource(cluster.Addrs...)
	o.Cluster, o.List = true, "a}b"
	if _, err := OpenSource(o); err == nil || !strings.Contains(err.Error(), "hash tag") {
		t.Errorf("OpenSource of a key with a lone } = %v", err)
	}
}

func TestSourceRunsByScriptWhereThereAreNoFunctions(t *testing.T) {
	server := redistest.Start(t)
	s := openSource(t, listSource(server.Addr))
	s.store.scripted.Store(true)
	fill(server, "list", "a")
	m := take(t, s, 1)[0]
	if err := s.End(t.Context(), m, ok(m)); err != nil {
		t.Error(err)
	}
}

func TestSourceNeedsNoMoreRightsThanItSays(t *testing.T) {
	const rights = "~q* ~{q}:headgate:* +@hash +pexpire +time +ping +@list +@stream +@sortedset +incr +type +exists +expire +fcall +function"
	server := redistest.Start(t, redistest.WithConfig("user app on >secret "+rights))
	for kind, o := range map[string]SourceOptions{"list": listSource(server.Addr), "stream": streamSource(server.Addr)} {
		server.FlushAll()
		o.Username, o.Password = "app", "secret"
		s := openSource(t, o)
		fill(server, kind, "a", "b")
		for _, m := range take(t, s, 2) {
			if err := s.End(t.Context(), m, source.End{Dead: "no"}); err != nil {
				t.Errorf("%s: End = %v", kind, err)
			}
		}
		revive(t, s, "")
		s.adopted = time.Time{}
		if err := s.Keep(t.Context()); err != nil {
			t.Errorf("%s: Keep = %v", kind, err)
		}
		if n, err := s.Waiting(t.Context()); n != 2 || err != nil {
			t.Errorf("%s: Waiting = %d, %v", kind, n, err)
		}
	}
}

// A random history: some holders take, end, give back, die and lose answers. Each
// message is in exactly one place after each step.
func TestMessagesAreInExactlyOnePlace(t *testing.T) {
	server := redistest.Start(t)
	for seed := range uint64(3) {
		for kind, o := range map[string]func(...string) SourceOptions{"list": listSource, "stream": streamSource} {
			server.FlushAll()
			random := rand.New(rand.NewPCG(seed, 1))
			const messages = 40
			for i := range messages {
				fill(server, kind, fmt.Sprintf(`{"id":"m%d"}`, i))
			}
			type holder struct {
				*Source
				held []source.Message
			}
			opened := 0
			open := func() *holder {
				options := o(server.Addr)
				opened++
				options.Holder = "h" + strconv.Itoa(opened)
				return &holder{Source: openSource(t, options)}
			}
			holders := []*holder{open(), open(), open()}
			for step := range 80 {
				i := random.IntN(len(holders))
				h := holders[i]
				var err error
				switch n := len(h.held); random.IntN(8) {
				case 0, 1, 2:
					var taken []source.Message
					if taken, err = h.Take(t.Context(), 1+random.IntN(4)); err == nil {
						h.held = append(h.held, taken...)
					}
				case 3, 4:
					if n > 0 {
						e := ok(h.held[0])
						if random.IntN(3) == 0 {
							e.Dead = "no"
						}
						err = h.End(t.Context(), h.held[0], e)
						h.held = h.held[1:]
					}
				case 5:
					if n > 0 {
						err = h.Back(t.Context(), h.held[:1])
						h.held = h.held[1:]
					}
				case 6:
					lapse(server, h.prefix)
					if random.IntN(2) == 0 {
						h.Close()
						holders[i] = open()
					}
					err = holders[random.IntN(len(holders))].Keep(t.Context())
				case 7:
					_, err = h.ask(t.Context(), h.key, "take", h.Source.holder(), leaseFor(), h.holds(), "2", "1000")
					h.unsure = true
				}
				if err != nil && !errors.Is(err, source.ErrGone) {
					t.Fatalf("seed %d, %s, step %d: %v", seed, kind, step, err)
				}
				if kind == "list" && step%4 == 0 {
					if got := places(server); got != messages {
						t.Fatalf("seed %d, step %d: %d messages are somewhere, want %d", seed, step, got, messages)
					}
				}
			}
			for _, h := range holders {
				h.Close()
			}
			// Whoever comes last finds all that is left.
			lapse(server, holders[0].prefix)
			last := open()
			for len(take(t, last.Source, 10)) > 0 {
			}
			left := len(last.mu.held)
			done := len(strings.Fields(server.CLI("HKEYS", "q:results")))
			dead := map[string]bool{}
			for line := range strings.Lines(server.CLI("LRANGE", "q:dead", "0", "-1")) {
				var l struct{ ID string }
				if json.Unmarshal([]byte(line), &l) == nil && l.ID != "" {
					dead[l.ID] = true
				}
			}
			if got := left + done + len(dead); got != messages {
				t.Errorf("seed %d, %s: %d left, %d done, %d dead, want %d in all", seed, kind, left, done, len(dead), messages)
			}
		}
	}
}

// places counts the messages of a list wherever they are.
func places(server *redistest.Server) int {
	count := func(command, key string) int {
		n, _ := strconv.Atoi(strings.TrimSpace(server.CLI(command, key)))
		return n
	}
	n := count("LLEN", "q") + count("HLEN", "q:results") + count("LLEN", "q:dead")
	for _, key := range strings.Fields(server.CLI("KEYS", "{q}:headgate:held:*")) {
		n += count("HLEN", key)
	}
	return n
}

func TestSourceReturnsWithinItsContextAndWorksAgainAfterACut(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr)
	s := openSource(t, listSource(proxy.Addr))
	fill(server, "list", "a", "b", "c")
	held := take(t, s, 1)
	for _, fault := range []func(){proxy.Blackhole, proxy.HalfOpen} {
		fault()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if got, err := s.Take(ctx, 1); err == nil {
			t.Errorf("Take through a cut line = %v", got)
		}
		cancel()
		proxy.Heal()
		eventually(t, func() error { return s.Keep(t.Context()) })
	}
	eventually(t, func() error {
		err := s.End(t.Context(), held[0], ok(held[0]))
		if errors.Is(err, source.ErrGone) {
			return nil // it had gone through
		}
		return err
	})
	var got []string
	eventually(t, func() error {
		taken, err := s.Take(t.Context(), 9)
		for _, m := range taken {
			got = append(got, string(m.Body))
		}
		if err == nil && len(got) < 2 {
			err = fmt.Errorf("took %v", got)
		}
		return err
	})
	if slices.Sort(got); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("then took %v, want b and c", got)
	}
}
