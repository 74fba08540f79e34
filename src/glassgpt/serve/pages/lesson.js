// "Lesson": five stops with the visitor's own model. Each says a little, has one thing to try, and then tells what it
// showed, in numbers of this very model.

import { make } from "./base.js";
import { ask, lookInside, wasStopped } from "./client.js";
import { modelChoice, status } from "./controls.js";
import { whatIsLeftOut } from "./inside.js";
import { STOPS } from "./stops.js";

const WAIT_MS = 400; // after a key, until the model reads again
const MOST_BEGINNING = 18; // characters that the last stop goes on from
const FIRST_TOKENS = { char: 60, bpe: 24 }; // of the text that the model writes for its own lesson

export function showLesson(root, app, asked) {
  const state = { at: placeOf(asked.get("stop")), text: asked.get("text") ?? "", own: "", running: null, trace: null, living: null };
  const { form, field, told } = makeForm(app, { refresh, anew: begin });
  const steps = make("ol", { class: "stops" });
  const [words, live, shows] = ["words", "live", "shows"].map((name) => make("div", { class: name }));
  const previous = make("button", { type: "button", class: "plain", click: () => go(state.at - 1) }, "← Previous");
  const next = make("button", { type: "button", class: "primary", click: () => go(state.at + 1) });
  root.append(make("div", { class: "lesson" }, make("nav", { "aria-label": "stops of the lesson" }, steps), words, form, live, shows,
    make("div", { class: "row ends" }, previous, next)));

  function go(at) {
    if (at >= STOPS.length) return app.go("write", { model: app.model });
    state.at = at;
    arrive();
    refresh();
    words.querySelector("h1").focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  function arrive() {
    const { title, words: told, task } = STOPS[state.at];
    words.replaceChildren(make("p", { class: "kicker" }, `Lesson, ${state.at + 1} of ${STOPS.length}`), make("h1", { tabindex: "-1" }, title), make("p", {}, told),
      make("p", { class: "try" }, make("strong", {}, "Try: "), task));
    steps.replaceChildren(...STOPS.map((one, place) => make("li", {}, make("button", {
      type: "button", "aria-current": place === state.at ? "step" : null, click: () => go(place) }, one.title))));
    previous.disabled = state.at === 0;
    next.textContent = state.at + 1 < STOPS.length ? `Next: ${STOPS[state.at + 1].title} →` : "Now write with it →";
  }

  function say(sentence) {
    const { secret } = STOPS[state.at];
    const body = make("p", {}, sentence);
    if (!sentence) shows.replaceChildren();
    else if (secret) shows.replaceChildren(make("details", {}, make("summary", {}, "What it shows"), body));
    else shows.replaceChildren(make("h2", {}, "What it shows"), body);
  }

  // The living piece of this stop, for the text and model as they are now.
  async function refresh() {
    quiet();
    state.text = field.value;
    app.remember({ stop: state.at + 1, model: app.model, text: state.text });
    const stop = STOPS[state.at];
    const trace = stop.finding ? await read() : null;
    if (stop !== STOPS[state.at] || (stop.finding && !trace)) return;
    live.style.minHeight = `${live.offsetHeight}px`; // or the page would jump at every key
    live.replaceChildren();
    if (trace?.tokens_left_out || trace?.unsent) live.append(make("p", { class: "note" }, whatIsLeftOut(trace)));
    if (stop.finding) say(stop.finding(trace, state.text));
    else say("");
    state.living = stop.show(live, trace, {
      app, prompt: () => beginningOf(field.value), found: say, say: told.say,
      solved: () => shows.querySelector("details")?.setAttribute("open", ""),
    });
    live.style.minHeight = "";
  }

  async function read() {
    const key = JSON.stringify([app.model, state.text]);
    if (state.trace?.key === key) return state.trace;
    const mine = (state.running = new AbortController());
    try {
      const trace = await lookInside(app.model, state.text, mine.signal);
      told.say("");
      return (state.trace = Object.assign(trace, { key }));
    } catch (problem) {
      if (!wasStopped(problem)) refused(problem);
      return null;
    }
  }

  // Nothing of the text before stays. A character without a token is a finding of the stop that is about tokens.
  function refused({ message, unknown }) {
    live.replaceChildren();
    say("");
    const finding = unknown && STOPS[state.at].unknown?.(unknown);
    if (!finding) return told.warn(message);
    told.say("not all of it has a token");
    say(finding);
  }

  function quiet() {
    clearTimeout(field.timer);
    state.running?.abort();
    state.living?.leave?.();
    state.living = null;
  }

  // A text that the visitor typed stays with another model too; one that a model wrote is written anew.
  async function begin() {
    const before = field.value;
    state.text = before || state.text;
    if (!state.text || state.text === state.own) {
      const { model } = app;
      told.say("your model writes a text for its lesson…");
      try {
        state.own = await firstText(app, model);
      } catch (problem) {
        return told.warn(problem.message);
      }
      if (model !== app.model || field.value !== before) return; // another was chosen meanwhile, or a text was typed
      state.text = state.own;
    }
    field.value = state.text;
    told.say("");
    if (root.contains(form)) refresh();
  }

  arrive();
  begin();
  return quiet;
}

// The text of the lesson: the model reads it again a moment after the last key.
function makeForm(app, { refresh, anew }) {
  const told = status();
  const choice = modelChoice(app, anew);
  const field = make("textarea", { id: "lesson-text", rows: 2, spellcheck: "false", autocapitalize: "off" });
  const form = make("form", { class: "lesson-text", submit: (event) => (event.preventDefault(), refresh()) },
    make("label", { for: "lesson-text" }, "Your text; change it as you like"), field, make("div", { class: "row" }, choice.holder, told.element));
  field.addEventListener("input", () => {
    clearTimeout(field.timer);
    field.timer = setTimeout(refresh, WAIT_MS);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return { form, field, told };
}

function placeOf(asked) {
  const place = Number(asked) - 1;
  return Number.isInteger(place) && place >= 0 && place < STOPS.length ? place : 0;
}

// Whatever language it learned, a model can read what it wrote itself.
async function firstText(app, model) {
  const { tokenizer, opening } = await app.describe(model);
  const body = { model, max_tokens: FIRST_TOKENS[tokenizer] ?? FIRST_TOKENS.bpe, temperature: 0.7, min_p: 0.1, seed: 1 };
  const { choices } = await ask("/v1/completions", body);
  return (opening.replace(/^[.\s]+$/, "") + choices[0].text).trim() || "The";
}

// A few words to go on from, cut between two of them.
function beginningOf(text) {
  const short = text.slice(0, MOST_BEGINNING);
  return short === text ? text : short.replace(/\s+\S*$/, "") || short;
}
