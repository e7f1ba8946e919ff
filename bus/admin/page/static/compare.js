// Two have changed the same object: what was, what is stored now, and what is about to be stored, side by side.

import { el } from "./dom.js";
import { properties, same } from "./draft.js";
import { format } from "./duration.js";

function shown(property, value) {
  if (value === undefined) return "–";
  if (value === null || value === "") return "not set";
  if (property && property["x-type"] === "duration" && typeof value === "number") return format(value);
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "object")
    return [
      value["@type"],
      ...Object.entries(value)
        .filter(([key]) => key !== "@type")
        .map(([, one]) => one),
    ].join(" ");
  return String(value);
}

/** `now` is what is stored, `by` and `at` who stored it; `take()` and `keep()` are the two ways on. */
export function compare(draft, now, { by, at }, take, keep) {
  const { schema, stored } = draft;
  // What would be stored: of the same system only what was edited goes over what is there now.
  const mine =
    draft.type === now["@type"] ? { ...now, ...draft.edits() } : { "@type": draft.type, ...draft.current };
  const names = [
    "@type",
    ...new Set(
      [stored["@type"], now["@type"], draft.type].flatMap((type) =>
        properties(schema, type).map(([name]) => name),
      ),
    ),
  ];
  const property = (name) =>
    [draft.type, now["@type"], stored["@type"]]
      .map((type) => schema.$defs[type].properties[name])
      .find(Boolean);
  const rows = names
    .filter((name) => !same(now[name], mine[name]) || !same(stored[name], now[name]))
    .map((name) => {
      const found = property(name);
      const label = name === "@type" ? "Backend type" : found["x-label"];
      const cell = (title, value) => el("td", { "data-label": title }, shown(found, value));
      return el(
        "tr",
        {},
        el("th", { scope: "row" }, label),
        cell("When you began", stored[name]),
        cell("Stored now", now[name]),
        cell("Yours", mine[name]),
      );
    });
  const when = at ? ` at ${new Date(at).toLocaleString("en-GB")}` : "";
  const heading = el("h2", { tabindex: "-1" }, "This was changed meanwhile");
  return {
    root: el(
      "section",
      { class: "panel conflict", "aria-label": "Conflict" },
      heading,
      el(
        "p",
        {},
        `${by ? `The token “${by}” has stored another version${when}` : "Another version is stored"}. Nothing of yours was saved.`,
      ),
      el(
        "table",
        { class: "compare" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            ["Field", "When you began", "Stored now", "Yours"].map((text) =>
              el("th", { scope: "col" }, text),
            ),
          ),
        ),
        el("tbody", {}, rows),
      ),
      el(
        "p",
        { class: "buttons" },
        el("button", { type: "button", onclick: take }, "Discard mine"),
        el("button", { type: "button", class: "primary", onclick: keep }, "Save mine over it"),
      ),
    ),
    focus: () => heading.focus(),
  };
}
