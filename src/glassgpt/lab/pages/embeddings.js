// The vectors of tokens and of positions in a plane, and who is near whom.

import { draw, make, section, visible } from "./base.js";

const ABOUT_EMBEDDINGS =
  "Each dot is a token, placed by the two directions along which all token vectors differ most; those of your text are " +
  "filled. Look for groups (vowels, capitals, digits, names): tokens that are used alike come to lie together, and " +
  "nobody told the model which those are.";
const ABOUT_POSITIONS =
  "Each dot is a learned position, joined in their order along the text. Look for a thread or an arc: a model that has " +
  "trained long enough places neighbours side by side, and one that has not shows a ball of wool.";
const SIDE = 560;
const EDGE = 24;
const MOST_LABELS = 150;

export function showEmbeddings(root, trace) {
  const { tokens, positions, tokens_share, positions_share } = trace.embeddings;
  const used = new Set(trace.tokens.map((token) => token.token_id));
  if (tokens.length > 2) section(root, "Embeddings", ABOUT_EMBEDDINGS, ...plane(tokens, tokens_share, "token", used, false));
  if (positions.length > 2) section(root, "Positions", ABOUT_POSITIONS, ...plane(positions, positions_share, "position", new Set(), true));
}

function plane(points, share, what, used, joined) {
  const { place, height } = scale(points);
  const svg = draw("svg", { class: "plane", viewBox: `0 0 ${SIDE} ${height}`, role: "img", "aria-label": `${points.length} ${what}s in a plane` });
  if (joined) svg.append(draw("polyline", { class: "thread", points: points.map((point) => place(point).join(",")).join(" ") }));
  const ties = draw("g", { class: "ties" });
  svg.append(ties);
  const labelled = points.length <= MOST_LABELS;
  const dots = points.map((point, index) => {
    const [cx, cy] = place(point);
    const dot = draw("g", { class: used.has(point.token_id) ? "dot used" : "dot", mouseenter: () => choose(index), click: () => choose(index) },
      draw("circle", { cx, cy, r: 4 }), draw("title", {}, visible(point.name)));
    if (labelled || used.has(point.token_id)) dot.append(draw("text", { x: cx + 6, y: cy + 4 }, visible(point.name)));
    svg.append(dot);
    return dot;
  });
  const byName = new Map(points.map((point, index) => [point.name, index]));
  const list = make("select", { change: () => choose(Number(list.value)) },
    ...points.map((point, index) => make("option", { value: index }, visible(point.name))));
  const said = make("p", { class: "said", "aria-live": "polite" });

  function choose(index) {
    list.value = index;
    const point = points[index];
    const [x1, y1] = place(point);
    const near = new Set(point.near.map(([name]) => byName.get(name)));
    dots.forEach((dot, other) => {
      dot.classList.toggle("here", other === index);
      dot.classList.toggle("near", near.has(other));
    });
    ties.replaceChildren(...[...near].filter((other) => other !== undefined).map((other) => {
      const [x2, y2] = place(points[other]);
      return draw("line", { x1, y1, x2, y2 });
    }));
    const named = point.near.map(([name, cosine]) => `${visible(name)} (${cosine.toFixed(2)})`);
    said.textContent = `Nearest to “${visible(point.name)}” by cosine, in all dimensions: ${named.join(", ")}.`;
  }

  const first = points.findIndex((point) => used.has(point.token_id));
  choose(Math.max(0, first));
  const seen = make("p", { class: "legend" }, `The plane shows ${Math.round(100 * share)} % of how they differ.`);
  const control = make("label", {}, `${what} `, list);
  return [seen, control, said, svg];
}

// One scale for both axes, so that distances mean the same in each direction.
function scale(points) {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const unit = (SIDE - 2 * EDGE) / (Math.max(right - left, high - low) || 1);
  const height = unit * (high - low) + 2 * EDGE;
  return { height, place: ({ x, y }) => [SIDE / 2 + unit * (x - (left + right) / 2), height / 2 - unit * (y - (low + high) / 2)] };
}
