// Instances: who shares each quota, and what each holds of it.
import { el, badge, table, number } from "./dom.js";
import { state } from "./state.js";

export function view() {
  const store = state.report.store;
  if (!store) return el("p", { class: "empty" }, "This instance counts on its own (state: memory). With a Redis as state, instances share quotas, and this shows what each holds.");
  const about = el("div", { class: "bar" },
    el("span", {}, "Store ", badge(store.standing, store.standing === "up" ? "good" : "bad")),
    el("span", { class: "quiet" }, `this is ${store.instance} · on_store_loss: ${store.on_store_loss}`),
    store.error && el("span", { class: "fault" }, store.error));
  const cards = [];
  for (const u of state.report.upstreams) for (const c of u.credentials) {
    if (!c.instances?.length) continue;
    const limits = [...new Set(c.instances.flatMap((i) => Object.keys(i.shares)))];
    const columns = [
      { name: "Instance", wide: true, cell: (i) => [i.instance, i.self ? " " : "", i.self ? badge("this one") : ""] },
      ...limits.map((l) => ({ name: l, class: "n", cell: (i) => number(i.shares[l]) })),
    ];
    cards.push(el("section", { class: "card", "data-key": `${u.name}\n${c.credential}` },
      el("div", { class: "head" }, el("h2", {}, u.name, el("span", { class: "quiet" }, c.credential ? ` · ${c.credential}` : "")), c.repairing ? badge("the store hears everybody again", "held") : null),
      el("p", { class: "quiet" }, `${c.instances.length} ${c.instances.length === 1 ? "instance holds" : "instances hold"} parts of its limits`),
      table("", columns, c.instances.slice(0, 100))));
  }
  return [about, cards.length ? cards : el("p", { class: "empty" }, "No quota is shared yet.")];
}
