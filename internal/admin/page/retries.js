// Retries: what upstreams said, how it was read, and which wait was chosen; and
// what else changed what is sent.
import { el, badge, table, clock, span, moment } from "./dom.js";
import { state } from "./state.js";

const kinds = [["all", "All"], ["retry", "Retries"], ["pause", "Pauses"], ["breaker", "Breakers"], ["change", "By hand"]];
let chosen = "all";

export function note(n) { return n.kind !== "job"; }

export const acts = {
  "feed-kind": (d, redraw) => { chosen = d.kind; redraw(); },
};

const said = {
  retry: (n) => (n.status ? `${n.status}${n.retry_after ? `, Retry-After: ${n.retry_after}` : ""}` : "no answer"),
  pause: (n) => n.scope || "",
  breaker: () => "",
  change: (n) => el("code", {}, n.request),
};

const then = {
  retry: (n) => `attempt ${n.attempt + 1} of ${n.of} in ${span(n.delay_ms)}`,
  pause: (n) => (Date.parse(n.until) > Date.parse(n.at) ? `paused for ${span(Date.parse(n.until) - Date.parse(n.at))}` : "resumed"),
  breaker: (n) => `breaker ${n.state}${n.until ? ` for ${span(Date.parse(n.until) - Date.parse(n.at))}` : ""}`,
  change: (n) => `from ${n.from}`,
};

const badges = { retry: ["retry", ""], pause: ["pause", "held"], breaker: ["breaker", "bad"], change: ["by hand", ""] };

const columns = [
  { name: "Time", class: "nowrap", cell: (n) => moment(n.at) },
  { name: "What", cell: (n) => badge(...badges[n.kind]) },
  { name: "Upstream", cell: (n) => n.upstream || "" },
  { name: "It said", wide: true, cell: (n) => said[n.kind](n) },
  { name: "Read as", wide: true, cell: (n) => n.reason || "" },
  { name: "Then", wide: true, cell: (n) => then[n.kind](n) },
  { name: "Client", cell: (n) => n.client || "" },
  { name: "Request ID", cell: (n) => (n.request_id ? el("code", {}, n.request_id) : "") },
];

export function view() {
  const chips = el("div", { class: "bar" }, el("div", { class: "chips", role: "group", "aria-label": "Show" }, kinds.map(([kind, name]) =>
    el("button", { "data-act": "feed-kind", "data-kind": kind, "aria-pressed": String(kind === chosen) }, name))),
  state.skipped > 0 && el("span", { class: "quiet" }, `${state.skipped} more came too fast to be told; the log has them`));
  const rows = state.notes.filter((n) => n.kind !== "job" && (chosen === "all" || n.kind === chosen));
  if (!rows.length) return [chips, el("p", { class: "empty" }, `Nothing since ${clock(Date.parse(state.report.started))}, or of the last 200 events.`)];
  return [chips, table("Latest first, of the last 200 events", columns, rows)];
}
