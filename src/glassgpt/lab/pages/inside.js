// "Inside": all views of one trace, in the order in which a token travels. A server hands over the same trace.

import { make, makeSelection } from "./base.js";
import { showAttention } from "./attention.js";
import { showNorms, showSurprise } from "./curves.js";
import { showEmbeddings } from "./embeddings.js";
import { showFacts } from "./facts.js";
import { showLens } from "./lens.js";
import { showTokens } from "./tokens.js";

export function showInside(root, trace) {
  const selection = makeSelection(trace.tokens.length);
  if (trace.tokens_left_out) {
    const words = `The text is longer than the model can look at: its first ${trace.tokens_left_out} tokens are left out.`;
    root.append(make("p", { class: "note" }, words));
  }
  showTokens(root, trace, selection);
  showSurprise(root, trace, selection);
  const showHead = showAttention(root, trace, selection);
  showFacts(root, trace, selection, showHead);
  showLens(root, trace, selection);
  showNorms(root, trace, selection);
  showEmbeddings(root, trace);
}
