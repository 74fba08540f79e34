// The runs as cards: how far each one is, how good it has become, and ways to use it.

import { make } from "./base.js";
import { ago, count, dataName, duration, large, loss } from "./runs-words.js";

export function showList(app, choose) {
  const element = make("ul", { class: "runs", "aria-label": "runs" });
  const cards = new Map();

  function draw(state) {
    const names = state.summaries.map((run) => run.name);
    for (const name of cards.keys()) if (!names.includes(name)) cards.delete(name);
    for (const name of names) if (!cards.has(name)) cards.set(name, makeCard(name, app, choose));
    const wanted = names.map((name) => cards.get(name).element);
    if (wanted.length !== element.children.length || wanted.some((card, at) => element.children[at] !== card))
      element.replaceChildren(...wanted); // only then: a focus inside would be lost
    for (const run of state.summaries) cards.get(run.name).draw(run, state.slots.get(run.name), app);
    if (!names.length) element.replaceChildren(make("li", { class: "none" },
      "No run is here yet. Train one with ", make("code", {}, "glassgpt train"), ", and it appears by itself."));
  }
  const tick = (state) => state.summaries.forEach((run) => cards.get(run.name)?.tick(run));
  return { element, draw, tick };
}

function makeCard(name, app, choose) {
  const box = make("input", { type: "checkbox", "aria-label": name, title: "show it beside the others", change: () => choose(name, box.checked) });
  const alone = make("button", { type: "button", class: "run-name", title: "show this one only", click: () => choose(name, true, { alone: true }) }, name);
  const badge = make("span", { class: "badge" }, "training");
  const fill = make("span");
  const bar = make("div", { class: "progress", role: "progressbar", "aria-label": `steps of ${name}` }, fill);
  const steps = make("p", { class: "steps" });
  const facts = make("dl", { class: "facts" });
  const form = make("p", { class: "form" });
  const problem = make("p", { class: "note" });
  const use = make("div", { class: "row" },
    make("button", { type: "button", class: "plain", click: () => app.go("write", { model: name }) }, "write with it"),
    make("button", { type: "button", class: "plain", click: () => app.go("inside", { model: name }) }, "look inside"));
  use.querySelectorAll("button").forEach((button) => button.setAttribute("aria-label", `${button.textContent}: ${name}`));
  const element = make("li", { class: "run" },
    make("h2", {}, make("span", { class: "choose" }, box, alone), badge),
    bar, steps, facts, form, problem, use);

  return {
    element, tick,
    draw(run, slot, { models }) {
      const isChosen = slot !== undefined;
      if (box.checked !== isChosen) box.checked = isChosen;
      element.classList.toggle("chosen", isChosen);
      element.style.setProperty("--colour", isChosen ? `var(--run-${slot})` : "var(--line)");
      badge.hidden = !run.going;
      problem.hidden = !run.problem;
      problem.textContent = run.problem ?? "";
      for (const each of [bar, steps, facts, form]) each.hidden = run.problem !== undefined && !run.step;
      use.hidden = !models.includes(name);
      fillIn(run);
    },
  };

  // What changes by itself, as time goes by.
  function tick(run) {
    const all = run.max_steps ? ` of ${count(run.max_steps)}` : "";
    const words = run.step ? `step ${count(run.step)}${all} · ${time(run)}` : "no step was logged yet";
    if (steps.textContent !== words) steps.textContent = words;
  }

  function fillIn(run) {
    const share = run.max_steps ? Math.min(1, run.step / run.max_steps) : 0;
    fill.style.setProperty("--length", `${100 * share}%`);
    const values = { valuemin: 0, valuemax: run.max_steps ?? run.step ?? 1, valuenow: run.step ?? 0 };
    for (const [key, value] of Object.entries(values)) bar.setAttribute(`aria-${key}`, value);
    tick(run);
    const rows = factsOf(run);
    facts.replaceChildren(...rows.map(([term, value, more]) =>
      make("div", {}, make("dt", {}, term), make("dd", {}, value), ...(more ? [make("dd", { class: "more" }, more)] : []))));
    form.textContent = [dataName(run.data ?? ""), run.form].filter(Boolean).join(" · ");
  }
}

function time(run) {
  if (!run.going || !run.step || !run.seconds || !run.max_steps) return ago(run.changed);
  return `about ${duration((run.seconds / run.step) * Math.max(0, run.max_steps - run.step))} left`;
}

function factsOf(run) {
  const best = run.best?.val_loss ?? null;
  const above = best !== null && run.floor !== null && run.floor !== undefined ? `${(best - run.floor).toFixed(3)} above the floor` : null;
  const at = run.best ? `at step ${count(run.best.step)}` : "not evaluated yet";
  return [
    ["best validation loss", loss(best), above ?? at],
    ["training loss", loss(run.train_loss)],
    ["speed", run.tokens_per_s ? large(run.tokens_per_s) : "–", "tokens/s"],
    ["parameters", run.parameters ? large(run.parameters) : "–"],
  ];
}
