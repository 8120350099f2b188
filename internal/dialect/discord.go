package dialect

import "net/http"

// discord reads Discord: buckets, each of which covers some routes of one
// channel, guild or webhook; limits that those of a resource share; and one of
// the bot for all routes. Besides whole seconds of Retry-After it writes
// fractions. 10,000 answers of 401, 403 and 429 in ten minutes ban the address,
// at Cloudflare's edge.
//
// Source: discord.com/developers/docs/topics/rate-limits; discord.js.
var discord = &family{
	name:   "discord",
	remark: "a limit per bucket, and one for all routes; too many refusals ban the address",
	hosts:  []string{"discord.com", "*.discord.com", "discordapp.com"},
	fields: []string{"X-Ratelimit-Bucket", "X-Ratelimit-Global"},
	limits: discordLimits,
	told:   []string{"X-Ratelimit-Remaining", "X-Ratelimit-Limit"},
	judge: func(a *answer) verdict {
		global, _ := a.at("global").(bool)
		if a.has("X-Ratelimit-Global", "true") || global || a.has("X-Ratelimit-Scope", "global") {
			return verdict{}
		}
		if a.Status != http.StatusTooManyRequests {
			return verdict{}
		}
		return verdict{scope: route(a.Path, 1)} // a bucket for each channel, guild or webhook
	},
	preset: Preset{Limits: []string{"50/1s"}},
}

func discordLimits(a *answer) []Limit {
	dimension := dimensionOf("requests", a.field("X-Ratelimit-Bucket"))
	l := readTriple(dimension, a.Header["X-Ratelimit-Limit"], a.Header["X-Ratelimit-Remaining"], a.Header["X-Ratelimit-Reset-After"], a.base)
	if l.Reset < 0 {
		l = xRateLimit(dimension, a)
	}
	return []Limit{l}
}
