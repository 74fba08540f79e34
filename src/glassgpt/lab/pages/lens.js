// The logit lens: what each layer would say to come next, if the model ended there.

import { depthName, keepInView, make, percent, scrolling, section, strength, visible } from "./base.js";

const ABOUT_LAYERS =
  "Each column is a token, each row a layer, and the cell holds what the model would say to come next if it ended there: " +
  "its own last steps, taken early; the last row is its real prediction. Look for the depth at which the answer appears " +
  "(bold from where it is the final one) and for what the early layers think of, which is often the token itself.";

export function showLens(root, trace, selection) {
  if (!trace.lens.length) return;
  const columns = [];
  const header = make("tr", {}, make("th", { scope: "col" }, "after"));
  trace.tokens.forEach((token, place) => {
    const cell = make("th", { scope: "col", click: () => selection.choose(place) }, make("code", {}, visible(token.name)));
    columns.push([cell]);
    header.append(cell);
  });
  const final = trace.lens.at(-1);
  const body = trace.lens.map((guesses, depth) => {
    const row = make("tr", {}, make("th", { scope: "row" }, depthName(depth)));
    guesses.forEach((guess, place) => {
      const next = trace.tokens[place + 1];
      const right = next !== undefined && next.token_id === guess.token_id;
      const cell = make("td", {
        "--share": strength(guess.probability), class: guess.token_id === final[place].token_id ? "final" : null,
        title: `${visible(guess.name)}: ${percent(guess.probability)}${right ? ", and so it was" : ""}`,
        mouseenter: () => selection.point(place), mouseleave: () => selection.point(null), click: () => selection.choose(place),
      }, make("code", {}, visible(guess.name)), make("small", {}, percent(guess.probability) + (right ? " ✓" : "")));
      columns[place].push(cell);
      row.append(cell);
    });
    return row;
  });
  const table = make("table", { class: "lens" }, make("thead", {}, header), make("tbody", {}, ...body));
  const scroller = scrolling("what each layer would predict", table);
  section(root, "Layers", ABOUT_LAYERS, scroller);
  selection.follow((at) => {
    columns.forEach((cells, place) => cells.forEach((cell) => cell.classList.toggle("here", place === at)));
    keepInView(scroller, columns[at][0].offsetLeft, columns[at][0].offsetWidth);
  });
}
