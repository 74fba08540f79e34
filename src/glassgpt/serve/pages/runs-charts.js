// The curves of the chosen runs: loss with what it can be measured by, the exam's marks, speed and learning rate.
// Each chart has its numbers as a table too, for those who would rather read them.

import { make } from "./base.js";
import { makeChart } from "./runs-chart.js";
import { card, layout, muted, plotly } from "./runs-plotly.js";
import { columnTraces, hasMarks, lossTraces, MARKS, markTraces, references } from "./runs-traces.js";
import { loss as lossWords, plain, short } from "./runs-words.js";

const AXES = { step: "step", seconds: "seconds", tokens: "tokens" };
const ABOUT =
  "The loss says how surprised the model is by text: by what it trains on (thin) and by text that it never saw (bold, with " +
  "points). Look for the steep beginning, where it learns letters and words, and for a bold line that turns upwards while " +
  "the thin one falls on: then it learns by heart.";
const ABOUT_MARKS =
  "What the model writes, marked as a teacher would. A small point is one sample of the run; large ones are exams of many " +
  "stories, which “glassgpt eval” takes. Look for the order: spelling comes first, sums last.";

export function showCharts(root, state, remember) {
  const { view } = state;
  let mark = "spelled";
  let running = Promise.resolve();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  if (!Object.hasOwn(AXES, view.x)) view.x = "step";

  const axis = choice("runs-x", "Across", Object.entries(AXES), view.x, (value) => (view.x = value, remember(), draw()));
  const log = make("input", { type: "checkbox", id: "runs-log", change: () => (view.log = log.checked, remember(), draw()) });
  log.checked = view.log;
  const legend = make("p", { class: "legend run-legend" });
  const trouble = make("p", { class: "note", role: "alert", hidden: "" });
  const loss = makeChart("Loss", "tall");
  const measures = make("p", { class: "legend measures" });
  loss.element.insertBefore(measures, loss.element.lastElementChild);
  const marks = makeChart("Exam");
  const speed = makeChart("Speed");
  const rate = makeChart("Learning rate");
  const which = choice("runs-mark", "Mark", Object.entries(MARKS), mark, (value) => (mark = value, draw()));
  marks.head.append(which.holder, make("p", { class: "why" }, ABOUT_MARKS));
  root.append(make("section", { "aria-labelledby": "runs-curves" },
    make("h2", { id: "runs-curves" }, "Curves"), make("p", { class: "why" }, ABOUT),
    make("div", { class: "row" }, axis.holder, make("span", { class: "choice" }, log, make("label", { for: "runs-log" }, "logarithmic loss"))),
    legend, trouble, loss.element, marks.element, make("div", { class: "charts" }, speed.element, rate.element)));
  dark.addEventListener("change", draw);

  function chosen() {
    const known = [...state.slots].filter(([name]) => state.details.has(name));
    return known.map(([name, slot]) => ({
      name, slot, ...state.details.get(name), summary: state.summaries.find((run) => run.name === name) ?? {},
    }));
  }

  function draw() {
    running = running.then(drawNow, drawNow); // one after the other: plotly's are promises
  }

  async function drawNow() {
    const runs = chosen();
    if (!runs.length || !root.isConnected) return;
    measures.textContent = references(runs).map((row) => `${row.name} (${lossWords(row.loss)})`).join(" · ");
    measures.hidden = !measures.textContent;
    legend.replaceChildren(...runs.map((run) => make("span", { class: "key", "--colour": `var(--run-${run.slot})`, title: run.name }, short(run.name))));
    offerMarks(runs);
    const drawn = [
      [loss, lossTraces(runs, view.x), lossLayout(runs), ["training loss", "validation loss"]],
      [speed, columnTraces(runs, view.x, "tokens_per_s"), plainLayout("tokens per second"), ["tokens per second"]],
      [rate, columnTraces(runs, view.x, "learning_rate"), plainLayout("learning rate"), ["learning rate"]],
      ...(marks.element.hidden ? [] : [[marks, markTraces(runs, view.x, mark), marksLayout(), ["of single samples", "of exams"]]]),
    ];
    for (const [chart, traces, , names] of drawn) chart.tell(runs, traces, AXES[view.x], names);
    try {
      const library = await plotly();
      if (root.isConnected) for (const [chart, traces, look] of drawn) await chart.draw(library, traces, look);
      trouble.hidden = true;
    } catch (problem) {
      trouble.hidden = false;
      trouble.textContent = problem.message;
    }
  }

  // Only those that there are: a text without sums has no sums that add up.
  function offerMarks(runs) {
    const there = Object.keys(MARKS).filter((name) => hasMarks(runs, name));
    marks.element.hidden = !there.length;
    for (const option of which.list.options) option.disabled = !there.includes(option.value);
    if (there.length && !there.includes(mark)) which.list.value = mark = there[0];
  }

  function plainLayout(words) {
    return layout({ x: { title: { text: AXES[view.x] } }, y: { title: { text: words }, rangemode: "tozero" }, keep: view.x });
  }

  function marksLayout() {
    return layout({ x: { title: { text: AXES[view.x] }, rangemode: "tozero" }, y: { range: [-0.04, 1.04], tickformat: ".0%" }, keep: `${view.x} ${mark}` });
  }

  function lossLayout(runs) {
    const rows = references(runs);
    const height = (value) => view.log ? Math.log10(value) : value;
    const range = lossRange(runs, rows, height);
    const y = { title: { text: "loss (nats)" }, type: view.log ? "log" : "linear", ...(range ? { range, autorange: false } : {}) };
    const found = layout({ x: { title: { text: AXES[view.x] } }, y, keep: `${view.x} ${view.log}` });
    found.shapes = rows.map((row) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: row.loss, y1: row.loss, layer: "below", line: { color: muted(), width: 1.2, dash: "dash" } }));
    found.annotations = labels(rows, height, range);
    return found;
  }

  return { draw, leave: () => {
    dark.removeEventListener("change", draw);
    [loss, marks, speed, rate].forEach((chart) => chart.leave());
  } };
}

// Names of lines that lie close together would cover each other: the line below the chart has them all.
function labels(rows, height, range) {
  const room = range ? 0.055 * (range[1] - range[0]) : 0;
  const free = [];
  for (const row of rows) if (free.every((other) => Math.abs(height(row.loss) - height(other.loss)) > room)) free.push(row);
  return free.map((row) => label(row, height(row.loss), range));
}

// Curves fall from the upper left to the lower right: a line's name stands where they are not.
function label(row, height, range) {
  const isHigh = range && height > (range[0] + range[1]) / 2;
  return {
    text: plain(row.name), xref: "paper", x: isHigh ? 1 : 0.004, xanchor: isHigh ? "right" : "left", y: height, yanchor: "bottom",
    showarrow: false, bgcolor: card(), borderpad: 1, font: { size: 11, color: muted() },
  };
}

// So that the references can be seen too: plotly looks at lines only.
function lossRange(runs, rows, height) {
  const values = lossTraces(runs, "step").flatMap((trace) => trace.y).concat(rows.map((row) => row.loss)).filter((value) => value > 0).map(height);
  if (!values.length) return null;
  const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  const room = 0.07 * (high - low || 1);
  return [low - room, high + room];
}

function choice(id, words, options, value, changed) {
  const list = make("select", { id, change: () => changed(list.value) }, ...options.map(([key, name]) => make("option", { value: key }, name)));
  list.value = value;
  return { list, holder: make("span", { class: "choice" }, make("label", { for: id }, words), list) };
}
