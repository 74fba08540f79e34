// The text, each token in the colour of the probability that it had; and what was expected instead.

import { make, percent, section, strength, strip, visible } from "./base.js";

const ABOUT_TOKENS =
  "Each token has the colour of the probability that the model gave it after reading only what stands before it: calm " +
  "where it was expected, glowing where it was a surprise. Look for where the glow falls: on the first letters of words " +
  "and on names, if the model knows its language, and everywhere, if it does not yet.";

export function showTokens(root, trace, selection) {
  const { holder, buttons } = strip(trace.tokens, selection, "the text, token by token", described);
  buttons.forEach((button, place) => {
    const { probability } = trace.tokens[place];
    if (probability === undefined || probability === null) button.classList.add("given");
    else button.style.setProperty("--share", strength(probability));
  });
  const panel = make("div", { class: "panel", "aria-live": "polite" });
  selection.follow((at) => panel.replaceChildren(...story(trace, at)));
  const legend = make("p", { class: "legend" }, "surprise ", make("span", { class: "scale" }), " expected");
  section(root, "Tokens", ABOUT_TOKENS, legend, holder, panel);
}

function described(token) {
  const name = `“${visible(token.name)}”`;
  if (token.probability === null) return `${name}, the first token: nothing stands before it`;
  const others = token.expected.map((guess) => `${visible(guess.name)} ${percent(guess.probability)}`);
  return `${name}: ${percent(token.probability)}, ${token.bits.toFixed(2)} bits, rank ${token.rank}; expected: ${others.join(", ")}`;
}

function story(trace, at) {
  const token = trace.tokens[at];
  const parts = [make("h3", {}, `Token ${at + 1}: `, make("code", {}, visible(token.name)))];
  if (token.probability === null) {
    parts.push(make("p", {}, "The first token is given: the model could not expect anything yet."));
  } else {
    const facts = `It had ${percent(token.probability)}: a surprise of ${token.bits.toFixed(2)} bits, rank ${token.rank}. Expected here:`;
    parts.push(make("p", {}, facts), bars(token.expected, token.token_id));
  }
  if (at === trace.tokens.length - 1) parts.push(make("p", {}, "After the text the model expects:"), bars(trace.upcoming, null));
  return parts;
}

function bars(guesses, actual) {
  const rows = guesses.map((guess) => make("li", { class: guess.token_id === actual ? "actual" : null },
    make("code", {}, visible(guess.name)),
    make("span", { class: "bar" }, make("span", { "--length": `${(100 * guess.probability).toFixed(1)}%` })),
    make("span", { class: "number" }, percent(guess.probability))));
  return make("ol", { class: "bars" }, ...rows);
}
