// Numbers along the text: how surprised the model was by each token, and how long its vectors are.

import { depthName, draw, keepInView, make, scrolling, section, visible } from "./base.js";

const ABOUT_SURPRISE =
  "The height of a bar is how many bits the model would need to write this token down: 1 bit is the toss of a coin, and " +
  "the dashed line is the average, which training lowers. Look for tall bars at the beginnings of words and low ones " +
  "inside them: a word, once begun, is easy to finish.";
const ABOUT_NORMS =
  "Each line is the length of every token's vector behind one layer: blocks only add to this stream, so it mostly grows. " +
  "Look for the layer where it grows most, and for single tokens that tower over the others, often the first: heads " +
  "that have nothing to say rest their attention there.";
const STEP = 18;
const HEIGHT = 150;
const FOOT = 26;
const LEFT = 34;

export function showSurprise(root, trace, selection) {
  const bits = trace.tokens.map((token) => token.bits);
  const most = Math.max(1, ...bits.filter((value) => value !== null));
  const { svg, y } = frame(trace, most, selection, "bits of surprise by token");
  bits.forEach((value, place) => {
    if (value === null) return;
    const name = `${visible(trace.tokens[place].name)}: ${value.toFixed(2)} bits`;
    svg.append(draw("rect", { class: "surprise", x: x(place) - STEP / 2 + 2, y: y(value), width: STEP - 4, height: HEIGHT - y(value) },
      draw("title", {}, name)));
  });
  if (trace.mean_bits !== null) {
    const line = { class: "mean", x1: LEFT, x2: x(trace.tokens.length), y1: y(trace.mean_bits), y2: y(trace.mean_bits) };
    svg.append(draw("line", line, draw("title", {}, `${trace.mean_bits.toFixed(2)} bits on average`)));
  }
  const words = trace.mean_bits === null ? "" : `${trace.mean_bits.toFixed(2)} bits per token on average`;
  section(root, "Surprise", ABOUT_SURPRISE, make("p", { class: "legend" }, words), moving("bits of surprise by token", svg, selection));
}

export function showNorms(root, trace, selection) {
  if (!trace.norms.length) return;
  const { svg, y } = frame(trace, Math.max(...trace.norms.flat()), selection, "length of each token's vector by layer");
  const legend = make("p", { class: "legend" });
  trace.norms.forEach((row, depth) => {
    const colour = `hsl(${Math.round(210 - (190 * depth) / Math.max(1, trace.norms.length - 1))} 65% 50%)`;
    const points = row.map((norm, place) => `${x(place)},${y(norm)}`).join(" ");
    svg.append(draw("polyline", { class: "norm", points, "--colour": colour }, draw("title", {}, depthName(depth))));
    row.forEach((norm, place) => svg.append(draw("circle", { class: "norm", cx: x(place), cy: y(norm), r: 3, "--colour": colour },
      draw("title", {}, `${depthName(depth)}, ${visible(trace.tokens[place].name)}: ${norm.toFixed(2)}`))));
    legend.append(make("span", { class: "key", "--colour": colour }, depthName(depth)), " ");
  });
  section(root, "Norms", ABOUT_NORMS, legend, moving("length of each token's vector by layer", svg, selection));
}

function moving(label, svg, selection) {
  const scroller = scrolling(label, svg);
  selection.follow((at) => keepInView(scroller, x(at) - STEP / 2, STEP));
  return scroller;
}

function x(place) {
  return LEFT + STEP * (place + 0.5);
}

// Axes, the tokens below, and a light band behind the token that one looks at.
function frame(trace, most, selection, label) {
  const width = LEFT + STEP * trace.tokens.length + 8;
  const svg = draw("svg", { class: "curve", width, height: HEIGHT + FOOT, viewBox: `0 0 ${width} ${HEIGHT + FOOT}`, role: "img", "aria-label": label });
  const band = draw("rect", { class: "band", y: 0, width: STEP, height: HEIGHT + FOOT });
  svg.append(band);
  const y = (value) => HEIGHT - (HEIGHT - 12) * (value / (most || 1));
  for (const value of [0, most / 2, most]) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value < 10 ? value.toPrecision(2) : String(Math.round(value))));
  }
  trace.tokens.forEach((token, place) => {
    svg.append(draw("text", { class: "under", x: x(place), y: HEIGHT + 16, "text-anchor": "middle" }, shortened(visible(token.name))));
    svg.append(draw("rect", { class: "sense", x: x(place) - STEP / 2, y: 0, width: STEP, height: HEIGHT + FOOT,
      mouseenter: () => selection.point(place), mouseleave: () => selection.point(null), click: () => selection.choose(place) }));
  });
  selection.follow((at) => band.setAttribute("x", x(at) - STEP / 2));
  return { svg, y };
}

function shortened(name) {
  const letters = [...name];
  return letters.length > 2 ? `${letters[0]}…` : name;
}
