// One text while it is written: its tokens, what else each could have been, and the branches that were taken.
// No element of the page is touched here; who shows a story calls `changed` to hear of it.

const MARGIN = 8; // tokens without a text of their own: pieces of characters

export function makeStory({ model, label, settings, seed, opening }) {
  return {
    model, label, settings, seed, opening,
    tokens: [], branches: [], finish: null, problem: null,
    feed: null, // who may add to it: an older request that still comes in is not listened to
    fingerprint: null, // of the model that wrote it
    remark: null, // that the model has changed since
    given: 0, // tokens of the prompt, at the beginning
    shownLength: 0, // characters that belong to the text, as the server counts: a stop that was met does not
    length: 0, begun: null, ended: null, timed: 0, version: 0,
    decoder: newDecoder(), changed: () => {},
  };
}

// What one piece of the server's stream adds; the first piece is the prompt, where it is echoed.
export function hear(story, piece) {
  const { logprobs, text, finish_reason: finish } = piece;
  const isPrompt = story.tokens.length === 0;
  (logprobs?.token_ids ?? []).forEach((id, place) => {
    const odds = oddsOf(logprobs.top_logprobs[place], logprobs.top_token_ids[place]);
    add(story, { id, name: logprobs.tokens[place], logprob: logprobs.token_logprobs[place], odds, given: isPrompt });
  });
  story.shownLength += text.length;
  if (isPrompt) {
    story.given = story.tokens.length;
    story.hidden = story.opening !== null; // the end of another story, which only the model reads
  } else measure(story);
  if (finish) end(story, finish);
  else if (story.branches.length && stopIn(story)) end(story, "stop");
  story.changed();
}

// A run that trains on, or anew, puts another model in the place of the one that began the story.
export function hearModel(story, fingerprint) {
  if (!fingerprint) return;
  story.fingerprint ??= fingerprint;
  if (story.fingerprint === fingerprint) return;
  story.fingerprint = fingerprint;
  story.remark = `${story.model} has changed since this text was begun. The new one has read the text and cut it into tokens anew; ` +
    "what follows your choice is its own, the colours before it are still the old one's.";
}

// With what only the model reads.
export function wholeText(story) {
  return story.tokens.map((token) => token.text).join("");
}

function add(story, { id, name, logprob, odds, given = false, chosen = false }) {
  const text = textOf(story, name);
  const token = { id, name, text, logprob, odds, given, chosen, from: story.length };
  story.length += text.length;
  story.tokens.push(token);
}

function measure(story) {
  const now = performance.now();
  story.begun ??= now;
  story.ended = now;
  story.timed += 1;
}

export function end(story, finish, problem = null) {
  story.finish = finish;
  story.problem = problem;
  story.feed = null;
  story.changed();
}

// Likeliest first. A dictionary's own order is not the server's where names are digits, so they are sorted; of
// tokens that are called alike one would stand for both: then it is not said.
function oddsOf(named, ids) {
  const pairs = Object.entries(named ?? {}).sort((a, b) => b[1] - a[1]);
  if (pairs.length !== ids.length) return [];
  return pairs.map(([name, logprob], place) => ({ id: ids[place], name, logprob }));
}

// A character may come in pieces; it appears with its last one.
function textOf(story, name) {
  if (!name.startsWith("bytes:\\x")) return story.decoder.decode(new Uint8Array(), { stream: false }) + name;
  const bytes = Uint8Array.from(name.slice(6).match(/[0-9a-f]{2}/g), (pair) => parseInt(pair, 16));
  return story.decoder.decode(bytes, { stream: true });
}

function newDecoder() {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

// The server looks for a stop in what it writes itself; behind a branch one may have begun before.
function stopIn(story) {
  const { stop } = story.settings;
  if (!stop) return false;
  const recent = story.tokens.slice(Math.max(story.given, story.tokens.length - stop.length - MARGIN));
  const at = recent.map((token) => token.text).join("").indexOf(stop);
  if (at < 0) return false;
  story.shownLength = recent[0].from + at;
  return true;
}

// The story up to a token and another one in its place; what stood there is kept. Returns the ids to go on from.
export function branch(story, at, choice) {
  const from = story.tokens[at];
  const { tokens, finish, problem, fingerprint, remark, given, shownLength, length, begun, ended, timed } = story;
  const before = { tokens, finish, problem, fingerprint, remark, given, shownLength, length, begun, ended, timed };
  story.branches.push({ at, from, to: choice, before });
  Object.assign(story, { tokens: tokens.slice(0, at), given: Math.min(given, at), length: from.from, finish: null, problem: null,
    begun: null, ended: null, timed: 0, decoder: newDecoder() });
  story.tokens.slice(-3).forEach((token) => textOf(story, token.name)); // a character may just have begun
  add(story, { ...choice, odds: from.odds, chosen: true });
  story.shownLength = story.length;
  story.version += 1;
  const ids = story.tokens.map((token) => token.id);
  if (stopIn(story)) end(story, "stop");
  story.changed();
  return ids;
}

// As it was before the branch of this number, and so without those behind it.
export function goBack(story, level = story.branches.length - 1) {
  const { before } = story.branches[level];
  story.branches.length = level;
  Object.assign(story, before, { feed: null, finish: before.finish ?? "stopped", version: story.version + 1 });
  story.changed();
}

export function isHidden(story, place) {
  return Boolean(story.hidden) && place < story.given;
}

// What of a token is part of the text: of a stop nothing.
export function shownPart(story, token) {
  return story.finish === "stop" ? token.text.slice(0, Math.max(0, story.shownLength - token.from)) : token.text;
}

export function textOfStory(story) {
  return story.tokens.map((token, place) => (isHidden(story, place) ? "" : shownPart(story, token))).join("");
}

export function probability(token) {
  return token.logprob === null ? null : Math.exp(token.logprob);
}

export function bits(token) {
  return token.logprob === null ? null : Math.max(0, -token.logprob / Math.LN2);
}

// Of what the model wrote, not of the prompt nor of what was chosen for it: how many tokens, how surprising on average, how many a second.
export function figures(story) {
  const written = story.tokens.slice(story.given);
  const told = written.filter((token) => token.logprob !== null && !token.chosen);
  const mean = told.length ? told.reduce((sum, token) => sum + bits(token), 0) / told.length : null;
  const seconds = (story.ended - story.begun) / 1000;
  return { count: written.length, mean, rate: story.timed > 4 && seconds > 0 ? (story.timed - 1) / seconds : null };
}
