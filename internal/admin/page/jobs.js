// Jobs: stored calls by state, and one with its attempts. The list is asked for,
// not streamed: of 100,000 jobs a page of 50 is shown, and more on demand.
import { el, badge, table, number, moment, span, ago, until } from "./dom.js";
import { state } from "./state.js";
import { ask, change, confirm } from "./act.js";

const states = ["waiting", "running", "done", "failed", "cancelled"];
const kindOf = { done: "good", failed: "bad", cancelled: "", running: "", waiting: "" };
const pageSize = 50, rowsMost = 500;

let filter = { state: "", q: "", upstream: "" };
let rows = [], next = "", fault = "", asked = false, stale = false, panel = null, redraw = () => {}, timer;

export function shown(again) {
  redraw = again;
  load();
  timer = setInterval(() => { if (stale && rows.length <= pageSize && !document.hidden) load(); }, 1500);
}

export function hidden() { clearInterval(timer); panel = null; }

// note has the list asked for again, when what it shows has changed.
export function note(n) {
  if (n.kind === "job") stale = true;
  return false;
}

const query = (after) => new URLSearchParams(Object.entries({ ...filter, limit: String(pageSize), after: after ?? "" }).filter(([, v]) => v));

let asking = 0;
async function load(after) {
  const turn = ++asking;
  stale = false;
  try {
    const page = await ask(`/api/v1/jobs?${query(after)}`);
    if (turn !== asking) return; // the filter has changed since
    rows = after ? [...rows, ...page.jobs] : page.jobs;
    next = page.next ?? "";
    fault = "";
    if (panel) panel = rows.find((j) => j.id === panel.id) ?? await ask(`/api/v1/jobs/${panel.id}`).catch(() => panel);
  } catch (err) {
    if (turn === asking) fault = err.message;
  }
  asked = true;
  redraw();
}

let typing;
export function typed(target, kind) {
  if (target.name === "q" && kind === "input") {
    clearTimeout(typing);
    typing = setTimeout(() => { filter.q = target.value.trim(); load(); }, 250);
  }
  if (target.name === "upstream" && kind === "change") { filter.upstream = target.value; load(); }
}

const act = (verb, done, text) => (d) => confirm({
  title: `${verb} this job?`, yes: verb, text: `${d.id}. ${text}`,
  act: async () => {
    const j = await change(`/api/v1/jobs/${d.id}/${verb.toLowerCase()}`);
    if (panel?.id === j.id) panel = j;
    await load();
    return `The job is ${done}: ${j.state}.`;
  },
});

export const acts = {
  "job-state": (d) => { filter.state = d.state; load(); },
  "job-more": () => load(next),
  "job-open": (d) => { panel = rows.find((j) => j.id === d.id) ?? null; redraw(); document.querySelector(".panel h2")?.focus(); },
  "job-close": (_, again) => { const id = panel?.id; panel = null; again(); document.querySelector(`[data-id="${id}"]`)?.focus(); },
  "job-retry": act("Retry", "to run again", "It waits again, as if it were new."),
  "job-cancel": act("Cancel", "cancelled", "What was already sent cannot be taken back."),
  "job-retry-all": () => confirm({
    title: "Retry all failed jobs?", yes: "Retry them",
    text: `All failed jobs${filter.upstream ? ` of ${filter.upstream}` : ""}${filter.q ? ` that match “${filter.q}”` : ""} wait again, as if they were new.`,
    act: async () => {
      const some = new URLSearchParams(Object.entries({ ...filter, state: "failed" }).filter(([, v]) => v));
      const { retried } = await change(`/api/v1/jobs/retry?${some}`);
      await load();
      return `${number(retried)} ${retried === 1 ? "job runs" : "jobs run"} again.`;
    },
  }),
};

const columns = [
  { name: "Job", wide: true, cell: (j) => el("button", { class: "text mono", "data-act": "job-open", "data-id": j.id, title: j.id }, `…${j.id.slice(-10)}`) },
  { name: "State", cell: (j) => badge(j.state, kindOf[j.state]) },
  { name: "Upstream", cell: (j) => j.upstream ?? "" },
  { name: "Call", wide: true, cell: (j) => el("code", {}, `${j.method} ${j.path}`) },
  { name: "Client", cell: (j) => j.client ?? "" },
  { name: "Attempts", class: "n", cell: (j) => number(j.attempted) },
  { name: "Stored", class: "nowrap", cell: (j) => moment(j.created_at) },
  { name: "Why", wide: true, cell: (j) => j.reason || (j.status ? `status ${j.status}` : "") },
];

