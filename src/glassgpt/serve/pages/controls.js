// Small parts that several views share: which model, and what is going on.

import { make } from "./base.js";

let count = 0;

// A list of models. The one that is chosen becomes the page's model, unless the view keeps its own (`own`).
export function modelChoice(app, changed, { label = "Model", own = false, value = app.model } = {}) {
  const id = `model-${(count += 1)}`;
  const list = make("select", { id, change: () => {
    if (!own) app.model = list.value;
    changed(list.value);
  } }, ...besideTheirRun(app.models).map((name) => make("option", { value: name }, name)));
  list.value = value;
  return { list, holder: make("span", { class: "choice" }, make("label", { for: id }, label), list) };
}

// The best of a run, its last, and its kept steps as they came; the runs as they are given, the newest first.
function besideTheirRun(models) {
  const place = (name) => {
    const [, run, which] = /^(.*)@(last|\d+)$/.exec(name) ?? [];
    return models.includes(run) ? [models.indexOf(run), which === "last" ? 0 : Number(which)] : [models.indexOf(name), -1];
  };
  return [...models].sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
}

// One line that is read aloud when it changes: how it goes, or what went wrong.
export function status() {
  const element = make("p", { class: "status", role: "status" });
  const put = (words, wrong) => {
    element.textContent = words;
    element.classList.toggle("wrong", wrong);
  };
  return { element, say: (words) => put(words, false), warn: (words) => put(words, true) };
}
