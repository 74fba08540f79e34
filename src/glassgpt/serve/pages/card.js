// A story on the page: it reads as prose, and behind each token lies the colour of its probability. Only the token
// that one looks at is a stop for the Tab key; arrows walk, Enter opens what else could stand there.

import { make, percent, stepOf, strength } from "./base.js";
import { describe, shownName } from "./odds.js";
import { figures, goBack, isHidden, probability, shownPart, textOfStory } from "./story.js";

const ENDS = { stop: "came to its end", length: "reached its length", stopped: "stopped", failed: "failed" };

// `app` leads on to the view Inside; `odds` is the panel; `say` tells what was done, for those who listen.
export function makeCard(story, { app, odds, say }) {
  const prose = make("div", { class: "prose", role: "group", "aria-label": `${story.label}, token by token; arrow keys walk through it` });
  const facts = make("p", { class: "figures" });
  const remark = make("p", { class: "remark", role: "status", hidden: "" });
  const problem = make("p", { class: "note", hidden: "" });
  const branches = make("ol", { class: "branches", "aria-label": "branches taken", hidden: "" });
  const back = make("button", { type: "button", class: "plain", hidden: "", click: () => undo(story.branches.length - 1) }, "Back");
  const element = make("article", { class: "story", "aria-label": story.label },
    make("header", {}, make("h3", {}, story.label), facts), branches, remark, prose, problem,
    make("footer", {}, back,
      make("button", { type: "button", class: "plain", click: () => copy(textOfStory(story), say) }, "Copy"),
      make("button", { type: "button", class: "plain", click: () => app.go("inside", { model: story.model, text: textOfStory(story) }) }, "Look inside")));
  const drawn = { tokens: [], version: story.version, ending: Infinity };
  let current = -1;

  const card = {
    element, story,
    span: (at) => prose.children[at],
    light: (at, on) => card.span(at)?.classList.toggle("here", on),
    focus(at) {
      stopAt(at);
      card.span(at)?.focus();
    },
    paint() {
      if (drawn.version !== story.version) forget();
      const fresh = story.tokens.slice(drawn.tokens.length).map((token, place) => spanOf(story, token, drawn.tokens.length + place));
      drawn.tokens = story.tokens.slice();
      prose.append(...fresh);
      if (!card.span(current)?.hasAttribute("tabindex")) stopAt(Math.min(current < 0 ? story.given : current, story.tokens.length - 1));
      if (story.finish === "stop") markEnding();
      prose.classList.toggle("writing", story.feed !== null);
      facts.replaceChildren(...factsOf(story));
      for (const [note, words] of [[remark, story.remark], [problem, story.problem]]) {
        note.hidden = !words;
        if (note.textContent !== (words ?? "")) note.textContent = words ?? "";
      }
    },
  };

  // After a branch or a way back: what still stands stays as it is drawn.
  function forget() {
    odds.closeFor(card);
    const same = drawn.tokens.findIndex((token, place) => token !== story.tokens[place]);
    const keep = Math.min(same < 0 ? drawn.tokens.length : same, drawn.ending);
    while (prose.children.length > keep) prose.lastChild.remove();
    Object.assign(drawn, { tokens: drawn.tokens.slice(0, keep), version: story.version, ending: Infinity });
    back.hidden = branches.hidden = !story.branches.length;
    branches.replaceChildren(...story.branches.map((one, level) => crumb(one, () => undo(level))));
  }

  // The button may be gone with its branch: the keyboard stays where the story had turned.
  function undo(level) {
    const { at } = story.branches[level];
    goBack(story, level);
    card.paint();
    card.focus(at);
  }

  function markEnding() {
    for (let at = story.tokens.length - 1; at >= story.given; at -= 1) {
      const token = story.tokens[at];
      const part = shownPart(story, token);
      if (part === token.text) return;
      drawn.ending = at;
      const span = card.span(at);
      span.textContent = part;
      span.append(make("span", { class: "end-sign" }, shownName({ name: token.text.slice(part.length) })));
      span.classList.add("ending");
    }
  }

  function stopAt(at) {
    for (const name of ["tabindex", "role", "aria-label", "aria-haspopup"]) card.span(current)?.removeAttribute(name);
    current = at;
    const span = card.span(at);
    if (!span) return;
    const told = { tabindex: "0", role: "button", "aria-label": describe(story.tokens[at]), "aria-haspopup": "dialog" };
    Object.entries(told).forEach(([name, value]) => span.setAttribute(name, value));
  }

  const placeOf = (event) => {
    const span = event.target.closest(".tok");
    return span ? Number(span.dataset.at) : null;
  };
  prose.addEventListener("mousemove", (event) => { // text that moves under a pointer at rest is not pointed at
    const at = placeOf(event);
    if (at !== null) odds.point(card, at);
  });
  prose.addEventListener("mouseleave", odds.leave);
  prose.addEventListener("click", (event) => {
    const at = placeOf(event);
    if (at === null) return;
    stopAt(at);
    odds.pin(card, at, { focus: event.detail === 0 }); // a click that no pointer made comes from a screen reader
  });
  prose.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return odds.pin(card, current, { focus: true });
    }
    const step = stepOf(event);
    if (step === null) return;
    const first = story.tokens.findIndex((_, place) => !isHidden(story, place));
    const next = Math.min(story.tokens.length - 1, Math.max(first, current + step));
    card.focus(next);
    odds.follow(card, next);
  });
  return card;
}

function spanOf(story, token, place) {
  const share = probability(token);
  const kinds = ["tok", token.given || share === null ? "given" : "", token.chosen ? "chosen" : "",
    token.text === "" ? "part" : "", token.text.startsWith("\n") ? "break" : ""];
  return make("span", {
    class: kinds.filter(Boolean).join(" "), "data-at": place, "--share": share === null ? "100%" : strength(share),
    hidden: isHidden(story, place) ? "" : null,
  }, token.text);
}

function factsOf(story) {
  const { count, mean, rate } = figures(story);
  const words = [`${count.toLocaleString("en")} ${count === 1 ? "token" : "tokens"}`];
  if (rate) words.push(`${Math.round(rate).toLocaleString("en")} tokens/s`);
  if (mean !== null) words.push(`${mean.toFixed(2)} bits per token`);
  words.push(story.finish ? ENDS[story.finish] : story.tokens.length ? "writing…" : "waiting…");
  return [words.join(" · ")];
}

function crumb({ from, to }, undo) {
  const [before, after] = [shownName(from), shownName(to)].map((name) => name.replaceAll(" ", "␣"));
  const told = `instead of “${before}” “${after}” (${percent(Math.exp(to.logprob))})`;
  return make("li", {}, make("button", { type: "button", title: `back to before: ${told}`, "aria-label": `back to before ${told}`, click: undo },
    make("code", {}, before), " → ", make("code", {}, after)));
}

// The clipboard is closed to pages without TLS, other than those of this machine.
async function copy(text, say) {
  try {
    await navigator.clipboard.writeText(text);
    say("copied");
  } catch {
    say("the browser does not let this page copy; select the text and copy it yourself");
  }
}
