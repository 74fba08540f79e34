// The last stop of the lesson: the same beginning, three temperatures, side by side.

import { make } from "./base.js";
import { legend, makeDesk } from "./columns.js";
import { aboutSampling } from "./findings.js";
import { anySeed } from "./settings.js";

const TEMPERATURES = [0, 0.7, 1.5];
const PLAIN = { samples: 1, max_tokens: 160, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1, stop: "" };
const ABOUT = "Each goes on from the first words of your text, and nothing but the temperature is at work.";

// Writes at once; `found` gets the sentence about the three, `say` how it goes. What comes back ends it.
export function showTemperatures(root, _, { app, prompt, found, say }) {
  const holders = TEMPERATURES.map(() => make("div", {}));
  const again = make("button", { type: "button", class: "primary", click: () => begin() }, "Write all three again");
  root.append(make("div", { class: "row" }, again, make("span", { class: "hint" }, ABOUT)), legend(), make("div", { class: "three" }, ...holders));
  const busy = (running, awaited) => {
    again.disabled = running > 0;
    if (running) return say(awaited ?? "writing…");
    const whole = desk.stories.filter((story) => story.tokens.length && story.finish !== "failed").length;
    say(whole === TEMPERATURES.length ? "done: three texts" : "");
    found(aboutSampling(desk.stories));
  };
  const desk = makeDesk(root, { app, say, values: () => null, busy });

  function begin() {
    desk.clear();
    const seed = anySeed();
    TEMPERATURES.forEach((temperature, place) => desk.write(holders[place], {
      model: app.model, prompt: prompt(), values: { ...PLAIN, temperature }, seed, label: `Temperature ${temperature}`,
    }));
  }

  begin();
  return { again: begin, leave: desk.leave };
}