export function view() {
  const counts = state.report.jobs;
  if (!counts) {
    return el("p", { class: "empty" }, state.report.jobs_fault ? `Jobs cannot be shown: ${state.report.jobs_fault}` : "No jobs are kept here: set jobs in the configuration, or give serve --jobs.");
  }
  const total = states.reduce((n, s) => n + (counts[s] ?? 0), 0);
  const chip = (value, name, n) => el("button", { "data-act": "job-state", "data-state": value, "aria-pressed": String(filter.state === value) }, `${name} ${number(n)}`);
  const bar = el("div", { class: "bar" },
    el("div", { class: "chips", role: "group", "aria-label": "State" }, chip("", "all", total), states.map((s) => chip(s, s, counts[s]))),
    el("label", {}, "Upstream ", el("select", { name: "upstream" }, el("option", { value: "" }, "all"), state.report.upstreams.map((u) => el("option", { value: u.name }, u.name)))),
    el("label", { class: "grow" }, el("span", { class: "unseen" }, "Search"), el("input", { name: "q", type: "search", class: "grow", placeholder: "part of ID, path or reason", "aria-label": "Search in ID, path and reason" })),
    counts.failed > 0 && el("button", { "data-act": "job-retry-all" }, "Retry failed…"));
  return [bar, el("div", { class: panel ? "split open" : "split" }, list(), panel && details(panel))];
}

function list() {
  if (fault) return el("p", { class: "empty" }, `The jobs cannot be shown: ${fault}`);
  if (!asked) return el("p", { class: "empty" }, "Asking…");
  if (!rows.length) return el("p", { class: "empty" }, "No jobs match.");
  return el("div", {}, table("Latest first", columns, rows, (j) => j.id),
    el("div", { class: "more" }, next && rows.length < rowsMost && el("button", { "data-act": "job-more" }, "Show more"),
      el("span", { class: "quiet" }, rows.length >= rowsMost && next ? `the latest ${number(rows.length)}; search for those further back` : `${number(rows.length)} shown`)));
}

function details(j) {
  const open = j.state === "waiting" || j.state === "running";
  const row = (name, value) => value && [el("dt", {}, name), el("dd", {}, value)];
  return el("section", { class: "card panel", "aria-label": "Job" },
    el("div", { class: "head" }, el("h2", { tabindex: "-1", class: "mono" }, j.id), el("button", { "data-act": "job-close" }, "Close")),
    el("dl", {},
      row("State", badge(j.state, kindOf[j.state])), row("Call", el("code", {}, `${j.method} ${j.path}`)), row("Upstream", j.upstream), row("Client", j.client),
      row("Priority", String(j.priority)), row("Stored", moment(j.created_at)), row("Started", j.started_at && moment(j.started_at)),
      row("Ended", j.ended_at && moment(j.ended_at)), row("Not before", j.not_before && `in ${until(j.not_before)}`), row("Deleted in", j.expires_at && until(j.expires_at)),
      row("Lost with a worker", j.losses ? number(j.losses) : ""), row("Why", j.reason)),
    el("div", { class: "bar" },
      (j.state === "failed" || j.state === "cancelled") && el("button", { "data-act": "job-retry", "data-id": j.id }, "Retry…"),
      open && el("button", { "data-act": "job-cancel", "data-id": j.id }, "Cancel…"),
      j.status ? el("a", { href: `/api/v1/jobs/${j.id}/response`, target: "_blank", rel: "noopener" }, "Stored answer") : null),
    el("h3", {}, `Attempts (${number(j.attempted)})`),
    j.attempts.length
      ? el("ol", { class: "timeline" }, j.attempts.map((a) => el("li", {},
        el("strong", {}, a.status ? String(a.status) : "no answer"), a.reading ? ` ${a.reading}` : "", ` after ${span(a.took_ms)}`,
        el("p", { class: "quiet" }, `${moment(a.at)} (${ago(a.at)} ago)${a.delay_ms ? `, then waited ${span(a.delay_ms)}` : ""}`),
        a.reason && el("p", {}, a.reason))))
      : el("p", { class: "quiet" }, "None yet."));
}
