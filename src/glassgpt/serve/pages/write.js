// "Write": a prompt, models and settings; the texts appear as they are written, and can be led elsewhere.

import { make } from "./base.js";
import { legend, makeDesk } from "./columns.js";
import { modelChoice, status } from "./controls.js";
import { anySeed, settingsForm, usualStop } from "./settings.js";

const ABOUT = "The model goes on with your text, one token after the other. Behind each lies the colour of how probable it was.";
const WHOLE_STORY = "Leave this empty, and it tells a whole story";
const BEGINNINGS = ["Once upon a time,", "Far away, near the", "Everybody loved"];
const GO_ON = "A beginning for it to go on from";

export function showWrite(root, app, asked) {
  let isBegun = false; // from then on nothing invites to begin, for that would take the place of what is awaited
  const settings = settingsForm(asked);
  const results = make("div", { class: "results" });
  const { form, prompt, compare, stopButton, told } = makeForm(app, asked, settings, { begin, modelChanged, halt: () => desk.halt() });
  root.append(make("div", { class: "beside" }, form, results));
  const desk = makeDesk(root, { app, say: told.say, values: () => (form.checkValidity() ? settings.values : null), busy });

  async function modelChanged() {
    const model = app.model;
    if (!isBegun) told.say(app.awaited(model));
    try {
      const about = await app.describe(model);
      const { tells_tales, opening } = about;
      if (model !== app.model) return;
      prompt.placeholder = tells_tales ? WHOLE_STORY : opening.trim() ? `${GO_ON}; empty, it begins with “${opening.trim()}”` : GO_ON;
      settings.usual(usualStop(about));
      if (isBegun) return;
      told.say("");
      results.replaceChildren(invitation(about, (beginning) => {
        prompt.value = beginning;
        form.requestSubmit();
      }));
    } catch (problem) {
      if (model === app.model) told.warn(problem.message);
    }
  }

  function busy(running, awaited) {
    stopButton.disabled = running === 0;
    results.setAttribute("aria-busy", String(running > 0));
    if (running) return told.say(awaited ?? "writing…");
    const written = desk.stories.filter((story) => story.tokens.length).length;
    const stopped = desk.stories.some((story) => story.finish === "stopped");
    if (written) told.say(`${stopped ? "stopped" : "done"}: ${written} ${written === 1 ? "text" : "texts"}`);
    else told.say("");
  }

  function begin() {
    isBegun = true;
    desk.clear();
    const values = settings.values;
    const seed = values.seed ?? anySeed();
    const models = compare.list.value ? [app.model, compare.list.value] : [app.model];
    app.remember({ model: app.model, ...(compare.list.value ? { compare: compare.list.value } : {}),
      ...(prompt.value ? { prompt: prompt.value } : {}), ...settings.chosen });
    const columns = models.map((model) => columnFor(model, desk, { model, prompt: prompt.value, values, seed }));
    results.replaceChildren(make("div", { class: "row" }, legend(), seedLine(seed, settings)), make("div", { class: models.length > 1 ? "columns two" : "columns" }, ...columns.map((one) => one.element)));
    columns.forEach((one) => one.start());
    if (results.getBoundingClientRect().top > innerHeight / 2) results.scrollIntoView();
  }

  modelChanged();
  return desk.leave;
}

function makeForm(app, asked, settings, { begin, modelChanged, halt }) {
  const told = status();
  const prompt = make("textarea", { id: "prompt", name: "prompt", rows: 3, spellcheck: "false", autocapitalize: "off" });
  prompt.value = asked.get("prompt") ?? "";
  const choice = modelChoice(app, modelChanged);
  const compare = compareChoice(app, asked.get("compare"));
  const stopButton = make("button", { type: "button", class: "plain", disabled: "", click: halt }, "Stop");
  const more = make("details", { class: "more" }, make("summary", {}, "More settings"), make("div", { class: "knobs" }, ...settings.more));
  const form = make("form", { class: "card controls", submit: (event) => (event.preventDefault(), begin()) },
    make("h1", {}, "Write"), make("p", { class: "why" }, ABOUT),
    make("label", { for: "prompt" }, "Prompt"), prompt,
    make("div", { class: "row choices-of-models" }, choice.holder, compare.holder),
    make("div", { class: "row" }, make("button", { type: "submit", class: "primary" }, "Write"), stopButton, make("span", { class: "hint" }, "or Ctrl+Enter")),
    told.element, make("div", { class: "knobs" }, ...settings.first), more);
  form.addEventListener("invalid", ({ target }) => { // what is wrong must be seen, in a part that is closed too
    if (more.contains(target)) more.open = true;
    told.warn(`${target.labels[0].firstChild.textContent}: ${target.validationMessage}`);
  }, { capture: true });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return { form, prompt, compare, stopButton, told };
}

// What an empty page says: one press, and there is a text.
function invitation({ name, tells_tales: tales, tokenizer }, start) {
  const button = (beginning, words) => make("button", { type: "button", class: "plain", click: () => start(beginning) }, words);
  const beginnings = tales ? BEGINNINGS.map((words) => button(tokenizer === "char" ? `${words} ` : words, `${words} …`)) : [];
  return make("div", { class: "invitation" },
    make("p", { class: "prose" }, `Nothing is written yet. Let ${name} begin:`),
    make("div", { class: "row" }, button("", tales ? "a whole story" : "whatever comes to it"), ...beginnings));
}

function compareChoice(app, wanted) {
  const choice = modelChoice(app, () => {}, { label: "Compare with", own: true, value: "" });
  choice.list.prepend(make("option", { value: "" }, "no other"));
  choice.list.value = app.models.includes(wanted) ? wanted : "";
  return choice;
}

function columnFor(model, desk, asked) {
  const name = make("h2", {}, model);
  const facts = make("p", { class: "legend" });
  const cards = make("div", { class: "stories" });
  const about = ({ step, parameters, context, val_loss: loss }) => {
    const words = [`step ${step.toLocaleString("en")}`, `${parameters.toLocaleString("en")} parameters`, `sees ${context} tokens`];
    facts.textContent = [...words, ...(loss === null ? [] : [`validation loss ${loss.toFixed(3)}`])].join(" · ");
  };
  return { element: make("div", { class: "column" }, name, facts, cards), start: () => desk.write(cards, { ...asked, about }) };
}

// What was drawn can be drawn again.
function seedLine(seed, settings) {
  const keep = make("button", { type: "button", class: "plain small", click: () => {
    settings.keepSeed(seed);
    keep.textContent = "kept";
  } }, "keep it");
  return make("p", { class: "legend seed" }, "Seed ", make("output", {}, String(seed)), " ", keep);
}
