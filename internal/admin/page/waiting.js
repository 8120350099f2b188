// Waiting: who stands in line, for which limit, until when.
import { el, badge, table, number, until, ago, span, now } from "./dom.js";
import { state } from "./state.js";
import { ask } from "./act.js";

const callsShown = 100;
let chosen = "", heard = null, fault = "", timer, redraw = () => {};

export function choose(name) { chosen = name; heard = null; }

export function shown(again) {
  redraw = again;
  timer = setInterval(fetchLine, 1000);
  fetchLine();
}

export function hidden() { clearInterval(timer); heard = null; }

// upstream is the one chosen, else the one with the longest line.
function upstream() {
  const all = state.report?.upstreams ?? [];
  return all.find((u) => u.name === chosen) ?? all.toSorted((a, b) => b.line.length - a.line.length)[0];
}

let asking = false;
async function fetchLine() {
  const u = upstream();
  if (asking || !u || document.hidden) return;
  asking = true;
  try {
    heard = await ask(`/api/v1/waiting?upstream=${encodeURIComponent(u.name)}&limit=${callsShown}`);
    fault = "";
  } catch (err) {
    fault = err.message;
  } finally {
    asking = false;
    redraw();
  }
}

export function typed(target, kind) {
  if (target.name === "upstream" && kind === "change") { choose(target.value); fetchLine(); }
}

const waitsFor = {
  limit: (c) => c.limit,
  pause: () => badge("pause", "held"),
  breaker: () => badge("breaker", "bad"),
  turn: () => "its turn",
};

const columns = [
  { name: "Place", class: "n", cell: (c) => number(c.position) },
  { name: "Call", wide: true, cell: (c) => (c.path ? el("code", {}, `${c.method} ${c.path}`) : "a permit") },
  { name: "Client", cell: (c) => c.client || "–" },
  { name: "Priority", class: "n", cell: (c) => String(c.priority) },
  { name: "Waits for", cell: (c) => waitsFor[c.for](c) },
  { name: "Earliest in", class: "n", cell: (c) => (c.earliest ? until(c.earliest) : el("span", { class: "quiet" }, "one ends")) },
  { name: "Here for", class: "n", cell: (c) => ago(c.since) },
  { name: "Gives up in", class: "n", cell: (c) => (c.deadline ? span(Math.max(Date.parse(c.deadline) - now(), 0)) : "never") },
  { name: "Attempts", class: "n", cell: (c) => String(c.attempts) },
];

export function view() {
  const u = upstream();
  if (!u) return el("p", { class: "empty" }, "No upstreams are configured.");
  const names = state.report.upstreams.map((x) => el("option", { value: x.name, selected: x.name === u.name }, `${x.name} (${number(x.line.length)})`));
  const bar = el("div", { class: "bar" }, el("label", {}, "Upstream ", el("select", { name: "upstream" }, names)),
    heard && heard.clients.length > 0 && el("span", { class: "quiet" }, "In line: ", heard.clients.slice(0, 6).map((c) => `${c.client || "nobody named"} ${number(c.calls)}`).join(", ")));
  if (fault) return [bar, el("p", { class: "empty" }, `The line cannot be shown: ${fault}`)];
  if (!heard || heard.upstream !== u.name) return [bar, el("p", { class: "empty" }, "Asking…")];
  if (!heard.total) return [bar, el("p", { class: "empty" }, "Nobody waits.")];
  const caption = heard.total > heard.calls.length
    ? `The next ${number(heard.calls.length)} of ${number(heard.total)} calls in line; places are counted among those that need the same limits`
    : `${number(heard.total)} ${heard.total === 1 ? "call" : "calls"} in line; places are counted among those that need the same limits`;
  return [bar, table(caption, columns, heard.calls)];
}
