// How the chosen runs were set up: first what differs between them, or of one run what is not the default; then all.

import { make, scrolling } from "./base.js";
import { short } from "./runs-words.js";

const GROUPS = { model: "The model", data: "The text", training: "The training", run: "The run" };
const NAMES_ONLY = new Set(["out"]); // differs always, and says nothing

export function showSettings(root, state) {
  const about = make("p", { class: "why" });
  const first = make("div", {});
  const rest = make("div", {});
  const all = make("details", { class: "as-table" }, make("summary", {}, "All settings"), rest);
  root.append(make("section", { "aria-labelledby": "runs-settings" }, make("h2", { id: "runs-settings" }, "Settings"), about, first, all));
  let drawn = "";

  function draw() {
    const runs = [...state.slots].filter(([name]) => state.details.has(name)).map(([name, slot]) => ({ name, slot, ...state.details.get(name) }));
    const key = JSON.stringify(runs.map((run) => [run.name, run.slot, run.settings, run.problems]));
    if (key === drawn) return; // a table that is being read stays
    drawn = key;
    const rows = rowsOf(runs);
    const told = runs.length > 1 ? rows.filter((row) => row.differs) : rows.filter((row) => row.cells[0] && row.cells[0].origin !== "default");
    about.textContent = words(runs, told.length);
    first.replaceChildren(...(told.length ? [table("what differs", runs, told)] : []), ...problemsOf(runs));
    rest.replaceChildren(...Object.entries(GROUPS).flatMap(([group, title]) => {
      const own = rows.filter((row) => row.group === group);
      return own.length ? [make("h3", {}, title), table(title, runs, own)] : [];
    }));
    all.hidden = !rows.length;
  }
  return { draw };
}

function words(runs, told) {
  if (runs.length > 1) return told ? "The settings in which these runs differ." : "These runs do not differ in any setting.";
  return told ? "What was chosen for this run, and where each value came from." : "Every setting of this run is the default.";
}

function problemsOf(runs) {
  return runs.flatMap((run) => (run.problems ?? []).map((line) => make("p", { class: "note" }, `${run.name}: ${line}`)));
}

// One row for each name, one cell for each run.
function rowsOf(runs) {
  const names = new Map();
  runs.forEach((run, place) => run.settings.forEach((row) => {
    if (!names.has(row.name)) names.set(row.name, { name: row.name, group: row.group, cells: runs.map(() => null) });
    names.get(row.name).cells[place] = row;
  }));
  return [...names.values()].map((row) => ({
    ...row, differs: !NAMES_ONLY.has(row.name) && new Set(row.cells.map((cell) => shown(cell))).size > 1,
  }));
}

function shown(cell) {
  if (!cell || cell.value === null) return "–";
  if (Array.isArray(cell.value)) return cell.value.join(" ") || "–";
  const text = String(cell.value);
  return typeof cell.value === "string" && (text === "" || /[\n\r\t]/.test(text)) ? JSON.stringify(text) : text;
}

function table(label, runs, rows) {
  const heads = runs.length > 1 ? runs.map((run) => make("th", { scope: "col", title: run.name }, make("span", { class: "key", "--colour": `var(--run-${run.slot})` }, short(run.name))))
    : [make("th", { scope: "col" }, "value"), make("th", { scope: "col" }, "origin")];
  const cells = (row) => runs.length > 1 ? row.cells.map((cell) => make("td", {}, shown(cell)))
    : [make("td", {}, shown(row.cells[0])), make("td", { class: "legend" }, row.cells[0].origin)];
  return scrolling(label, make("table", { class: "plain-table settings" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "setting"), ...heads)),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, make("th", { scope: "row" }, make("code", {}, row.name)), ...cells(row))))));
}
