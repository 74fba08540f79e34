// Numbers, names and colours as the views of runs say them.

const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const SPANS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [86400 * 60, 86400, "day"], [Infinity, 86400 * 30, "month"]];
const LONGEST = 28;

export function count(number) {
  return Math.round(number).toLocaleString("en");
}

export function large(number) {
  const [value, unit] = number >= 1e9 ? [number / 1e9, "B"] : number >= 1e6 ? [number / 1e6, "M"] : [number / 1e3, "k"];
  return number < 1000 ? count(number) : `${value.toFixed(value < 10 ? 1 : 0)}${unit}`;
}

export function loss(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}

export function ago(seconds) {
  const passed = Math.max(0, Date.now() / 1000 - seconds);
  if (passed < 10) return "just now";
  const [, size, unit] = SPANS.find(([most]) => passed < most);
  return AGO.format(-Math.round(passed / size), unit);
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// A long name by its beginning and its end, where names of runs differ.
export function short(name) {
  const letters = [...name];
  if (letters.length <= LONGEST) return name;
  return `${letters.slice(0, LONGEST - 10).join("")}…${letters.slice(-9).join("")}`;
}

// Plotly reads some markup in texts; a name is no markup.
export function plain(name) {
  return name.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// A file's own name; what leads to it is long and says little.
export function dataName(data) {
  return data.split(" ").map((each) => each.split(/[\\/]/).filter(Boolean).at(-1) ?? each).join(" ");
}

// Some thirty of many, the first and the last among them.
export function thinned(rows, most = 30) {
  if (rows.length <= most) return rows;
  return Array.from({ length: most }, (_, at) => rows[Math.round((at * (rows.length - 1)) / (most - 1))]);
}

export function colour(slot) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--run-${slot}`).trim();
}
