// The usage of a limit over time, with the limit as a line. A chart outlives the
// redrawing of its view: it is kept by its key and put back.
/* global uPlot */
const charts = new Map();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function make(label) {
  const place = document.createElement("div");
  place.className = "chart";
  place.dataset.keep = "chart";
  place.setAttribute("role", "img");
  const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const chart = new uPlot({
    width: 300, height: 80, legend: { show: false }, cursor: { show: false }, padding: [6, 4, 0, 0],
    scales: { y: { range: (_, low, high) => [0, Math.max(high, 1) * 1.1] } },
    axes: [
      { ...axis, size: 22, space: 70, incrs: [60, 120, 300, 600], values: (_, times) => times.map((t) => new Date(t * 1000).toTimeString().slice(0, 5)) },
      { ...axis, size: 44, space: 24, values: (_, values) => values.map((v) => (v >= 10000 ? `${v / 1000}k` : v)) },
    ],
    series: [
      {},
      { label, stroke: () => colour("--series"), fill: () => `${colour("--series")}22`, width: 1.5, points: { show: false } },
      { label: "limit", stroke: () => colour("--limit"), width: 1, dash: [5, 4], points: { show: false } },
    ],
  }, [[], [], []], place);
  new ResizeObserver(() => {
    if (place.clientWidth > 0) chart.setSize({ width: place.clientWidth, height: 80 });
  }).observe(place);
  return { place, chart };
}

export function usageChart(key, label, times, used, inForce) {
  let c = charts.get(key);
  if (!c) charts.set(key, c = make(label));
  const last = times.at(-1) ?? Date.now() / 1000;
  c.chart.setData([times, used, inForce], false);
  c.chart.setScale("x", { min: Math.min(times[0] ?? last, last - 120), max: last });
  c.place.setAttribute("aria-label", `${label}: ${used.at(-1) ?? 0} of ${inForce.at(-1) ?? 0} in use now; the last ${Math.round((last - (times[0] ?? last)) / 60)} minutes`);
  return c.place;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const c of charts.values()) c.chart.redraw();
});
