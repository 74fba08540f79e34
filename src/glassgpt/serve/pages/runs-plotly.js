// Plotly comes as one large script; it is loaded when the first chart is drawn, and on no other view.

import { make } from "./base.js";

// Its part for maps, which nobody needs here, would add styles that the page's policy refuses, unless they are there.
const STYLES_OF_MAPS = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
let loading = null;

export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const lost = () => {
      loading = null;
      reject(new Error("the curves need plotly, which is not installed where this page is served: pip install 'glassgpt[serve]'"));
    };
    if (!document.getElementById(STYLES_OF_MAPS)) document.head.append(make("meta", { id: STYLES_OF_MAPS }));
    document.head.append(make("script", { src: "/page/plotly.min.js", load: () => resolve(window.Plotly), error: lost }));
  });
  return loading;
}

const isCoarse = matchMedia("(pointer: coarse)");

function paint(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A layout in the page's own colours. `keep` names what the reader's zoom belongs to: it stays while rows arrive.
export function layout({ x, y, keep, left = 52 }) {
  const axis = { gridcolor: paint("--line"), linecolor: paint("--line"), zeroline: false, automargin: true, fixedrange: isCoarse.matches };
  return {
    autosize: true, showlegend: false, hovermode: "closest", uirevision: keep,
    dragmode: isCoarse.matches ? false : "zoom", // a finger moves the page
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: left, r: 12, t: 8, b: 40 },
    font: { family: "system-ui, sans-serif", size: 12, color: paint("--muted") },
    hoverlabel: { bgcolor: paint("--card"), bordercolor: paint("--line"), font: { color: paint("--ink") }, namelength: 40 },
    xaxis: { ...axis, ...x }, yaxis: { ...axis, ...y },
  };
}

export const CONFIG = { displaylogo: false, displayModeBar: false, responsive: true, doubleClick: "reset" };
export const muted = () => paint("--muted");
export const card = () => paint("--card");
