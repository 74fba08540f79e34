// What else a token could have been: a small panel beside it, under the pointer or the keyboard, from which another
// token can be chosen. On a phone it lies at the foot of the screen.

import { make, percent, stepOf, visible } from "./base.js";
import { bits, probability } from "./story.js";

const PATIENCE_MS = 120; // so that the way from a token to its panel may cross others
const EDGE = 6;
const ABOUT = "What the model itself believed here, before temperature and filters. Choose another, and the text goes on from there.";

// `choose(card, at, choice)` is called with what was chosen; `signal` ends the listening to the whole page.
export function makeOdds(root, choose, signal) {
  const panel = make("div", { class: "odds", role: "dialog", "aria-label": "what else could stand here", hidden: "" });
  let shown = null;
  let next = null; // what the pointer is at, and will be shown if it stays
  let timer = 0;
  root.append(panel);
  const later = (act) => {
    clearTimeout(timer);
    timer = setTimeout(act, PATIENCE_MS);
  };

  function show(card, at, pinned) {
    clearTimeout(timer);
    shown?.card.light(shown.at, false);
    shown = { card, at, pinned };
    const token = card.story.tokens[at];
    panel.replaceChildren(...content(token, (choice) => {
      close();
      choose(card, at, choice);
    }));
    panel.hidden = false;
    card.light(at, true);
    place(panel, root, card.span(at));
    if (pinned) uncover(panel, card.span(at));
  }

  function close({ focus = false } = {}) {
    clearTimeout(timer);
    if (!shown) return;
    const { card, at } = shown;
    card.light(at, false);
    shown = next = null;
    panel.hidden = true;
    if (focus) card.focus(at);
  }

  panel.addEventListener("mouseenter", () => {
    clearTimeout(timer);
    next = shown;
  });
  panel.addEventListener("mouseleave", () => !shown?.pinned && later(close));
  panel.addEventListener("keydown", (event) => walk(event, panel, () => close({ focus: true })));
  addEventListener("keydown", (event) => event.key === "Escape" && close(), { signal });
  addEventListener("pointerdown", (event) => event.target.closest?.(".odds, .tok") ?? close(), { signal });
  return {
    point(card, at) {
      if (shown?.pinned || (next?.card === card && next.at === at)) return;
      next = { card, at };
      later(() => show(card, at, false));
    },
    leave() {
      next = null;
      if (!shown?.pinned) later(close);
    },
    pin(card, at, { focus = false } = {}) {
      show(card, at, true);
      if (focus) panel.querySelector("button:not(:disabled)")?.focus();
    },
    follow: (card, at) => show(card, at, false), // the keyboard walks, and the panel with it
    closeFor: (card) => shown?.card === card && close(),
  };
}

function content(token, choose) {
  const share = probability(token);
  const name = make("code", {}, visible(shownName(token)));
  const head = make("p", { class: "what" }, name, token.chosen ? " your choice" : token.given ? " given" : "");
  if (share === null) return [head, make("p", { class: "hint" }, "Nothing stands before it, so nothing was expected.")];
  head.append(make("span", { class: "number" }, `${percent(share)} · ${bits(token).toFixed(2)} bits`));
  const others = token.odds.some((one) => one.id === token.id) ? token.odds : [...token.odds, token];
  const rows = others.map((one) => make("li", {}, choiceOf(one, one.id === token.id, choose)));
  return [head, make("ol", { class: "choices" }, ...rows), make("p", { class: "hint" }, ABOUT)];
}

function choiceOf(one, isActual, choose) {
  const share = Math.exp(one.logprob);
  const name = visible(shownName(one));
  return make("button", {
    type: "button", class: isActual ? "choice-row actual" : "choice-row", disabled: isActual ? "" : null,
    "aria-label": `${name}, ${percent(share)}${isActual ? ", this is what stands here" : ""}`,
    click: () => choose({ id: one.id, name: one.name, logprob: one.logprob }),
  }, make("code", {}, name), make("span", { class: "bar" }, make("span", { "--length": length(share) })),
    make("span", { class: "number" }, percent(share)));
}

function length(share) {
  return `${(100 * share).toFixed(1)}%`;
}

// What `visible` leaves unseen: breaks of the line, and characters that have no look.
export function shownName({ name }) {
  const seen = name.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replace(/^bytes:/, "");
  return seen.replace(/\p{C}/gu, (sign) => `\\x${sign.codePointAt(0).toString(16).padStart(2, "0")}`);
}

export function describe(token) {
  const name = `“${visible(shownName(token))}”`;
  if (token.logprob === null) return `${name}, given`;
  const others = token.odds.slice(0, 5).map((one) => `${visible(shownName(one))} ${percent(Math.exp(one.logprob))}`);
  const own = `${percent(probability(token))}, ${bits(token).toFixed(2)} bits`;
  return `${name}${token.chosen ? ", your choice" : token.given ? ", given" : ""}: ${own}; expected: ${others.join(", ")}; Enter to choose another`;
}

function walk(event, panel, leave) {
  if (event.key === "Escape") {
    event.stopPropagation();
    return leave();
  }
  const step = stepOf(event);
  if (step === null) return;
  const buttons = [...panel.querySelectorAll("button:not(:disabled)")];
  const at = buttons.indexOf(document.activeElement) + step;
  buttons[Math.min(buttons.length - 1, Math.max(0, at))]?.focus();
}

// Right below its token, or above it where there is more room; the two touch, so that the pointer can cross over.
function place(panel, root, span) {
  const box = root.getBoundingClientRect();
  const rect = span.getClientRects()[0] ?? span.getBoundingClientRect();
  const left = Math.min(document.documentElement.clientWidth - panel.offsetWidth - EDGE, rect.left + rect.width / 2 - panel.offsetWidth / 2);
  const below = rect.bottom + panel.offsetHeight <= innerHeight || rect.top < panel.offsetHeight;
  panel.style.setProperty("--x", `${Math.max(EDGE, left) - box.left}px`);
  panel.style.setProperty("--y", `${(below ? rect.bottom : rect.top - panel.offsetHeight) - box.top}px`);
}

// At the foot of a small screen the panel would lie upon its token.
function uncover(panel, span) {
  const hidden = span.getBoundingClientRect().bottom - panel.getBoundingClientRect().top;
  if (hidden > 0 && getComputedStyle(panel).position === "fixed") scrollBy(0, hidden + EDGE);
}
