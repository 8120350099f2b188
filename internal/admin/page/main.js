// The page: tabs, the view that is shown, and what clicks do.
import { byID, draw, number, setClock, until, clock } from "./dom.js";
import { state, on, connect } from "./state.js";
import { pause, resume, setBreaker } from "./act.js";
import * as overview from "./overview.js";
import * as waiting from "./waiting.js";
import * as retries from "./retries.js";
import * as jobs from "./jobs.js";
import * as instances from "./instances.js";
import * as limits from "./limits.js";

// A view has draw(main), and maybe shown(), hidden(), note(n), and acts by name.
const views = { overview, waiting, retries, jobs, instances, limits };
const main = byID("main"), tabs = [...document.querySelectorAll("[role=tab]")];
let current = "";

function show(name) {
  if (!views[name]) name = "overview";
  if (name === current) return;
  views[current]?.hidden?.();
  current = name;
  for (const t of tabs) {
    const chosen = t.id === `tab-${name}`;
    t.setAttribute("aria-selected", chosen);
    t.tabIndex = chosen ? 0 : -1;
    if (chosen) t.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  main.setAttribute("aria-labelledby", `tab-${name}`);
  main.replaceChildren();
  views[name].shown?.(redraw);
  redraw();
}

function redraw() {
  if (state.report) draw(main, views[current].view());
}

const open = (name) => { location.hash = name; };
addEventListener("hashchange", () => show(location.hash.slice(1)));

byID("tabs").addEventListener("click", (e) => {
  const t = e.target.closest("[role=tab]");
  if (t) open(t.id.slice(4));
});
byID("tabs").addEventListener("keydown", (e) => {
  const i = tabs.indexOf(document.activeElement);
  const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  const t = tabs[(to + tabs.length) % tabs.length];
  t.focus();
  open(t.id.slice(4));
});

const acts = {
  pause: (d) => pause(d.name),
  resume: (d) => resume(d.name, Boolean(state.report.store)),
  "open-breaker": (d) => setBreaker(d.name, "open"),
  "close-breaker": (d) => setBreaker(d.name, "closed"),
  "show-line": (d) => { waiting.choose(d.name); open("waiting"); },
};

main.addEventListener("click", (e) => {
  const b = e.target.closest("[data-act]");
  if (b && !b.disabled) (views[current].acts?.[b.dataset.act] ?? acts[b.dataset.act])?.(b.dataset, redraw);
});
for (const kind of ["input", "change"]) {
  main.addEventListener(kind, (e) => views[current].typed?.(e.target, kind, redraw));
}

// say speaks to screen readers, no more than once in three seconds.
let lastSaid = 0;
function say(text) {
  if (Date.now() - lastSaid < 3000) return;
  lastSaid = Date.now();
  byID("live").textContent = text;
}

on("status", (at) => {
  setClock(at);
  const r = state.report;
  byID("about").textContent = `${r.version} · ${r.state}`;
  document.title = title(r);
  const line = r.upstreams.reduce((n, u) => n + u.line.length, 0);
  byID("count-waiting").textContent = line ? number(line) : "";
  redraw();
});

function title(r) {
  const held = r.upstreams.filter((u) => u.credentials.some((c) => c.paused_until || c.breaker !== "closed"));
  return held.length ? `● ${held.map((u) => u.name).join(", ")} held – Headgate` : "Headgate";
}

on("note", (n) => {
  if (n.kind === "pause" && Date.parse(n.until) > Date.parse(n.at)) say(`${n.upstream} is paused for ${until(n.until)}: ${n.reason}`);
  if (n.kind === "breaker") say(`The breaker of ${n.upstream} is ${n.state}: ${n.reason}`);
  if (views[current].note?.(n)) redraw();
});

on("link", () => {
  const lost = state.link === "lost";
  byID("link").dataset.state = state.link;
  byID("link-text").textContent = { live: "live", lost: `connection lost at ${clock(state.since)}, trying again`, connecting: "connecting" }[state.link];
  document.body.classList.toggle("stale", lost);
});

show(location.hash.slice(1) || "overview");
connect();
