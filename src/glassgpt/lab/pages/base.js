// What every view shares: elements, words for numbers, colours, and which token one is looking at.
// Text enters the page as text nodes and attributes only, so no token can become markup.

const SVG = "http://www.w3.org/2000/svg";

export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// A space that one cannot see is a token like any other.
export function visible(name) {
  return name === "" ? "∅" : name.replaceAll(" ", "␣");
}

export function percent(share) {
  if (share >= 0.0995) return `${Math.round(share * 100)} %`;
  if (share >= 0.001) return `${(share * 100).toFixed(1)} %`;
  return share > 0 ? "<0.1 %" : "0 %";
}

export function depthName(depth) {
  return depth === 0 ? "embedding" : `layer ${depth}`;
}

// How strongly a probability is coloured; the root lifts small ones, which would all look alike.
export function strength(share) {
  return `${(100 * Math.sqrt(Math.min(1, Math.max(0, share)))).toFixed(1)}%`;
}

export function section(root, title, explanation, ...children) {
  const id = `view-${title.toLowerCase().replaceAll(" ", "-")}`;
  const heading = make("h2", { id }, title);
  root.append(make("section", { "aria-labelledby": id }, heading, make("p", { class: "why" }, explanation), ...children));
}

// A wide view scrolls by itself, by keyboard too, and not the whole page.
export function scrolling(label, ...children) {
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children);
}

// A wide view moves along with the token that one looks at, unless the pointer is in it.
export function keepInView(scroller, left, width) {
  if (scroller.matches(":hover")) return;
  const seen = left >= scroller.scrollLeft + width && left + 2 * width <= scroller.scrollLeft + scroller.clientWidth;
  if (!seen) scroller.scrollLeft = left - scroller.clientWidth / 2;
}

// The token that all views look at: the one under the pointer, else the one chosen last.
export function makeSelection(count) {
  let chosen = count - 1;
  let pointed = null;
  const listeners = [];
  const tell = () => listeners.forEach((listener) => listener(pointed ?? chosen));
  return {
    get at() {
      return pointed ?? chosen;
    },
    choose(place) {
      chosen = Math.min(count - 1, Math.max(0, place));
      pointed = null;
      tell();
    },
    point(place) {
      if (pointed === place) return;
      pointed = place;
      tell();
    },
    follow(listener) {
      listeners.push(listener);
      listener(pointed ?? chosen);
    },
  };
}

// The step that an arrow key means, or null.
export function stepOf(event) {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
  if (step !== undefined) event.preventDefault();
  return step ?? null;
}

// Lines break between words, whatever a word is made of; a blank stays with the word before it.
function beginsWord(before, name) {
  return /[\s⏎]$/.test(before) || /^\s+\S/.test(name);
}

// A text of tokens: one stop for the Tab key, arrows walk through it, the pointer looks, a click stays.
export function strip(tokens, selection, label, describe) {
  const holder = make("div", { class: "strip", role: "group", "aria-label": label });
  holder.addEventListener("mouseleave", () => selection.point(null));
  holder.addEventListener("keydown", (event) => {
    const step = stepOf(event);
    if (step === null) return;
    selection.choose(selection.at + step);
    buttons[selection.at].focus();
  });
  const buttons = tokens.map((token, place) => {
    const button = make("button", {
      type: "button", class: "token", "aria-label": describe(token, place), title: describe(token, place),
      mouseenter: () => selection.point(place), click: () => selection.choose(place), focus: () => selection.choose(place),
    }, visible(token.name));
    if (place === 0 || beginsWord(tokens[place - 1].name, token.name)) holder.append(make("span", { class: "word" }));
    holder.lastChild.append(button);
    if (token.name.endsWith("⏎")) holder.append(make("br")); // a word begins behind it
    return button;
  });
  selection.follow((at) => buttons.forEach((button, place) => {
    button.tabIndex = place === at ? 0 : -1;
    button.classList.toggle("here", place === at);
    button.setAttribute("aria-pressed", String(place === at));
  }));
  return { holder, buttons };
}
