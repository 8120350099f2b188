// Small things that all views need: elements, texts of numbers and times.

// el makes an element. Attributes that are false or null are left out; children
// are nodes and texts. Nothing is ever read as HTML, so that what upstreams and
// clients say stays text. What a click does is said by data-act (see main.js).
export function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (key === "class") e.className = value;
    else e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c != null && c !== false));
  return e;
}

export const byID = (id) => document.getElementById(id);

const numbers = new Intl.NumberFormat("en");
export const number = (n) => numbers.format(n ?? 0);

// span is a duration in words of two parts at most: "1m 20s".
export function span(ms) {
  if (ms < 1000) return ms < 1 ? "0s" : `${Math.round(ms)}ms`;
  let s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)}s`;
  s = Math.round(s);
  const parts = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const at = parts.findIndex(([, unit]) => s >= unit);
  const [name, unit] = parts[at], rest = parts[at + 1];
  const small = rest ? Math.floor((s % unit) / rest[1]) : 0;
  return `${Math.floor(s / unit)}${name}${small ? ` ${small}${rest[0]}` : ""}`;
}

// The server's clock counts, since a laptop's may be minutes off.
let skew = 0;
export function setClock(serverTime) { skew = Date.parse(serverTime) - Date.now(); }
export const now = () => Date.now() + skew;

export const until = (time) => span(Math.max(Date.parse(time) - now(), 0));
export const ago = (time) => span(Math.max(now() - Date.parse(time), 0));
export const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
export const moment = (time) => {
  const t = new Date(time);
  return now() - t < 86400e3 ? clock(t) : `${t.toISOString().slice(0, 10)} ${clock(t)}`;
};

// table makes a table of columns {name, class, wide, cell(row)}; the first is
// the header of its row. On a narrow screen its rows are stacked.
export function table(caption, columns, rows, key) {
  const body = el("tbody", {});
  for (const row of rows) {
    body.append(el("tr", key ? { "data-key": key(row) } : {}, columns.map((c, i) => el(i === 0 ? "th" : "td", {
      class: [c.class, c.wide && "wide"].filter(Boolean).join(" ") || null,
      scope: i === 0 ? "row" : null, "data-label": c.name,
    }, c.cell(row)))));
  }
  return el("div", { class: "scroll" }, el("table", { class: "stack" },
    caption ? el("caption", {}, caption) : null,
    el("thead", {}, el("tr", {}, columns.map((c) => el("th", { scope: "col", class: c.class ?? null }, c.name)))),
    body));
}

export function badge(text, kind) { return el("span", { class: `badge ${kind ?? ""}` }, text); }

// draw has a place hold nodes. What is there already is changed rather than
// replaced: focus, selection and a screen reader's place stay, and a click that
// has begun ends on the same button. Nodes that keep themselves (data-keep) are
// put in as they are.
export function draw(place, ...nodes) {
  nodes = nodes.flat(Infinity).filter((n) => n != null && n !== false).map((n) => (n instanceof Node ? n : document.createTextNode(n)));
  nodes.forEach((n, i) => {
    const old = place.childNodes[i];
    if (!old) place.append(n);
    else if (old === n) return;
    else if (old.nodeType === Node.TEXT_NODE && n.nodeType === Node.TEXT_NODE) { if (old.data !== n.data) old.data = n.data; }
    else if (alike(old, n)) { copyAttributes(n, old); draw(old, [...n.childNodes]); }
    else old.replaceWith(n);
  });
  while (place.childNodes.length > nodes.length) place.lastChild.remove();
}

function alike(a, b) {
  return a.nodeName === b.nodeName && a.nodeType === Node.ELEMENT_NODE &&
    !a.dataset.keep && !b.dataset.keep && a.dataset.key === b.dataset.key;
}

function copyAttributes(from, to) {
  for (const { name } of [...to.attributes]) if (!from.hasAttribute(name)) to.removeAttribute(name);
  for (const { name, value } of from.attributes) if (to.getAttribute(name) !== value) to.setAttribute(name, value);
}
