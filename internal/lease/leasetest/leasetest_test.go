package leasetest

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/headgate/headgate/internal/lease"
)

// A history is worth comparing only if everything that a reply may say comes up.
func TestReportsBringUpAllThatAReplyMaySay(t *testing.T) {
	seen := make(map[string]int)
	count := func(what string, is bool) {
		if is {
			seen[what]++
		}
	}
	reports := 0
	for seed := range uint64(10) {
		a := lease.NewAccount()
		for clock, r := range Reports(rand.New(rand.NewPCG(seed, 1)), 500) {
			reports++
			reply := a.Sync(clock, r)
			count("pause", reply.Pause > 0)
			count("repair", reply.Repair)
			count("wake", len(reply.Wake) > 0)
			count("several alive", reply.Alive > 1)
			for i, g := range reply.Grants {
				count("growth", g.Hold > r.Claims[i].Keep)
				count("give-back", g.Hold > g.Target)
				count("tokens", g.Tokens > 0)
				count("most", g.Most > g.Hold)
			}
			for _, b := range reply.Breakers {
				count("open", b.Open)
				count("probing", b.Probing)
				count("outcomes", b.Succeeded > 0)
			}
		}
	}
	if reports != 10*500 {
		t.Errorf("%d reports, want %d", reports, 10*500)
	}
	for _, what := range []string{"pause", "repair", "wake", "several alive", "growth", "give-back", "tokens", "most", "open", "probing", "outcomes"} {
		if seen[what] < 50 {
			t.Errorf("%s came up %d times in %d reports, want 50 at least: %v", what, seen[what], reports, seen)
		}
	}
}

func TestReportsOfASeedAreTheSame(t *testing.T) {
	var all [2][]lease.Reply
	for i := range all {
		a := lease.NewAccount()
		for clock, r := range Reports(rand.New(rand.NewPCG(7, 7)), 300) {
			all[i] = append(all[i], a.Sync(clock, r))
		}
	}
	for i, want := range all[0] {
		if got := all[1][i]; !reflect.DeepEqual(got, want) {
			t.Fatalf("reply %d to the same seed = %+v, then %+v", i, want, got)
		}
	}
}
