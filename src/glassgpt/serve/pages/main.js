// The page as a whole: which view is shown, and with which model. The address says both, so that the browser's own
// buttons work and a view can be kept as a bookmark: #inside?model=tales&text=Once.

import { make } from "./base.js";
import { ask } from "./client.js";
import { showLesson } from "./lesson.js";
import { showLook } from "./look.js";
import { showRuns } from "./runs.js";
import { showWrite } from "./write.js";

const VIEWS = { write: showWrite, inside: showLook, runs: showRuns, lesson: showLesson };
const TITLES = { write: "Write", inside: "Inside", runs: "Runs", lesson: "Lesson" };
const LONGEST_KEPT = 2000; // characters of one thing in the address; some programs cut long ones
const main = document.querySelector("main");
let leave = null; // what the view that is shown wants to be called when it goes
let handed = {}; // to the next view, too long for the address
let turn = 0; // somebody may go on while a view is still being asked for

export const address = {
  get view() {
    const name = location.hash.slice(1).split("?")[0];
    return Object.hasOwn(VIEWS, name) ? name : "write";
  },
  get asked() {
    return new URLSearchParams(location.hash.split("?").slice(1).join("?"));
  },
};

// What every view gets: the models by name, the one that was used last, and the way to other views.
const app = {
  models: [],
  model: null,
  described: new Map(),
  go(view, asked = {}) {
    handed = asked;
    location.hash = `${view}?${kept(asked)}`;
  },
  // Kept in the address without another entry in the browser's history; what is too long is left out.
  remember(asked) {
    history.replaceState(null, "", `#${address.view}?${kept(asked)}`);
  },
  // What a model is; reading it from disk takes a moment the first time.
  async describe(name) {
    const found = await ask(`/glass/models/${encodeURIComponent(name)}`);
    app.described.set(name, found);
    return found;
  },
  // What is waited for, until it is described.
  awaited(name) {
    return app.described.has(name) ? `asking for ${name}…` : `reading ${name} from disk…`;
  },
  async refresh() {
    app.models = (await ask("/v1/models")).data.map((row) => row.id);
    if (!app.models.includes(app.model)) app.model = app.models[0] ?? null;
  },
};

function kept(asked) {
  return new URLSearchParams([...new URLSearchParams(asked)].filter(([, value]) => value.length <= LONGEST_KEPT));
}

// A bookmark may be older than what it names.
function whatIsGone(asked) {
  const gone = (what) => asked.get(what) && !app.models.includes(asked.get(what));
  const words = [gone("model") ? `There is no model “${asked.get("model")}” here, or not any more: what you see is ${app.model}.` : "",
    gone("compare") ? `There is no model “${asked.get("compare")}” to compare with.` : ""].filter(Boolean);
  return words.length ? [make("p", { class: "note", role: "status" }, words.join(" "))] : [];
}

async function show() {
  leave?.();
  leave = null;
  const view = address.view;
  const mine = (turn += 1);
  document.title = `${TITLES[view]} · glassgpt`;
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  try {
    await app.refresh();
    if (mine !== turn) return;
    const asked = address.asked;
    for (const [name, value] of new URLSearchParams(handed)) if (!asked.has(name)) asked.set(name, value);
    handed = {};
    if (app.models.includes(asked.get("model"))) app.model = asked.get("model");
    main.replaceChildren();
    leave = VIEWS[view](main, app, asked) ?? null;
    main.prepend(...whatIsGone(asked));
  } catch (problem) {
    if (mine === turn) main.replaceChildren(make("p", { class: "note", role: "alert" }, problem.message));
  }
}

// Its address would name another view, and leave the one that is shown.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
show();
