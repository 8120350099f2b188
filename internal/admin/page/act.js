// What can be done: each act asks first, shows its result, and asks for the admin
// key where the server wants one. The key is kept in this page's memory alone.
import { el, byID } from "./dom.js";

let key = "";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the server answered ${status}`);
    this.kind = (problem.type ?? "").split("/").pop();
  }
}

export async function ask(path, options = {}) {
  const response = await fetch(path, options).catch(() => { throw new Error("the server does not answer"); });
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  return response.status === 204 ? null : response.json();
}

// change makes a change, with the key if there is one.
export function change(path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  if (key) headers.Authorization = `Bearer ${key}`;
  return ask(path, { method: "POST", headers, body: body ? JSON.stringify(body) : null });
}

let hiding;
export function toast(text, bad) {
  const t = byID("toast");
  t.textContent = text;
  t.className = bad ? "toast bad" : "toast";
  t.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { t.hidden = true; }, 6000);
}

// confirm opens the dialog. act(fields) is what is done on yes; what it returns
// is shown. An error stays in the dialog, so that it can be mended.
export function confirm({ title, text, yes, fields = [], act }) {
  const dialog = byID("ask"), form = byID("ask-form"), fault = byID("ask-fault");
  byID("ask-title").textContent = title;
  byID("ask-text").textContent = text;
  byID("ask-yes").textContent = yes;
  fault.hidden = true;
  const place = byID("ask-fields");
  const input = (f) => el("label", {}, f.label, el("input", { name: f.name, type: f.type ?? "text", value: f.value ?? "", required: true, autocomplete: "off", spellcheck: "false" }));
  place.replaceChildren(...fields.map(input));
  form.onsubmit = async (event) => {
    event.preventDefault();
    const said = Object.fromEntries(new FormData(form));
    if (said.key) key = said.key.trim();
    byID("ask-yes").disabled = true;
    try {
      const done = await act(said);
      dialog.close();
      toast(done);
    } catch (err) {
      fault.textContent = err.message;
      fault.hidden = false;
      if (err.kind === "admin-key" && !place.querySelector("[name=key]")) {
        place.append(input({ name: "key", type: "password", label: "Admin key" }));
        place.lastChild.querySelector("input").focus();
      }
    } finally {
      byID("ask-yes").disabled = false;
    }
  };
  byID("ask-no").onclick = () => dialog.close();
  dialog.showModal();
  (place.querySelector("input") ?? byID("ask-yes")).focus();
}

const of = (name) => `/api/v1/upstreams/${encodeURIComponent(name)}`;

export function pause(name) {
  confirm({
    title: `Pause ${name}?`, yes: "Pause",
    text: "Nothing is sent to it, by any instance that shares its quota. Calls wait in line; those whose deadline comes first are refused.",
    fields: [{ name: "for", label: "For how long (30s, 5m, 1h)", value: "30s" }],
    act: async (said) => { await change(`${of(name)}/pause`, { for: said.for }); return `${name} is paused for ${said.for}.`; },
  });
}

export function resume(name, shared) {
  confirm({
    title: `Resume ${name}?`, yes: "Resume",
    text: "Its pauses end now. If the upstream asked for them, it may refuse what is sent." + (shared ? " Other instances hold to the pause until it ends." : ""),
    act: async () => { await change(`${of(name)}/resume`); return `${name} is resumed.`; },
  });
}

export function setBreaker(name, to) {
  confirm(to === "open" ? {
    title: `Open the breaker of ${name}?`, yes: "Open",
    text: "New calls are refused, or go to a fallback, until a probe succeeds after breaker.open_for.",
    act: async () => { await change(`${of(name)}/breaker`, { state: "open" }); return `The breaker of ${name} is open.`; },
  } : {
    title: `Close the breaker of ${name}?`, yes: "Close",
    text: "Calls are sent again at once, whether it has recovered or not.",
    act: async () => { await change(`${of(name)}/breaker`, { state: "closed" }); return `The breaker of ${name} is closed.`; },
  });
}
