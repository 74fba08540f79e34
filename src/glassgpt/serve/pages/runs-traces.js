// From the rows of logs to what is drawn: lines, their references, and the marks of exams.

import { colour, count, plain, short } from "./runs-words.js";

const MOST_POINTS = 1500; // of one line; more could not be seen, and would make every new row slow
export const MARKS = {
  spelled: "words spelled right", parsed: "sentences of the grammar", heroes: "the same hero to the end",
  sums: "sums that add up", places: "things where they should be", whole: "stories without a fault", novel: "stories of its own",
};

// Of a long line the lowest and highest point of each piece, so that no peak is lost.
export function points(columns, x, name) {
  const values = columns[name] ?? [];
  const places = columns[x] ?? [];
  const kept = values.map((value, at) => at).filter((at) => values[at] !== null && places[at] !== null);
  if (kept.length <= MOST_POINTS) return kept.map((at) => [places[at], values[at]]);
  const size = Math.ceil((2 * kept.length) / MOST_POINTS);
  const found = [];
  for (let begin = 0; begin < kept.length; begin += size) {
    const piece = kept.slice(begin, begin + size).sort((one, other) => values[one] - values[other]);
    found.push(...[...new Set([piece[0], piece.at(-1)])].sort((one, other) => one - other));
  }
  if (found.at(-1) !== kept.at(-1)) found.push(kept.at(-1)); // the newest is what one waits for
  return found.map((at) => [places[at], values[at]]);
}

function line(run, pairs, more) {
  return {
    type: "scatter", mode: "lines", name: plain(short(run.name)), hovertemplate: "%{y:.4~g}<extra>%{fullData.name}</extra>",
    x: pairs.map(([place]) => place), y: pairs.map(([, value]) => value), ...more,
  };
}

export function lossTraces(runs, x) {
  return runs.flatMap((run) => {
    const held = points(run.columns, x, "val_loss");
    const paint = colour(run.slot);
    const train = line(run, points(run.columns, x, "train_loss"), {
      name: `${plain(short(run.name))}: training`, opacity: held.length ? 0.65 : 1, line: { color: paint, width: 1.2 } });
    const val = line(run, held, {
      name: `${plain(short(run.name))}: validation`, mode: "lines+markers", line: { color: paint, width: 2.8 }, marker: { color: paint, size: 8, symbol: SYMBOLS[run.slot] } });
    return [train, val];
  });
}

export const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star"];

export function columnTraces(runs, x, name) {
  return runs.map((run) => line(run, points(run.columns, x, name), { line: { color: colour(run.slot), width: 1.6 } }));
}

// Where a step lies on the axis that is shown.
function placeOf(run, x, step) {
  if (x === "step") return step;
  const at = run.columns.step.findLastIndex((each) => each <= step);
  return at < 0 ? null : run.columns[x][at];
}

// Small points are one sample each, large ones an exam of many stories.
export function markTraces(runs, x, name) {
  return runs.flatMap((run) => {
    const paint = colour(run.slot);
    const exams = run.evaluations.filter((each) => each.marks).map((each) => ({ step: each.step, ...each.marks }));
    const trace = (rows, words, mode, size) => {
      const shown = rows.filter((row) => row[name] !== null && row[name] !== undefined);
      return line(run, shown.map((row) => [placeOf(run, x, row.step), row[name]]), {
        name: `${plain(short(run.name))}: ${words}`, mode, line: { color: paint, width: 1.5, dash: "dot" },
        hovertemplate: "%{y:.0%}<extra>%{fullData.name}</extra>",
        text: shown.map((row) => count(row.stories)), marker: { color: paint, size, symbol: SYMBOLS[run.slot], opacity: size < 10 ? 0.7 : 1 },
      });
    };
    return [trace(run.sample_marks, "one sample", "markers", 8), trace(exams, "exam", "lines+markers", 12)];
  });
}

export function hasMarks(runs, name) {
  const rows = runs.flatMap((run) => [...run.sample_marks, ...run.evaluations.map((each) => each.marks ?? {})]);
  return rows.some((row) => row[name] !== null && row[name] !== undefined);
}

// Losses to measure a curve by: the floor, guessing, rivals. What several runs have in common is drawn once.
export function references(runs) {
  const found = new Map();
  for (const run of runs) {
    const floor = run.summary.floor ?? null;
    const rows = run.references.filter((row) => !(floor !== null && row.name.includes("floor")));
    for (const row of floor === null ? rows : [{ name: "floor: no model can do better", loss: floor }, ...rows]) {
      if (row.loss === null) continue;
      const key = `${row.name} ${row.loss.toFixed(3)}`;
      found.set(key, { ...row, runs: [...(found.get(key)?.runs ?? []), run] });
    }
  }
  return [...found.values()].map(({ name, loss, runs: whose }) => ({
    name: whose.length === runs.length ? name : `${name} (${whose.map((run) => short(run.name)).join(", ")})`, loss,
  }));
}
