// "Runs": which there are, and of those that are chosen the curves, the samples step by step, and the settings. What is
// going on arrives by itself (runs-follow.js); the parts only draw what they are given.

import { make } from "./base.js";
import { ask, wasStopped } from "./client.js";
import { status } from "./controls.js";
import { showCharts } from "./runs-charts.js";
import { follow } from "./runs-follow.js";
import { showList } from "./runs-list.js";
import { showSamples } from "./runs-samples.js";
import { showSettings } from "./runs-settings.js";

const TICK_MS = 1000; // how long ago a run wrote something is told as seconds
const MOST = 6; // as many as there are colours that one can tell apart

export function showRuns(root, app, asked) {
  const state = {
    summaries: [],
    slots: new Map(), // the chosen runs by name, each with the number of its colour
    details: new Map(),
    view: { x: asked.get("x") ?? "step", log: asked.get("log") === "yes" },
  };
  const leaving = new AbortController();
  const told = status();
  const list = showList(app, choose);
  const head = make("div", { class: "card" },
    make("h1", {}, "Runs"),
    make("p", { class: "why" }, "Every training that left something here. Press a name to see how that one learned, tick several to compare them; what is training right now moves by itself."),
    list.element, told.element);
  const below = make("div", { class: "views" });
  root.append(head, below);
  const parts = [showCharts, showSamples, showSettings].map((part) => part(below, state, remember));
  const following = follow({ hear, told });
  below.hidden = true;

  async function begin() {
    try {
      hear({ kind: "runs", runs: (await ask("/glass/runs", null, leaving.signal)).runs });
      const wanted = asked.getAll("run").filter((name) => state.summaries.some((run) => run.name === name));
      const gone = asked.getAll("run").filter((name) => !wanted.includes(name));
      if (gone.length) told.say(`There is no run ${gone.map((name) => `“${name}”`).join(" or ")} here, or not any more.`);
      const first = state.summaries.find((run) => !run.problem) ?? state.summaries[0];
      await add(wanted.length ? wanted.slice(0, MOST) : first ? [first.name] : []);
    } catch (problem) {
      if (!wasStopped(problem)) told.warn(problem.message);
    }
  }

  async function choose(name, isChosen, { alone = false } = {}) {
    if (alone) state.slots.clear();
    if (!isChosen) state.slots.delete(name);
    else if (state.slots.size >= MOST) told.warn(`${MOST} runs at a time: more curves could not be told apart`);
    else return add([name]);
    changed();
  }

  async function add(names) {
    for (const name of names) state.slots.set(name, freeSlot(state.slots));
    list.draw(state);
    await Promise.all(names.map(fetchDetail));
    changed();
  }

  async function fetchDetail(name) {
    try {
      state.details.set(name, await ask(`/glass/runs/${encodeURIComponent(name)}`, null, leaving.signal));
    } catch (problem) {
      state.slots.delete(name);
      if (!wasStopped(problem)) told.warn(problem.message);
    }
  }

  function changed() {
    if (leaving.signal.aborted) return;
    list.draw(state);
    remember();
    draw();
    const known = [...state.slots.keys()].filter((name) => state.details.has(name)); // others are still asked for
    following.attend(known.map((name) => [name, state.details.get(name).columns.step.at(-1) ?? 0]));
  }

  function draw() {
    below.hidden = state.slots.size === 0;
    parts.forEach((part) => part.draw());
  }

  function remember() {
    const kept = [...state.slots.keys()].map((name) => ["run", name]);
    app.remember([...kept, ["x", state.view.x], ...(state.view.log ? [["log", "yes"]] : [])]);
  }

  // One event of the server's: what changes in what is known.
  function hear(event) {
    if (event.kind === "runs") {
      state.summaries = event.runs;
      app.refresh().then(() => list.draw(state), () => {}); // a run that begins to have a model can be written with
      const gone = [...state.slots.keys()].filter((name) => !event.runs.some((run) => run.name === name));
      gone.forEach((name) => state.slots.delete(name));
      list.draw(state);
      if (gone.length) changed();
    } else if (event.kind === "summary") {
      state.summaries = state.summaries.map((run) => run.name === event.run ? event.summary : run);
      list.draw(state);
    } else if (state.details.has(event.run)) {
      take(state.details.get(event.run), event);
      draw();
    }
  }

  begin();
  const clock = setInterval(() => document.hidden || list.tick(state), TICK_MS);
  return () => {
    clearInterval(clock);
    leaving.abort();
    following.leave();
    parts.forEach((part) => part.leave?.());
  };
}

function freeSlot(slots) {
  const taken = new Set(slots.values());
  return [...Array(MOST).keys()].find((slot) => !taken.has(slot));
}

// Rows and samples follow those that are there; from step 0 they take their place.
function take(detail, event) {
  const isWhole = event.from_step === 0;
  if (event.kind === "rows") {
    for (const [name, values] of Object.entries(event.columns))
      detail.columns[name] = isWhole ? values : [...(detail.columns[name] ?? []), ...values];
  } else if (event.kind === "samples") {
    const later = (rows) => isWhole ? [] : rows.filter((row) => row.step <= event.from_step);
    detail.samples = [...later(detail.samples), ...event.samples];
    detail.sample_marks = [...later(detail.sample_marks), ...event.sample_marks];
  }
}
