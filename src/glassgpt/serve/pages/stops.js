// The five stops of the lesson: what each says, what is to be tried, and the living piece of the page that it shows.

import { showAttention } from "./attention.js";
import { make, makeSelection, percent, visible } from "./base.js";
import { aboutAttention, aboutLayers, aboutPrediction, aboutTokens, aboutUnknown, headName, lookersBack } from "./findings.js";
import { showLens } from "./lens.js";
import { showTemperatures } from "./temperatures.js";
import { showTokens } from "./tokens.js";

export const STOPS = [
  {
    title: "Tokens",
    words: "A model reads neither letters nor words but tokens: pieces of text from a list that was made before its training. " +
      "Each has a number, and these numbers are all that the model ever sees.",
    task: "Type your own name, then a long word. How many tokens does your text become, and which numbers come again?",
    show: showCut, finding: aboutTokens, unknown: aboutUnknown,
  },
  {
    title: "Prediction",
    words: "All that a model can do is to say what comes next. After every token it gives each token of its list a " +
      "probability of coming next; the one that really comes surprises it little or much.",
    task: "Walk over the text with the pointer or the arrow keys. Which token glows most, and what was expected in its place?",
    show: (root, trace) => showTokens(root, trace, makeSelection(trace.tokens.length)), finding: aboutPrediction,
  },
  {
    title: "Attention",
    words: "To predict, a token may look back at those before it. It does so through heads, and each head has learned a way " +
      "of looking of its own.",
    task: "One head looks at the token just before more than all others: its map has a line right below the diagonal. " +
      "Press the small maps until you have found it.",
    show: showSearch, finding: aboutAttention, secret: true,
  },
  {
    title: "Layers",
    words: "Layer after layer adds to what the one before made of the text. One can ask at each depth: if you ended here, " +
      "what would you say? The last row is the real answer.",
    task: "Follow one column from top to bottom. Where does the final answer, in bold, appear, and what was thought before?",
    show: (root, trace) => showLens(root, trace, makeSelection(trace.tokens.length)), finding: aboutLayers,
  },
  {
    title: "Sampling",
    words: "The model gives probabilities; a text is made by drawing one token after the other. The temperature says how boldly: 0 always " +
      "takes the likeliest token, 1 draws as the model believes, more than 1 likes the unlikely.",
    task: "Read the three texts from the same beginning. Which would you go on reading? Choose another token in one of them.",
    show: showTemperatures,
  },
];

// The text in pieces, each with its number; the same number has the same colour wherever one points at it.
function showCut(root, trace) {
  const pieces = trace.tokens.map((token) => {
    const name = visible(token.name);
    return make("li", { "data-id": token.token_id, title: `${name} is number ${token.token_id}` }, make("code", {}, name), make("small", {}, String(token.token_id)));
  });
  const list = make("ol", { class: "cut", "aria-label": "the tokens of the text, each with its number" }, ...pieces);
  list.addEventListener("mouseover", (event) => {
    const id = event.target.closest("li")?.dataset.id;
    pieces.forEach((piece) => piece.classList.toggle("same", piece.dataset.id === id));
  });
  root.append(make("section", { "aria-label": "the text in tokens" }, list));
}

function showSearch(root, trace, { solved }) {
  const order = lookersBack(trace.attention);
  if (!order.length) return;
  const said = make("p", { class: "said found", role: "status" }, "You have pressed no map yet.");
  const judge = (layer, head) => {
    const place = order.findIndex((one) => one.layer === layer && one.head === head);
    const name = headName(order[place]);
    const much = `${name[0].toUpperCase()}${name.slice(1)} gives ${percent(order[place].share)} of its attention to the token just before.`;
    said.textContent = `${much} ${place ? "Another head does so more." : "That is the one: no other head does so more."}`;
    if (!place) solved();
  };
  const choose = showAttention(root, trace, makeSelection(trace.tokens.length), judge);
  const show = make("button", { type: "button", class: "plain", click: () => {
    choose(order[0].layer, order[0].head);
    judge(order[0].layer, order[0].head);
  } }, "Show me");
  root.prepend(make("div", { class: "row search" }, said, show));
}
