// Where each head looks: a small map of every head, one of them large, and the text in its light.
// What it returns shows another head.

import { make, percent, section, stepOf, strip, visible } from "./base.js";

const ABOUT_ATTENTION =
  "In a map each row is a token that looks, and each column one that it may look at: itself and those before it; the " +
  "stronger the colour, the more, and each row sums to 1. Look for a line beside the diagonal (a head that looks at the " +
  "token just before), upright stripes (one token that many look at, often the first), and heads that seek the same letter.";
const MOST_NAMED = 3;
const dark = matchMedia("(prefers-color-scheme: dark)");

// `told` hears which map was pressed; what comes back shows the map of a layer and head.
export function showAttention(root, trace, selection, told = () => {}) {
  if (!trace.attention.length) return () => {};
  const maps = [];
  let chosen = { layer: 0, head: 0 };
  const title = make("h3", { "aria-live": "polite" });
  const large = make("canvas", { class: "large", tabindex: "0", role: "img" });
  const marker = make("div", { class: "marker", "aria-hidden": "true" });
  const said = make("p", { class: "said", "aria-live": "polite" });
  const { holder, buttons } = strip(trace.tokens, selection, "the text in the light of this head", (token, place) =>
    `token ${place + 1}: ${visible(token.name)}`);
  const rows = () => trace.attention[chosen.layer][chosen.head];
  const count = trace.tokens.length;

  function look(at) {
    const row = rows()[at];
    const most = Math.max(...row);
    buttons.forEach((button, place) => {
      const weight = row[place] ?? 0;
      button.style.setProperty("--share", `${((100 * weight) / (most || 1)).toFixed(1)}%`);
      button.classList.toggle("unseen", place > at);
    });
    marker.style.top = `${(100 * at) / count}%`;
    marker.style.height = `${100 / count}%`;
    const best = Array.from(row, (weight, place) => [weight, place]).sort((a, b) => b[0] - a[0]).slice(0, MOST_NAMED);
    const named = best.map(([weight, place]) => `${place + 1} “${visible(trace.tokens[place].name)}” ${percent(weight)}`);
    said.textContent = `Token ${at + 1} “${visible(trace.tokens[at].name)}” looks at ${named.join(", ")}.`;
  }

  function choose(layer, head) {
    chosen = { layer, head };
    title.textContent = `Layer ${layer + 1}, head ${head + 1}`;
    large.setAttribute("aria-label", `attention map of layer ${layer + 1}, head ${head + 1}; arrow keys choose a row`);
    maps.forEach((map) => map.button.setAttribute("aria-pressed", String(map.layer === layer && map.head === head)));
    paint(large, rows());
    look(selection.at);
  }

  function press(layer, head) {
    choose(layer, head);
    told(layer, head);
  }

  large.addEventListener("mousemove", (event) => {
    const box = large.getBoundingClientRect();
    selection.point(Math.min(count - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * count))));
  });
  large.addEventListener("mouseleave", () => selection.point(null));
  large.addEventListener("click", () => selection.choose(selection.at));
  large.addEventListener("keydown", (event) => {
    const step = stepOf(event);
    if (step !== null) selection.choose(selection.at + step);
  });
  const overview = make("div", { class: "overview" });
  trace.attention.forEach((heads, layer) => {
    const line = make("div", { class: "heads", role: "group", "aria-label": `layer ${layer + 1}` });
    line.append(make("span", { class: "depth" }, `layer ${layer + 1}`));
    heads.forEach((weights, head) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      const name = `layer ${layer + 1}, head ${head + 1}`;
      const button = make("button", { type: "button", class: "map", "aria-label": name, title: name, click: () => press(layer, head) }, canvas);
      maps.push({ button, canvas, layer, head, weights });
      line.append(button);
    });
    overview.append(line);
  });
  const repaint = () => {
    maps.forEach((map) => paint(map.canvas, map.weights));
    paint(large, rows());
  };
  section(root, "Attention", ABOUT_ATTENTION, overview, title, make("div", { class: "pair" }, make("div", { class: "frame" }, large, marker), make("div", {}, said, holder)));
  choose(0, 0);
  repaint();
  selection.follow(look);
  dark.onchange = repaint; // in place of the last text's, which would otherwise be kept as long as the page is open
  return choose;
}

// One pixel for each weight, enlarged by the style; the root of a weight, or all but the largest would be invisible.
function paint(canvas, rows) {
  canvas.width = canvas.height = rows.length;
  const [red, green, blue] = getComputedStyle(document.documentElement).getPropertyValue("--heat").split(",").map(Number);
  const picture = new ImageData(rows.length, rows.length);
  rows.forEach((row, at) => row.forEach((weight, place) => {
    picture.data.set([red, green, blue, Math.round(255 * Math.sqrt(weight))], 4 * (at * rows.length + place));
  }));
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
