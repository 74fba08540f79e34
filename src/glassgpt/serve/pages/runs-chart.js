// One chart: a heading, the drawing, and its numbers as a table that can be opened.

import { make, scrolling } from "./base.js";
import { CONFIG } from "./runs-plotly.js";
import { count, short, thinned } from "./runs-words.js";

export function makeChart(title, size = "") {
  const plot = make("div", { class: `plot ${size}`, role: "img", "aria-label": title });
  const holder = make("div", { class: "numbers" });
  const numbers = make("details", { class: "as-table", toggle: () => fill() }, make("summary", {}, `${title} as numbers`), holder);
  const head = make("div", {}, make("h3", {}, title));
  const element = make("figure", { class: "chart" }, head, plot, numbers);
  let last = null;
  let library = null;

  function fill() {
    if (numbers.open && last) holder.replaceChildren(tableOf(title, ...last));
  }

  return {
    element, head,
    // What is drawn, in words and as a table.
    tell(runs, traces, x, names) {
      last = [runs, traces, x, names];
      plot.setAttribute("aria-label", described(title, traces));
      fill();
    },
    async draw(plotly, traces, look) {
      library = plotly;
      await plotly.react(plot, traces, look, CONFIG);
    },
    leave() {
      library?.purge(plot);
    },
  };
}

function described(title, traces) {
  const lines = traces.filter((trace) => trace.y.length).map((trace) =>
    `${trace.name}, from ${number(trace.y[0])} to ${number(trace.y.at(-1))}`);
  return lines.length ? `${title}: ${lines.join("; ")}` : `${title}: no values yet`;
}

function number(value) {
  return Math.abs(value) >= 100 ? count(value) : String(Number(value.toPrecision(4)));
}

// Each run has as many lines as there are names; a row is a place on the axis.
function tableOf(title, runs, traces, x, names) {
  const groups = runs.flatMap((run, at) => rowsOf(traces.slice(at * names.length, (at + 1) * names.length)).map((cells) => [run, cells]));
  if (!groups.length) return make("p", { class: "legend" }, "There are no values yet.");
  const several = runs.length > 1;
  const cell = (tag, words) => make(tag, tag === "th" ? { scope: "col" } : { class: "number" }, words);
  return scrolling(`${title} as numbers`, make("table", { class: "plain-table" },
    make("thead", {}, make("tr", {}, ...(several ? [cell("th", "run")] : []), ...[x, ...names].map((words) => cell("th", words)))),
    make("tbody", {}, ...groups.map(([run, cells]) => make("tr", {}, ...(several ? [make("td", {}, short(run.name))] : []),
      ...cells.map((value) => cell("td", value === null ? "" : number(value))))))));
}

function rowsOf(traces) {
  const places = new Map();
  traces.forEach((trace, column) => trace.x.forEach((place, at) => {
    if (!places.has(place)) places.set(place, traces.map(() => null));
    places.get(place)[column] = trace.y[at];
  }));
  const rows = [...places].sort(([one], [other]) => one - other).map(([place, values]) => [place, ...values]);
  const full = rows.filter((row) => !row.includes(null));
  const seldom = full.length && full.length < rows.length ? full : [];
  return [...new Set([...thinned(rows, 30 - Math.min(15, seldom.length)), ...thinned(seldom, 15)])].sort((one, other) => one[0] - other[0]);
}
