package dialect

import (
	"net/http"
	"strings"
	"time"
)

// shopify reads Shopify's REST and GraphQL APIs. REST tells how full a leaky
// bucket is, but not how fast it drains. GraphQL counts cost: its answers, with
// status 200 even if they refuse, tell the state of a token bucket at the end of
// their bodies.
//
// Source: shopify.dev, "API limits".
var shopify = &family{
	name:   "shopify",
	remark: "GraphQL refuses with 200 and tells cost in its body",
	hosts:  []string{"*.myshopify.com"},
	fields: []string{"X-Shopify-Shop-Api-Call-Limit", "X-Shopify-Api-Version", "X-Shopify-Stage"},
	limits: func(a *answer) []Limit {
		all := []Limit{shopifyCost(a)}
		for _, usage := range members(a.Header["X-Shopify-Shop-Api-Call-Limit"]) {
			all = append(all, used("requests", usage))
		}
		return all
	},
	told:   []string{"X-Shopify-Shop-Api-Call-Limit"},
	judge:  judgeShopify,
	peeks:  isShopifyGraphQL,
	preset: Preset{Limits: []string{"2/1s burst 40"}},
}

func isShopifyGraphQL(a Answer) bool {
	return a.Method == http.MethodPost && a.Status == http.StatusOK &&
		(strings.HasSuffix(a.Path, "/graphql.json") || strings.HasSuffix(a.Path, "/graphql") || a.Path == "")
}

func judgeShopify(a *answer) verdict {
	var v verdict
	for _, e := range a.list("errors") {
		by := signal{"errors.extensions.code", textOf(at(e, "extensions", "code"))}
		switch by.value {
		case "MAX_COST_EXCEEDED":
			return verdict{class: Fatal, by: by}
		case "THROTTLED":
			v = verdict{class: Throttled, by: by}
		}
	}
	if v.class != Throttled {
		return v
	}
	requested, ok := quantity(a.text("extensions", "cost", "requestedQueryCost"))
	if !ok {
		return v
	}
	size, ok := quantity(a.text("extensions", "cost", "throttleStatus", "maximumAvailable"))
	if ok && requested > size { // it will never fit
		return verdict{class: Fatal, by: signal{name: "a requestedQueryCost above maximumAvailable"}}
	}
	if wait, ok := shopifyRefill(a, requested); ok {
		v.hint, v.byHint = wait, signal{name: "extensions.cost"}
	}
	return v
}

// shopifyCost is the bucket of cost that the body tells of.
func shopifyCost(a *answer) Limit {
	size := a.text("extensions", "cost", "throttleStatus", "maximumAvailable")
	available := a.text("extensions", "cost", "throttleStatus", "currentlyAvailable")
	l := Limit{Dimension: "cost", Limit: count(size), Remaining: count(available), Reset: -1}
	if full, ok := quantity(size); ok {
		if d, ok := shopifyRefill(a, full); ok {
			l.Reset = d
		}
	}
	return l
}

// shopifyRefill is the time until so much cost is available; ok is false if the
// body doesn't tell, or the bucket doesn't fill.
func shopifyRefill(a *answer, want int64) (d time.Duration, ok bool) {
	available, known := quantity(a.text("extensions", "cost", "throttleStatus", "currentlyAvailable"))
	rate, fills := quantity(a.text("extensions", "cost", "throttleStatus", "restoreRate"))
	if !known || !fills || rate == 0 {
		return 0, false
	}
	return refill(max(want-available, 0), rate), true
}

// quantity reads a number that may have a fraction, in millionths, rounded up.
func quantity(s string) (int64, bool) {
	if !isNumber(s) {
		return 0, false
	}
	return int64(scale(s, 1e6)), true
}

// refill is the time in which so much comes back at a rate per second, rounded
// up to a millisecond. rate is positive; a larger one than 1e15 counts as that.
func refill(missing, rate int64) time.Duration {
	rate = min(rate, 1e15)
	whole := missing / rate // seconds
	if whole > int64(MaxWait/time.Second) {
		return MaxWait
	}
	ms := (missing%rate*1000 + rate - 1) / rate
	return bounded(time.Duration(whole)*time.Second + time.Duration(ms)*time.Millisecond)
}
