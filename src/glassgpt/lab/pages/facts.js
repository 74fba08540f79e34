// The facts of a tale: where the story tells them again, and which heads look back at them there.

import { make, percent, scrolling, section, strength, strip, visible } from "./base.js";

const ABOUT_FACTS =
  "Where the story tells a fact again, this is how much of its attention each head gave to the earlier mentions of that fact, " +
  "at the positions from which the new mention was predicted, beside what an even look over all that it saw would have given. " +
  "Look for one head far above the even share: it may be how the model remembers, though a share of attention is no proof.";
const HUES = [210, 28, 130, 320, 55, 265, 175, 0];

export function showFacts(root, trace, selection, showHead) {
  if (!trace.facts?.length) return;
  const owners = trace.tokens.map(() => null);
  trace.facts.forEach((fact, index) => fact.mentions.forEach((mention, number) => {
    for (let place = mention.first; place <= mention.last; place += 1) owners[place] = { index, mention, number };
  }));
  const { holder, buttons } = strip(trace.tokens, selection, "the story with its facts", (token, place) =>
    `token ${place + 1}: ${visible(token.name)}${owners[place] ? `, ${nameOf(trace.facts[owners[place].index])}` : ""}`);
  holder.classList.add("told");
  buttons.forEach((button, place) => paintFact(button, owners[place], place));
  const panel = make("div", { class: "fact-heads" });
  const rows = trace.facts.map((fact, index) => factRow(fact, index, () => choose(index)));

  function choose(index) {
    rows.forEach((each, other) => each.button.setAttribute("aria-pressed", String(other === index)));
    buttons.forEach((button, place) => button.classList.toggle("chosen", owners[place]?.index === index));
    panel.replaceChildren(...headsOf(trace.facts[index], selection, showHead));
  }

  const columns = ["fact", "told", "best head", "its share", "even share"].map((name) => make("th", { scope: "col" }, name));
  const list = make("table", { class: "facts" }, make("thead", {}, make("tr", {}, ...columns)), make("tbody", {}, ...rows.map((each) => each.line)));
  section(root, "Facts", ABOUT_FACTS, scrolling("the facts of the story", list), holder, panel);
  choose(Math.max(0, trace.facts.findIndex((fact) => fact.best)));
}

function nameOf(fact) {
  return fact.value ? `${fact.kind}: ${fact.value}` : fact.kind;
}

function headName({ layer, head }) {
  return `layer ${layer + 1}, head ${head + 1}`;
}

function hueOf(index) {
  return `hsl(${HUES[index % HUES.length]} 75% 50%)`;
}

// The colour of its fact, and behind the last token of a mention the fact's number, for colour alone says too little.
function paintFact(button, owner, place) {
  if (!owner) return;
  button.classList.add("fact");
  button.classList.toggle("wrong", !owner.mention.right);
  button.style.setProperty("--colour", hueOf(owner.index));
  if (owner.mention.last === place) button.setAttribute("data-fact", owner.index + 1);
}

function factRow(fact, index, choose) {
  const label = `${index + 1} ${nameOf(fact)}`;
  const attributes = { type: "button", class: "fact-name", "--colour": hueOf(index), "aria-label": label, click: choose };
  const button = make("button", attributes, label);
  const wrong = fact.mentions.filter((mention) => !mention.right).map((mention) => `“${mention.text}”`);
  const name = make("th", { scope: "row" }, button, ...(wrong.length ? [make("small", {}, ` but then ${wrong.join(", ")}`)] : []));
  const numbers = fact.best
    ? [headName(fact.best) + (fact.best.follows ? ", follows" : ""), percent(fact.best.share), percent(fact.heads.even)]
    : ["–", "–", "–"];
  const line = make("tr", {}, name, make("td", {}, String(fact.mentions.length)), ...numbers.map((text) => make("td", {}, text)));
  return { line, button };
}

// All heads for one fact: on average, or where one mention of it was predicted.
function headsOf(fact, selection, showHead) {
  const title = make("h3", {}, nameOf(fact));
  if (!fact.heads) return [title, make("p", {}, "It is told only once here, so no head has anything to look back at.")];
  const scored = fact.mentions.filter((mention) => mention.heads);
  const said = make("p", { class: "said", "aria-live": "polite" });
  const grid = make("div", {});
  const list = make("select", { change: () => show() }, make("option", { value: -1 }, `on average over ${scored.length}`),
    ...scored.map((mention, number) => make("option", { value: number }, `“${mention.text}”, token ${mention.first + 1}`)));

  function show() {
    const mention = scored[Number(list.value)];
    const heads = (mention ?? fact).heads;
    if (mention) selection.choose(mention.first - 1);
    const best = bestOf(heads.shares);
    const times = heads.shares[best.layer][best.head] / heads.even;
    said.textContent = `An even look would give ${percent(heads.even)}. Here ${headName(best)} looks back most: ` +
      `${percent(heads.shares[best.layer][best.head])}, ${times.toFixed(1)} times as much.`;
    grid.replaceChildren(scrolling("the share of each head", headTable(heads.shares, best, showHead)));
  }

  show();
  return [title, make("label", {}, "where it is told again: ", list), said, grid];
}

function bestOf(shares) {
  const all = shares.flatMap((heads, layer) => heads.map((share, head) => ({ layer, head, share })));
  return all.reduce((best, one) => (one.share > best.share ? one : best));
}

function headTable(shares, best, showHead) {
  const header = make("tr", {}, make("td", {}), ...shares[0].map((_, head) => make("th", { scope: "col" }, `head ${head + 1}`)));
  const lines = shares.map((heads, layer) => make("tr", {}, make("th", { scope: "row" }, `layer ${layer + 1}`),
    ...heads.map((share, head) => make("td", {}, headButton({ layer, head }, share, best, showHead)))));
  return make("table", { class: "head-grid" }, make("thead", {}, header), make("tbody", {}, ...lines));
}

function headButton(place, share, best, showHead) {
  const isBest = place.layer === best.layer && place.head === best.head;
  const label = `${headName(place)}: ${percent(share)}${isBest ? ", the most" : ""}; show it under Attention`;
  const attributes = { type: "button", class: isBest ? "share best" : "share", "--share": strength(share), "aria-label": label, title: label };
  return make("button", { ...attributes, click: () => showHead(place.layer, place.head) }, percent(share));
}
