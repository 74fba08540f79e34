// What the lesson says about the visitor's own model, read from a trace and from stories: sentences with its numbers.

import { depthName, percent, visible } from "./base.js";
import { shownName } from "./odds.js";
import { figures, probability } from "./story.js";

const quoted = (name) => `“${visible(name)}”`;
const many = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

export function aboutTokens({ tokens, tokens_left_out: left, model, unsent }, text) {
  const all = tokens.length + left;
  const letters = [...text].length - unsent;
  const kind = model.tokenizer === "char" ? "each of them one character" : "pieces of text that it found to be frequent";
  const cut = `Your model knows ${many(model.vocab_size, "token")}, ${kind}. Your text has ${many(letters, "character")}${unsent ? " that it reads" : ""} and became ${many(all, "token")}`;
  const longest = tokens.reduce((best, token) => (token.name.length > best.name.length ? token : best));
  const size = longest.name.length > 1 ? `, ${(letters / all).toFixed(1)} characters each; the longest is ${quoted(longest.name)}.` : ".";
  const counts = new Map();
  tokens.forEach((token) => counts.set(token.token_id, (counts.get(token.token_id) ?? 0) + 1));
  const often = tokens.reduce((best, token) => (counts.get(token.token_id) > counts.get(best.token_id) ? token : best));
  const times = counts.get(often.token_id);
  return cut + size + (times > 1 ? ` ${quoted(often.name)} stands ${left ? "in what you see" : "there"} ${times} times, each time as number ${often.token_id}.` : "");
}

export function aboutUnknown(letter) {
  return `Your model's text never had a “${visible(shownName({ name: letter }))}”, so it has no token for it: this model knows the characters of its own text, and no others. ` +
    "Try your name with another letter in its place.";
}

export function aboutPrediction({ tokens, mean_bits: mean, model }) {
  const told = tokens.filter((token) => token.bits !== null && token.bits !== undefined);
  if (!told.length) return "The first token is given. Type at least one more, and the model will have expected something.";
  const most = told.reduce((best, token) => (token.bits > best.bits ? token : best));
  const [best] = most.expected;
  const first = best.token_id === most.token_id ? "it was its own first choice, and yet not sure"
    : `it rather expected ${quoted(best.name)} with ${percent(best.probability)}`;
  const blind = Math.log2(model.vocab_size);
  const why = mean > blind ? " So here it does worse than blind guessing: it is sure of what its own texts are like, and pays for every surprise in a text that is unlike them." : "";
  return `Your model was surprised most by ${quoted(most.name)}, token ${tokens.indexOf(most) + 1}: it had given it ${percent(most.probability)}, ` +
    `which makes ${most.bits.toFixed(2)} bits; ${first}. Over the whole text it needs ${mean.toFixed(2)} bits per token; ` +
    `guessing blindly among its ${model.vocab_size.toLocaleString("en")} tokens would take ${blind.toFixed(2)}.${why}`;
}

// How much of its attention each head gives to the token just before, on average; the one that gives most comes first.
export function lookersBack(attention) {
  const shares = attention.flatMap((heads, layer) => heads.map((rows, head) => {
    const back = Array.from(rows).slice(1).map((row, place) => row[place]);
    return { layer, head, share: back.reduce((sum, weight) => sum + weight, 0) / (back.length || 1) };
  }));
  return shares.sort((a, b) => b.share - a.share);
}

export function headName({ layer, head }) {
  return `layer ${layer + 1}, head ${head + 1}`;
}

// What a head would give to it that looks at all it may see alike.
export function evenShare(count) {
  const rows = Array.from({ length: Math.max(0, count - 1) }, (_, place) => 1 / (place + 2));
  return rows.reduce((sum, share) => sum + share, 0) / (rows.length || 1);
}

export function aboutAttention({ attention, tokens }) {
  if (!attention.length) return "This model has no attention: it looks at the last token only.";
  if (tokens.length < 3) return "Type a longer text: with so few tokens a head has nowhere else to look.";
  const [best, second] = lookersBack(attention);
  const even = percent(evenShare(tokens.length));
  const next = second ? ` Next comes ${headName(second)} with ${percent(second.share)}.` : "";
  const much = best.share > 2 * evenShare(tokens.length)
    ? "" : " That is not much: your model has no head for this yet; longer training often brings one about.";
  return `In your model it is ${headName(best)}: on average ${percent(best.share)} of its attention lies on the token just before. ` +
    `A head that looks at everything alike would give ${even}.${next}${much}`;
}

// For each token: the depth from which on the final answer stands there.
export function settledDepths(lens) {
  const final = lens.at(-1);
  return final.map((answer, place) => {
    let depth = lens.length - 1;
    while (depth > 0 && lens[depth - 1][place].token_id === answer.token_id) depth -= 1;
    return depth;
  });
}

export function aboutLayers({ lens, tokens }) {
  if (!lens.length) return "This model has no layers between its first table and its answer.";
  const depths = settledDepths(lens);
  const last = lens.at(-1).at(-1);
  const since = depths.at(-1) === lens.length - 1 ? "it came with the last layer only" : `it stood there from ${depthName(depths.at(-1))} on`;
  const counts = lens.map((_, depth) => depths.filter((one) => one === depth).length);
  const places = lens.map((_, depth) => depth === 0 ? "already in the embedding" : `${depth === lens.length - 1 ? "only " : ""}in ${depthName(depth)}`);
  const shares = counts.map((count, depth) => count && `${percent(count / depths.length)} ${count === 1 ? "was" : "were"} settled ${places[depth]}`).filter(Boolean);
  const right = lens.at(-1).slice(0, -1).filter((guess, place) => guess.token_id === tokens[place + 1].token_id).length;
  return `After the whole text your model expects ${quoted(last.name)} with ${percent(last.probability)}; ${since}. ` +
    `Of its ${many(depths.length, "answer")}, one after each token, ${listed(shares)}.` +
    (tokens.length > 1 ? ` Of ${many(tokens.length - 1, "answer")} that can be checked ${right} ${right === 1 ? "was" : "were"} right.` : "");
}

// Stories that were written at different temperatures from the same beginning.
export function aboutSampling(stories) {
  const told = stories.filter((story) => figures(story).mean !== null);
  if (told.length < 2) return "";
  const written = (story) => story.tokens.slice(story.given).filter((token) => token.logprob !== null && !token.chosen);
  const firsts = told.map((story) => {
    const all = written(story);
    const share = all.filter((token) => token.id === token.odds[0]?.id).length / all.length;
    return `${percent(share)} of the time at temperature ${story.settings.temperature}`;
  });
  const means = told.map((story) => figures(story).mean.toFixed(2));
  const rarest = told.flatMap(written).reduce((least, token) => (token.logprob < least.logprob ? token : least));
  return `Your model took its own first choice ${listed(firsts)}. What it wrote surprised it by ${listed(means)} bits per token. ` +
    `The boldest draw of all was ${quoted(shownName(rarest))}, to which it had given ${percent(probability(rarest))}.`;
}

function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
