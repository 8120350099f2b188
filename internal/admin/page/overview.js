// Overview: how each upstream stands, and how its quota was used.
import { el, badge, number, span, until, moment } from "./dom.js";
import { state, limitKey } from "./state.js";
import { usageChart } from "./chart.js";

const upstreamsShown = 60, limitsShown = 6;

export function view() {
  const all = state.report.upstreams;
  if (!all.length) return el("p", { class: "empty" }, "No upstreams are configured: every call is answered 404.");
  return [
    el("h2", { class: "unseen" }, "Upstreams"),
    storeBanner(),
    el("div", { class: "cards" }, all.slice(0, upstreamsShown).map(card)),
    all.length > upstreamsShown && el("p", { class: "empty" }, `${all.length - upstreamsShown} more are in the list of limits.`),
  ];
}

function storeBanner() {
  const s = state.report.store;
  if (!s || s.standing === "up") return null;
  return el("p", { class: "banner bad" }, `The store of shared quotas is ${s.standing} (on_store_loss: ${s.on_store_loss})${s.error ? `: ${s.error}` : ""}`);
}

// standing is what holds an upstream back, of its credentials the worst.
export function standing(u) {
  const open = u.credentials.filter((c) => c.breaker === "open"), half = u.credentials.filter((c) => c.breaker === "half-open");
  const paused = u.credentials.filter((c) => c.paused_until);
  if (open.length) return { text: "breaker open", kind: "bad", open, paused };
  if (paused.length) return { text: "paused", kind: "held", open, paused };
  if (half.length) return { text: "breaker half-open", kind: "held", open: half, paused };
  if (u.line.length) return { text: "calls wait", kind: "", open, paused };
  return { text: "flowing", kind: "good", open, paused };
}

function sum(list = [], n) { return list.slice(-n).reduce((a, b) => a + (b ?? 0), 0); }

function card(u) {
  const s = standing(u), h = state.history.get(u.name);
  const name = u.name, label = `of ${name}`;
  const spent = h?.attempts ?? {};
  const refused = sum(spent.throttled, 60);
  return el("section", { class: "card", "data-key": name, "aria-label": `Upstream ${name}` },
    el("div", { class: "head" },
      el("div", { class: "names" }, el("h2", {}, name), el("p", { class: "quiet" }, `${u.url} · ${u.dialect}`)),
      badge(s.text, s.kind)),
    u.credentials.slice(0, 3).map((c) => holds(u, c)),
    el("dl", { class: "facts" },
      fact("In line", u.line.length ? el("button", { class: "text", "data-act": "show-line", "data-name": name }, number(u.line.length)) : "0", `of ${number(u.line.max_length)}`),
      fact("In flight", number(u.in_flight)),
      fact("Answered", (sum(spent.ok, 10) / 10).toFixed(1), "a second"),
      fact("Throttled", number(refused), "in 1 min"),
      fact("Failed", number(sum(spent.overloaded, 60) + sum(spent.none, 60)), "in 1 min")),
    charts(u, h),
    el("div", { class: "bar acts" }, s.paused.length || u.credentials.some((c) => c.paused)
      ? el("button", { "data-act": "resume", "data-name": name, "aria-label": `Resume ${name}` }, "Resume…")
      : el("button", { "data-act": "pause", "data-name": name, "aria-label": `Pause ${name}` }, "Pause…"),
    s.open.length
      ? el("button", { "data-act": "close-breaker", "data-name": name, "aria-label": `Close the breaker ${label}` }, "Close breaker…")
      : el("button", { "data-act": "open-breaker", "data-name": name, "aria-label": `Open the breaker ${label}` }, "Open breaker…")));
}

function fact(name, value, small) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value, small && el("small", {}, ` ${small}`)));
}

// holds are the banners of a credential: what is held, until when, and why.
function holds(u, c) {
  const whose = u.credentials.length > 1 && c.credential ? ` (${c.credential})` : "";
  const last = (kind) => state.notes.find((n) => n.kind === kind && n.upstream === u.name && n.reason);
  const all = [];
  if (c.paused_until) {
    const why = last("pause");
    all.push(el("p", { class: "banner" }, `Paused for ${until(c.paused_until)}, until ${moment(c.paused_until)}${whose}${why ? `: ${why.reason}` : ""}`));
  }
  for (const p of c.paused ?? []) all.push(el("p", { class: "banner" }, `${p.scope} paused for ${until(p.until)}${whose}`));
  if (c.breaker !== "closed") {
    const why = c.breaker_cause ? `, ${c.breaker_cause}` : "";
    all.push(el("p", { class: "banner bad" }, c.breaker_until
      ? `Breaker open${why}${whose}: probes in ${until(c.breaker_until)}` : `Breaker half-open${why}${whose}: it waits for a probe`));
  }
  return all;
}

function charts(u, h) {
  const rows = [];
  for (const c of u.credentials) for (const l of c.limits) rows.push({ c, l });
  if (!rows.length) return el("p", { class: "limit quiet" }, u.credentials.length ? "No limits: none is configured, and no answer told of any yet." : "Nobody has called yet.");
  const shown = rows.slice(0, limitsShown).map(({ c, l }) => limit(u, c, l, h));
  if (rows.length > limitsShown) shown.push(el("p", { class: "limit quiet" }, `${rows.length - limitsShown} more under Limits.`));
  return shown;
}

// nameOf is a limit as configured or told, or what was learned of it.
const nameOf = (l) => (l.source === "learned" ? `about ${number(l.in_force)} in ${span(l.window_ms)}` : l.limit);

function limit(u, c, l, h) {
  const key = limitKey(c.credential, l), kept = h?.limits.get(key);
  const whose = u.credentials.length > 1 && c.credential ? ` · ${c.credential}` : "";
  const of = l.source === "configured" ? "" : ` · ${l.source}, ${l.confidence} confidence`;
  const label = `${u.name} ${nameOf(l)}`;
  return el("div", { class: "limit", "data-key": `${u.name}\n${key}` },
    el("div", { class: "row" },
      el("h3", {}, nameOf(l), el("span", { class: "quiet" }, `${l.scope === "credential" ? "" : ` · ${l.scope}`}${whose}${of}`)),
      el("span", {}, el("strong", {}, number(l.used)), ` of ${number(l.in_force)} in use`)),
    kept ? usageChart(`${u.name}\n${key}`, label, h.times, kept.used, kept.inForce) : null);
}
