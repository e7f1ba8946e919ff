// Elements from data. All text goes into text nodes: nothing that anybody wrote can become markup.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "textContent", "tabIndex", "selected"]);

/** An element; "on..." attributes are listeners, null and false leave an attribute out. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (PROPERTIES.has(key)) made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Change a text only where it differs: what is selected stays selected, and nothing is drawn for nothing. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Text for a screen reader only. */
export function unseen(text) {
  return el("span", { class: "unseen" }, text);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 12,345; from a million on 1.2M, so that columns keep their width. */
export function count(number) {
  return number < 1e6 ? whole.format(number) : compact.format(number);
}

/** Seconds as people say them. */
export function age(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

/** A moment, to the second, in the time zone of the reader. */
export function clock(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

let ids = 0;

/** An id that no other element has. */
export function fresh(word) {
  ids += 1;
  return `${word}-${ids}`;
}
