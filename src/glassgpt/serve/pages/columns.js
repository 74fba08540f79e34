// Stories side by side: a column for each model, in it a card for each sample, painted as the tokens come.

import { make, percent } from "./base.js";
import { makeCard } from "./card.js";
import { makeOdds } from "./odds.js";
import { stop, write, writeOn, storiesFor } from "./writing.js";

const REST_MS = 33; // between two drawings, and then until the next frame

// `values` are the settings that a branch is written with; `busy` hears how many requests are under way, and which
// model is still waited for.
export function makeDesk(root, { app, say, values, busy }) {
  const leaving = new AbortController();
  const paint = makePainter();
  const stories = [];
  const awaited = new Map(); // by the holder that waits, in words
  let running = 0;

  const odds = makeOdds(root, (card, at, choice) => {
    const describe = async (model) => {
      const about = await app.describe(model);
      card.story.described?.(about);
      return about;
    };
    count(writeOn(card.story, at, choice, values() ?? card.story.settings, describe));
    card.paint();
    card.focus(at);
    say(`went on with “${choice.name}” (${percent(Math.exp(choice.logprob))})`);
  }, leaving.signal);

  async function count(work) {
    running += 1;
    tell();
    await work;
    paint.now(); // who hears that it is done finds it done
    running -= 1;
    tell();
  }

  const tell = () => busy(running, [...awaited.values()][0]);

  function cardFor(story) {
    const card = makeCard(story, { app, odds, say });
    story.changed = () => paint(card);
    card.paint();
    return card.element;
  }

  // Writes into a holder of its own; a model that cannot read the prompt says so there, and the others go on.
  async function column(holder, asked) {
    awaited.set(holder, app.awaited(asked.model));
    try {
      const about = await app.describe(asked.model);
      awaited.delete(holder);
      if (holder.isConnected) tell();
      if (leaving.signal.aborted || !holder.isConnected) return;
      asked.about?.(about);
      const own = storiesFor({ ...asked, about }).map((story) => Object.assign(story, { described: asked.about }));
      stories.push(...own);
      const cards = own.map(cardFor);
      holder.replaceChildren(...cards);
      await write(own, asked.prompt);
      if (own.every((story) => story.finish === "failed" && !story.tokens.length)) refuse(holder, own[0].problem);
    } catch (problem) {
      refuse(holder, problem.message);
    } finally {
      awaited.delete(holder);
    }
  }

  return {
    write: (holder, asked) => count(column(holder, asked)),
    stories,
    halt: () => stop(stories),
    clear() {
      stop(stories);
      stories.length = 0;
    },
    leave() {
      stop(stories);
      leaving.abort();
    },
  };
}

function refuse(holder, words) {
  holder.replaceChildren(make("p", { class: "note", role: "alert" }, words));
}

// All that changed is drawn together, some twenty times a second: a model may write faster than anybody reads, and
// what is spent on drawing is not there for writing.
function makePainter() {
  const due = new Set();
  const draw = () => {
    const cards = [...due];
    due.clear();
    cards.forEach((card) => card.paint());
  };
  const paint = (card) => {
    if (!due.size) setTimeout(() => requestAnimationFrame(draw), REST_MS);
    due.add(card);
  };
  return Object.assign(paint, { now: draw });
}

export function legend() {
  return make("p", { class: "legend" }, "surprise ", make("span", { class: "scale" }), " expected. ",
    "Point at a token: what else could it have been?");
}
