// The form of one variant, made from the schema: labels, help, controls, and errors at the field they are about.

import { el } from "./dom.js";
import { properties } from "./draft.js";
import { format } from "./duration.js";
import { control } from "./fields.js";

const WORDS = { "@type": "backend-type" };

/** What a field is when nobody has set it, for people. */
function usual(property) {
  if (!("default" in property)) return "Required";
  const value = property.default;
  if (property.oneOf) return "";
  if (value === null || value === undefined)
    return /\bnull:/.test(property.description) ? "" : "Empty: not set";
  if (property["x-type"] === "duration") return `Default ${format(value)}`;
  if (typeof value === "boolean") return `Default ${value ? "on" : "off"}`;
  const labels = property["x-labels"] || {};
  return `Default ${[value]
    .flat()
    .map((one) => labels[one] || one)
    .join(", ")}`;
}

export class Form {
  /** `changed()` is called at every edit; `isFixed`: to be read only. */
  constructor(schema, draft, changed, isFixed) {
    this.draft = draft;
    this.controls = new Map();
    const variant = schema.$defs[draft.type];
    const rows = properties(schema, draft.type).map(([name, property]) =>
      this.row(name, property, changed, isFixed),
    );
    this.root = el(
      "fieldset",
      { class: "panel fields" },
      el("legend", {}, variant.title),
      el("p", { class: "about" }, variant.description),
      rows.length ? rows : el("p", { class: "empty" }, "There is nothing to set."),
    );
  }

  row(name, property, changed, isFixed) {
    const id = `field-${name}`;
    const made = control(property, id, () => {
      this.draft.put(name, made.get());
      this.mark(name);
      this.complain(name, "");
      changed();
    });
    made.set(this.draft.current[name], this.draft.base(this.draft.type)[name]);
    const described = `${id}-help ${id}-error`;
    made.input.setAttribute("aria-describedby", described);
    if (isFixed) {
      if (made.disable) made.disable();
      for (const one of made.root.matches("input, select, textarea")
        ? [made.root]
        : made.root.querySelectorAll("input, select, textarea, button"))
        one.disabled = true;
    }
    const edited = el("span", { class: "edited", hidden: true }, "changed");
    const error = el("p", { class: "error", id: `${id}-error` });
    this.controls.set(name, { source: made, edited, error, label: property["x-label"] });
    this.mark(name);
    // The form says empty where the object says null.
    const help = [(property.description || "").replace(/\bnull\b/g, "empty"), usual(property)]
      .filter(Boolean)
      .join(" ");
    return el(
      "div",
      { class: "field", "data-field": name },
      el("div", { class: "name" }, el("label", { for: id }, property["x-label"]), edited),
      el(
        "div",
        { class: "value" },
        made.root,
        error,
        el(
          "p",
          { class: "help", id: `${id}-help`, title: property["x-env"] },
          help.replace(/([^.])$/, "$1."),
        ),
      ),
    );
  }

  mark(name) {
    this.controls.get(name).edited.hidden = !this.draft.isEdited(name);
  }

  complain(name, text) {
    const { source, error } = this.controls.get(name);
    error.textContent = text;
    if (text) source.input.setAttribute("aria-invalid", "true");
    else source.input.removeAttribute("aria-invalid");
  }

  clear() {
    for (const name of this.controls.keys()) this.complain(name, "");
  }

  /** Put the errors of the node at their fields; the list of {label, text, focus} for a summary. */
  refuse(problems) {
    const told = [];
    for (const { path, message, hint } of problems) {
      const [name, index] = String(path).split("/");
      const about = `${path}: `;
      const text = [message.startsWith(about) ? message.slice(about.length) : message, hint]
        .filter(Boolean)
        .join(" ");
      const found = this.controls.get(name);
      if (!found) {
        told.push({
          label: name,
          text,
          focus: () => document.getElementById(WORDS[name] || "backend-type").focus(),
        });
        continue;
      }
      this.complain(name, [found.error.textContent, text].filter(Boolean).join(" "));
      told.push({ label: found.label, text, focus: () => found.source.focus(Number(index) || 0) });
    }
    return told;
  }
}
