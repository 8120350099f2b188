package headgate

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/limit"
	"github.com/headgate/headgate/internal/mock"
)

func TestWhatWasLearnedIsRecalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newStrict(t, mock.Rules{Limits: []limit.Limit{mustLimit(t, "100/1s")}})
		first := openUnlimited(t, up)
		if got := first.Learned(); got != nil {
			t.Errorf("learned %+v before the first call", got)
		}
		saturate(t, first, 60, 10*time.Second)
		kept := first.Learned()
		if len(kept) != 1 || kept[0].Upstream != "api" || kept[0].URL != "http://api.test" || kept[0].PerSecond < 85 || kept[0].PerSecond > 105 {
			t.Fatalf("learned %+v, want about 100 a second of api", kept)
		}
		time.Sleep(time.Minute)
		up.refused, up.attempts = 0, nil
		second := openUnlimited(t, up)
		second.Recall(kept)
		saturate(t, second, 60, 3*time.Second)
		if up.refused > 1 || len(up.attempts) < 250 {
			t.Errorf("%d of %d attempts were refused in the first 3 s, want at most 1 of 250 or more", up.refused, len(up.attempts))
		}
	})
}

func TestRecallLeavesOutWhatItDoesNotConcern(t *testing.T) {
	cfg := config.Config{Upstreams: map[string]config.Upstream{
		"here":  {URL: "http://a.test"},
		"known": {URL: "http://b.test", Limits: []config.Limit{{Limit: "7/1s"}}},
		"keyed": {URL: "http://c.test", Credentials: []config.Credential{{Header: "Authorization", Value: config.NewSecret("Bearer secret")}}},
		"moved": {URL: "http://e.test"},
	}}
	g, err := Open(t.Context(), cfg, Base(newStrict(t, mock.Rules{})))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	at := time.Now()
	key := (*g.upstreams.Load())["keyed"].keys[0].String()
	g.Recall([]Learned{
		{"here", "http://a.test", "", 42, at},
		{"known", "http://b.test", "", 42, at},
		{"keyed", "http://c.test", "", 42, at}, // its calls carry one
		{"keyed", "http://c.test", key, 43, at},
		{"moved", "http://d.test", "", 42, at},
		{"gone", "http://a.test", "", 42, at},
	})
	got := g.Learned()
	if len(got) != 2 || got[0].Upstream != "here" || got[0].PerSecond != 42 || got[1].Credential != key || got[1].PerSecond != 43 {
		t.Errorf("recalled %+v, want here and keyed", got)
	}
}
