// What the server has told: the latest status, history and notes, and whether it
// still tells.

const steps = 600;
const notesKept = 200;

export const state = {
  link: "connecting", // connecting, live or lost
  since: Date.now(), // of link
  report: null, // as /api/v1/status has it, but credentials of an upstream are bounded
  history: new Map(), // by upstream: {times, line, attempts: {…}, limits: Map of {used, inForce}}
  notes: [], // latest first
  skipped: 0,
};

const listeners = { status: new Set(), note: new Set(), link: new Set() };

export function on(what, f) { listeners[what].add(f); }

function tell(what, value) { for (const f of listeners[what]) f(value); }

export const limitKey = (credential, l) => `${credential}\n${l.limit}\n${l.scope}`;

function push(list, value) {
  list.push(value);
  if (list.length > steps) list.shift();
}

// fill takes over a history that the server kept. Lists that began later are
// padded, so that all have the same times.
function fill(h) {
  state.history.clear();
  for (const u of h.upstreams) {
    const n = u.line.length, end = Date.parse(h.end) / 1000;
    const padded = (list) => [...Array(Math.max(n - list.length, 0)).fill(null), ...list].slice(-n);
    const kept = {
      times: u.line.map((_, i) => end - (n - 1 - i) * (h.step_ms / 1000)),
      line: u.line, attempts: u.attempts, limits: new Map(),
    };
    for (const l of u.limits) kept.limits.set(limitKey(l.credential, l), { used: padded(l.used), inForce: padded(l.in_force) });
    state.history.set(u.name, kept);
  }
}

// grow adds a second.
function grow(t) {
  for (const u of t.status.upstreams) {
    let h = state.history.get(u.name);
    if (!h) state.history.set(u.name, h = { times: [], line: [], attempts: {}, limits: new Map() });
    push(h.times, Date.parse(t.at) / 1000);
    push(h.line, u.line.length);
    for (const [reading, n] of Object.entries(t.attempts?.[u.name] ?? {})) push(h.attempts[reading] ??= Array(h.times.length - 1).fill(0), n);
    const seen = new Set();
    for (const c of u.credentials) for (const l of c.limits) {
      const key = limitKey(c.credential, l);
      let s = h.limits.get(key);
      if (!s) h.limits.set(key, s = { used: Array(h.times.length - 1).fill(null), inForce: Array(h.times.length - 1).fill(null) });
      if (seen.has(key)) continue;
      seen.add(key);
      push(s.used, l.used);
      push(s.inForce, l.in_force);
    }
    for (const [key, s] of h.limits) if (!seen.has(key)) { push(s.used, null); push(s.inForce, null); }
  }
}

let stream, quiet, again;

function link(now) {
  if (state.link === now) return;
  state.link = now;
  state.since = Date.now();
  tell("link");
}

// heard puts off the moment at which silence counts as a lost connection: the
// server speaks each second.
function heard() {
  link("live");
  clearTimeout(quiet);
  quiet = setTimeout(lose, 6000);
}

function lose() {
  link("lost");
  clearTimeout(quiet);
  stream?.close();
  clearTimeout(again);
  again = setTimeout(connect, 2000);
}

export function connect() {
  stream = new EventSource("/api/v1/events");
  clearTimeout(quiet);
  quiet = setTimeout(lose, 10000);
  stream.addEventListener("error", lose);
  stream.addEventListener("snapshot", (e) => {
    const t = JSON.parse(e.data);
    state.notes = [];
    fill(t.history);
    take(t);
  });
  stream.addEventListener("status", (e) => {
    const t = JSON.parse(e.data);
    grow(t);
    take(t);
  });
  for (const kind of ["retry", "pause", "breaker", "job", "change"]) {
    stream.addEventListener(kind, (e) => {
      const note = JSON.parse(e.data);
      state.notes.unshift(note);
      if (state.notes.length > notesKept) state.notes.pop();
      tell("note", note);
    });
  }
}

function take(t) {
  heard();
  state.report = t.status;
  state.skipped = t.skipped;
  tell("status", t.at);
}
