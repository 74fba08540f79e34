// How a text is written: each setting with its range, a plain explanation, its place in the form and in the address.
// The defaults are those of `glassgpt sample`, but for the length: no tale is longer than 700 characters.

import { make } from "./base.js";

const FIELDS = [
  { name: "samples", label: "Samples", value: 1, min: 1, max: 8, step: 1, whole: true, first: true,
    help: "texts, each with dice of its own" },
  { name: "max_tokens", label: "Length", value: 700, min: 1, max: 4096, step: 1, whole: true, first: true,
    help: "tokens to write at most" },
  { name: "temperature", label: "Temperature", value: 0.7, min: 0, max: 2, step: 0.05, slide: true, first: true,
    help: "0 takes the likeliest token each time; above 1 is bolder than the model itself" },
  { name: "min_p", label: "min-p", value: 0.1, min: 0, max: 1, step: "any",
    help: "leaves out tokens less likely than this share of the likeliest; 0 leaves out none" },
  { name: "top_p", label: "top-p", value: 1, min: 0, max: 1, step: "any",
    help: "draws among the likeliest tokens that together reach this share; 1 is all" },
  { name: "top_k", label: "top-k", value: 0, min: 0, max: 1000000, step: 1, whole: true,
    help: "draws among this many of the likeliest tokens; 0 is all" },
  { name: "repetition_penalty", label: "Repetition penalty", value: 1, min: 0.1, max: 10, step: "any",
    help: "above 1, what was already written becomes less likely" },
  { name: "seed", label: "Seed", value: "", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, whole: true,
    help: "the same seed writes the same text; empty, each time another" },
  { name: "stop", label: "Stop", value: "", text: true,
    help: "a text ends before this; \\n is a line break, and tales end at \\n\\n, a blank line" },
];
const SIGNS = { "\\n": "\n", "\\t": "\t", "\\\\": "\\" };

// The fields, filled from the address; `first` are for everybody, `more` for those who look for them.
export function settingsForm(asked) {
  const inputs = {};
  const rows = FIELDS.map((field) => {
    const given = asked.get(field.name);
    const input = (inputs[field.name] = inputFor(field, given ?? field.value));
    const shown = field.slide ? make("output", { for: input.id }, input.value) : null;
    if (shown) input.addEventListener("input", () => (shown.textContent = input.value));
    return { field, row: make("div", { class: "knob" },
      make("label", { for: input.id }, field.label, ...(shown ? [" ", shown] : [])), input,
      make("p", { class: "hint", id: `${input.id}-hint` }, field.help)) };
  });
  const part = (first) => rows.filter(({ field }) => Boolean(field.first) === first).map(({ row }) => row);
  let touched = asked.has("stop"); // until then, a text ends where those that its model knows do
  inputs.stop.addEventListener("input", () => (touched = true));
  return {
    first: part(true),
    more: part(false),
    usual(stop) {
      if (!touched) inputs.stop.value = escaped(stop);
    },
    keepSeed: (seed) => (inputs.seed.value = seed),
    get values() {
      const told = Object.fromEntries(FIELDS.map((field) => [field.name, valueOf(field, inputs[field.name].value)]));
      return touched ? told : { ...told, stop: null };
    },
    // What differs from the defaults, for the address.
    get chosen() {
      const changed = FIELDS.filter((field) => field.name !== "stop" && inputs[field.name].value !== String(field.value));
      const told = Object.fromEntries(changed.map(({ name }) => [name, inputs[name].value]));
      return touched ? { ...told, stop: inputs.stop.value } : told;
    },
  };
}

function inputFor(field, value) {
  const { name, min, max, step } = field;
  const id = `set-${name}`;
  const kind = field.text ? { type: "text", spellcheck: "false", autocapitalize: "off" }
    : { type: field.slide ? "range" : "number", min, max, step, inputmode: field.whole ? "numeric" : "decimal" };
  const input = make("input", { id, name, autocomplete: "off", "aria-describedby": `${id}-hint`, ...kind });
  input.value = value;
  return input;
}

// An empty number means the default; what makes no sense never comes so far, the browser tells it beside the field.
function valueOf(field, given) {
  if (field.text) return unescaped(given);
  if (given.trim() === "") return field.value === "" ? null : field.value;
  return Number(given);
}

// What is sent to the server for one model; an empty prompt is left out, so that the model begins as its run did.
export function requestFor(model, prompt, values, seed) {
  const { samples, stop, max_tokens, temperature, top_p, top_k, min_p, repetition_penalty } = values;
  const body = { model, n: samples, max_tokens, temperature, top_p, top_k, min_p, repetition_penalty, seed };
  return { ...body, ...(prompt.length ? { prompt } : {}), ...(stop ? { stop } : {}),
    stream: true, echo: true, logprobs: 8, return_token_ids: true };
}

export function anySeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

// Where a model's texts end, as it learned them.
export function usualStop({ tells_tales: tale }) {
  return tale ? "\n\n" : "";
}

export function unescaped(text) {
  return text.replace(/\\[nt\\]/g, (sign) => SIGNS[sign]);
}

export function escaped(text) {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}
