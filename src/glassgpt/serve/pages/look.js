// "Inside" on the server's page: a text and a model are chosen, the model reads, and the views of the trace appear.

import { make } from "./base.js";
import { lookInside, wasStopped } from "./client.js";
import { modelChoice, status } from "./controls.js";
import { showInside } from "./inside.js";

const FIRST_TEXT = "Once upon a time, ";

export function showLook(root, app, asked) {
  let running = null;
  const text = make("textarea", { id: "look-text", rows: 4, spellcheck: "false", autocapitalize: "off" });
  const button = make("button", { type: "submit", class: "primary" }, "Look inside");
  const onward = make("button", { type: "button", class: "plain", click: () => app.go("write", { model: app.model, prompt: text.value }) }, "Write on from here");
  const told = status();
  const choice = modelChoice(app, () => read());
  const form = make("form", { class: "card controls", submit: (event) => (event.preventDefault(), read()) },
    make("h1", {}, "Inside"),
    make("p", { class: "why" }, "Give the model a text. It reads it once, and below you see what happened on the way: what it expected, where it looked, and what it would have said at each depth."),
    make("div", { class: "row" }, choice.holder),
    make("label", { for: "look-text" }, "The text it reads"), text,
    make("div", { class: "row" }, button, onward, told.element));
  const views = make("div", { class: "views" });
  root.append(form, views);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  async function read() {
    running?.abort();
    const mine = (running = new AbortController());
    app.remember({ model: app.model, text: text.value });
    told.say("reading…");
    try {
      const trace = await lookInside(app.model, text.value, mine.signal);
      views.style.minHeight = `${views.offsetHeight}px`; // or the page would jump while the views are made anew
      views.replaceChildren();
      showInside(views, trace);
      views.style.minHeight = "";
      const { name, step, form: kind } = trace.model;
      told.say(`${name}, step ${step.toLocaleString("en")}: ${kind}`);
    } catch (problem) {
      if (wasStopped(problem)) return;
      views.replaceChildren(); // they were another text's
      told.warn(problem.message);
    }
  }

  async function begin() {
    const given = asked.get("text");
    if (given === null) {
      try {
        const { tells_tales, opening } = await app.describe(app.model);
        text.value = tells_tales ? FIRST_TEXT : opening.trim() || "The";
      } catch (problem) {
        told.warn(problem.message);
        return;
      }
    } else text.value = given;
    if (text.value) read();
  }

  begin();
  return () => running?.abort();
}
