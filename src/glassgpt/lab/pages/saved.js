// The beginning of a saved page: what it shows lies in the page itself, as JSON.

import { make } from "./base.js";
import { showInside } from "./inside.js";

const saved = JSON.parse(document.getElementById("trace").textContent);
const main = document.querySelector("main");
const name = `Inside ${saved.model.run}`;
document.title = name;
main.replaceChildren(make("h1", {}, name), make("p", { class: "legend" }, `step ${saved.model.step}; ${saved.model.form}`));
showInside(main, saved);
