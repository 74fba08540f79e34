// Stories and the server: one request writes several of them, a branch asks for one anew.

import { listen, wasStopped } from "./client.js";
import { branch, end, hear, hearModel, makeStory, wholeText } from "./story.js";
import { requestFor, usualStop } from "./settings.js";

// One story for each sample, empty; `opening` is what a model reads that is not part of the text, or null.
export function storiesFor({ model, prompt, values, seed, about, label = null }) {
  const unseen = about.tells_tales || !about.opening.trim();
  const opening = !prompt && unseen ? about.opening : null;
  const settings = { ...values, stop: values.stop ?? usualStop(about) };
  return Array.from({ length: values.samples }, (_, place) =>
    makeStory({ model, label: label ?? `Sample ${place + 1}`, settings: { ...settings }, seed, opening }));
}

export function write(stories, prompt) {
  const { model, settings, seed } = stories[0];
  return stream(requestFor(model, prompt, settings, seed), stories);
}

// The same text with another token at this place, and on from there: its ids are the prompt, so it is exact. A model
// that has changed since may mean other tokens by them: it is given the text.
export async function writeOn(story, at, choice, settings, describe) {
  Object.assign(story.settings, settings, { samples: 1, stop: settings.stop ?? story.settings.stop });
  const ids = branch(story, at, choice);
  if (story.finish) return;
  const feed = (story.feed = new AbortController());
  try {
    const { fingerprint } = await describe(story.model);
    if (story.feed !== feed) return; // it went another way meanwhile
    hearModel(story, fingerprint);
  } catch (problem) {
    if (story.feed === feed) end(story, "failed", problem.message);
    return;
  }
  const prompt = story.remark ? wholeText(story) : ids;
  await stream({ ...requestFor(story.model, prompt, story.settings, story.seed), echo: false }, [story], feed);
}

async function stream(body, stories, feed = new AbortController()) {
  const open = new Set(stories);
  const ours = () => stories.filter((story) => story.feed === feed);
  const take = (event) => {
    if (event.error) throw new Error(event.error.message);
    for (const piece of event.choices) {
      const story = stories[piece.index];
      if (piece.finish_reason) open.delete(story);
      if (story.feed !== feed) continue;
      hearModel(story, event.system_fingerprint);
      hear(story, piece);
    }
    if (open.size && !ours().length) feed.abort(); // they all went other ways: the server need not go on
  };
  stories.forEach((story) => (story.feed = feed));
  try {
    await listen("/v1/completions", body, take, feed.signal);
    ours().forEach((story) => end(story, "failed", "the server ended in the middle of the text"));
  } catch (problem) {
    ours().forEach((story) => (wasStopped(problem) ? end(story, "stopped") : end(story, "failed", problem.message)));
  }
}

export function stop(stories) {
  const feeds = new Set(stories.map((story) => story.feed));
  feeds.forEach((feed) => feed?.abort());
}
