// Listening to the server while the page can be seen: one request that stays open, and no other. A page in the
// background lets go; when it is looked at again, it asks for what came after the last step that it knows.

import { listen, wasStopped } from "./client.js";

const FIRST_PAUSE_MS = 2000;
const LONGEST_PAUSE_MS = 60000;

export function follow({ hear, told }) {
  let places = new Map();
  let running = null;
  let pause = FIRST_PAUSE_MS;
  let timer = null;
  let isLost = false;

  function heard(event) {
    pause = FIRST_PAUSE_MS;
    if (isLost) told.say("");
    isLost = false;
    if (event.kind === "rows") places.set(event.run, event.columns.step.at(-1) ?? 0);
    hear(event);
  }

  async function start() {
    stop();
    if (document.hidden) return;
    const mine = (running = new AbortController());
    const asked = new URLSearchParams([...places].flatMap(([name, step]) => [["run", name], ["from", step]]));
    try {
      await listen(`/glass/follow?${asked}`, null, heard, mine.signal);
    } catch (problem) {
      if (wasStopped(problem)) return;
      isLost = true;
      told.warn(`${problem.message} (What is shown stands still meanwhile.)`);
    }
    if (running !== mine) return;
    timer = setTimeout(start, pause); // the server was stopped, or has too many who follow
    pause = Math.min(LONGEST_PAUSE_MS, 2 * pause);
  }

  function stop() {
    clearTimeout(timer);
    running?.abort();
    running = null;
  }

  function turned() {
    if (document.hidden) stop();
    else start();
  }

  document.addEventListener("visibilitychange", turned);
  return {
    // Pairs of a run's name and the last step that is known of it.
    attend(pairs) {
      places = new Map(pairs);
      start();
    },
    leave() {
      document.removeEventListener("visibilitychange", turned);
      stop();
    },
  };
}
