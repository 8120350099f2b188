// Limits: what each is, where its number comes from, and how sure that is.
import { el, badge, table, number, span } from "./dom.js";
import { state } from "./state.js";

const rowsShown = 300;
const kinds = { configured: "", told: "", learned: "held" };

const columns = [
  { name: "Upstream", cell: (r) => r.u.name },
  { name: "Limit", cell: (r) => el("strong", {}, r.l.limit) },
  { name: "Of", cell: (r) => r.c.credential || "the upstream" },
  { name: "Scope", cell: (r) => r.l.scope },
  { name: "Source", cell: (r) => badge(r.l.source, kinds[r.l.source]) },
  { name: "Confidence", cell: (r) => (r.l.source === "configured" ? "" : r.l.confidence) },
  { name: "In use", class: "n", cell: (r) => number(r.l.used) },
  { name: "In force", class: "n", cell: (r) => [number(r.l.in_force), r.l.in_force < r.l.max ? el("span", { class: "quiet" }, ` of ${number(r.l.max)}`) : ""] },
  { name: "Our share", class: "n", cell: (r) => (r.l.share == null ? "" : number(r.l.share)) },
  { name: "Window", class: "n", cell: (r) => (r.l.window_ms ? span(r.l.window_ms) : "at once") },
  { name: "Spread", class: "n", cell: (r) => (r.l.window_ms ? span(r.l.spread_ms) : "") },
];

export function view() {
  const rows = state.report.upstreams.flatMap((u) => u.credentials.flatMap((c) => c.limits.map((l) => ({ u, c, l }))));
  if (!rows.length) return el("p", { class: "empty" }, "No limits yet: none is configured, and no answer told of any.");
  const caption = rows.length > rowsShown ? `The first ${rowsShown} of ${number(rows.length)} limits` : "Told: the upstream's answers say so. Learned: found by what it refuses. Spread: how late an attempt may be counted.";
  return table(caption, columns, rows.slice(0, rowsShown));
}
