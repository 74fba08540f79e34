// What the model wrote at each step: a slider walks through training, and letters become words become stories.

import { make } from "./base.js";
import { count, loss, short } from "./runs-words.js";

const ABOUT =
  "Move the slider, with the arrow keys too, and read what the model wrote at that step of its training. Look for what comes " +
  "first: letters in the right company, then words, then sentences, and at last who did what to whom.";
const PACE_MS = 1400;

export function showSamples(root, state) {
  let steps = [];
  let follows = true; // the newest sample, until somebody moves the slider
  let playing = null;
  const slider = make("input", { type: "range", id: "runs-step", min: 0, step: 1, input: () => (pause(), move(Number(slider.value))) });
  const shown = make("output", { for: "runs-step", class: "at-step" });
  const play = make("button", { type: "button", class: "plain", click: () => playing ? pause() : start() }, "Play");
  const texts = make("div", { class: "samples" });
  const controls = make("div", { class: "row walk" }, make("label", { for: "runs-step" }, "Step"), slider, shown, play);
  const none = make("p", { class: "legend" }, "No sample was written yet: training writes one every sample_every steps.");
  root.append(make("section", { "aria-labelledby": "runs-samples" },
    make("h2", { id: "runs-samples" }, "What it wrote"), make("p", { class: "why" }, ABOUT), controls, none, texts));
  play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function chosen() {
    return [...state.slots].filter(([name]) => state.details.has(name)).map(([name, slot]) => ({ name, slot, ...state.details.get(name) }));
  }

  function draw() {
    const at = steps[Number(slider.value)];
    steps = [...new Set(chosen().flatMap((run) => run.samples.map((sample) => sample.step)))].sort((one, other) => one - other);
    controls.hidden = !steps.length;
    none.hidden = steps.length > 0;
    slider.max = Math.max(0, steps.length - 1);
    const same = Math.max(0, steps.findLastIndex((step) => step <= at));
    slider.value = follows && !playing ? steps.length - 1 : same;
    show();
  }

  function move(place) {
    slider.value = place;
    follows = place === steps.length - 1;
    show();
  }

  function show() {
    const step = steps[Number(slider.value)];
    if (step === undefined) return texts.replaceChildren();
    slider.setAttribute("aria-valuetext", `step ${count(step)}`);
    shown.textContent = `${count(step)} · ${Number(slider.value) + 1} of ${steps.length}`;
    const runs = chosen();
    while (texts.children.length > runs.length) texts.lastChild.remove();
    runs.forEach((run, place) => {
      const card = sampleAt(run, step);
      if (!texts.children[place]) texts.append(card);
      else if (!texts.children[place].isEqualNode(card)) texts.children[place].replaceWith(card);
    });
  }

  function start() {
    if (Number(slider.value) === steps.length - 1) move(0);
    playing = setInterval(() => {
      move(Number(slider.value) + 1);
      if (Number(slider.value) === steps.length - 1) pause();
    }, PACE_MS);
    play.textContent = "Pause";
  }

  function pause() {
    clearInterval(playing);
    playing = null;
    play.textContent = "Play";
  }

  return { draw, leave: pause };
}

function sampleAt(run, step) {
  const sample = run.samples.findLast((each) => each.step <= step);
  const words = sample ? `step ${count(sample.step)} · ${lossAt(run.columns, sample.step)}` : "nothing yet";
  return make("article", { class: "sample", "--colour": `var(--run-${run.slot})` },
    make("h3", {}, make("span", { class: "key", title: run.name }, short(run.name)), make("span", { class: "legend" }, words)),
    make("blockquote", {}, sample?.text ?? ""));
}

// The validation loss where one was taken at that step, else the training loss nearest before it.
function lossAt(columns, step) {
  const at = columns.step.findLastIndex((each) => each <= step);
  const val = columns.step[at] === step ? columns.val_loss[at] : null;
  if (val !== null && val !== undefined) return `validation loss ${loss(val)}`;
  const train = columns.train_loss?.[at] ?? null;
  return train === null ? "loss not yet logged" : `training loss ${loss(train)}`;
}
