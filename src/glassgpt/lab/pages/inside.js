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
  if (trace.tokens_left_out || trace.unsent) root.append(make("p", { class: "note" }, whatIsLeftOut(trace)));
  showTokens(root, trace, selection);
  showSurprise(root, trace, selection);
  const showHead = showAttention(root, trace, selection);
  showFacts(root, trace, selection, showHead);
  showLens(root, trace, selection);
  showNorms(root, trace, selection);
  showEmbeddings(root, trace);
}

// A server looks at less of a text than the model could, where its maps would be too many to send.
export function whatIsLeftOut({ tokens, tokens_left_out: left, model, unsent = 0 }) {
  const shown = unsent
    ? `The first ${unsent.toLocaleString("en")} characters of the text are not read at all. What you see are the last ${tokens.length} tokens of the rest; the ${left.toLocaleString("en")} before are left out.`
    : `What you see are the last ${tokens.length} tokens of the text; the first ${left} are left out.`;
  return model?.context > tokens.length
    ? `${shown} The model itself looks at ${model.context}, this page at no more than these.`
    : `${shown} The model cannot look at more.`;
}
