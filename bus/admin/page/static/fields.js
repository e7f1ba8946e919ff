// One field of the form for each kind of property that our schema has.
//
// A control is {root, input, get(), set(value), focus()}: `get` gives what may stand in a patch. What cannot be
// understood here is sent as it was typed: only the node says what is wrong, and how to mend it.

import { el, fresh } from "./dom.js";
import * as duration from "./duration.js";

export const MASK = "****";

/** The control for a property; `changed()` is called at every edit, `label` is the id of its label. */
export function control(schema, id, changed) {
  if (schema["x-type"] === "duration") return durationControl(schema, id, changed);
  if (schema.oneOf) return secretControl(schema, id, changed);
  if (schema.enum) return choiceControl(schema, id, changed);
  if (schema.type === "boolean") return switchControl(id, changed);
  if (schema.type === "array") return listControl(schema, id, changed);
  if (schema["x-type"] === "json5") return areaControl(id, changed);
  return textControl(schema, id, changed);
}

function kinds(schema) {
  return [schema.type].flat();
}

export function isOptional(schema) {
  if (schema.anyOf) return schema.anyOf.some((one) => one.type === "null");
  return kinds(schema).includes("null") || Boolean(schema.enum && schema.enum.includes(null));
}

function textInput(id, changed, extra = {}) {
  return el("input", {
    id,
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "off",
    oninput: changed,
    ...extra,
  });
}

function textControl(schema, id, changed) {
  const isNumber = kinds(schema).includes("integer");
  const input = textInput(id, changed, isNumber ? { inputmode: "numeric", class: "short" } : {});
  const get = () => {
    const text = isNumber ? input.value.trim() : input.value;
    if (text === "") return isOptional(schema) || isNumber ? null : "";
    return isNumber && /^\d{1,15}$/.test(text) ? Number(text) : text;
  };
  const set = (value) => {
    input.value = value === null || value === undefined ? "" : String(value);
  };
  return { root: input, input, get, set, focus: () => input.focus() };
}

function durationControl(schema, id, changed) {
  const input = textInput(id, changed, { class: "short" });
  const get = () => {
    const text = input.value.trim();
    return text === "" ? null : (duration.parse(text) ?? text);
  };
  const set = (value) => {
    input.value = typeof value === "number" ? duration.format(value) : (value ?? "");
  };
  return { root: input, input, get, set, focus: () => input.focus() };
}

function areaControl(id, changed) {
  const input = el("textarea", { id, rows: 8, spellcheck: "false", autocomplete: "off", oninput: changed });
  return {
    root: input,
    input,
    get: () => input.value,
    set: (value) => {
      input.value = value ?? "";
    },
    focus: () => input.focus(),
  };
}

function choiceControl(schema, id, changed) {
  const labels = schema["x-labels"] || {};
  const input = el(
    "select",
    { id, onchange: changed, class: "short" },
    schema.enum.map((value) =>
      el("option", { value: value ?? "" }, value === null ? "Not set" : labels[value] || value),
    ),
  );
  return {
    root: input,
    input,
    get: () => input.value || null,
    set: (value) => {
      input.value = value ?? "";
    },
    focus: () => input.focus(),
  };
}

function switchControl(id, changed) {
  const input = el("input", { id, type: "checkbox", onchange: changed });
  const root = el("span", { class: "switch" }, input);
  return {
    root,
    input,
    get: () => input.checked,
    set: (value) => {
      input.checked = Boolean(value);
    },
    focus: () => input.focus(),
  };
}

function listControl(schema, id, changed) {
  const rows = el("ol", { class: "list" });
  const name = schema["x-label"];
  let isOff = false;
  const inputs = () => [...rows.querySelectorAll("input")];
  const number = () =>
    inputs().forEach((input, index) => {
      input.id = index ? `${id}-${index}` : id;
      input.setAttribute("aria-label", `${name}, ${index + 1}`);
      input.nextSibling.setAttribute("aria-label", `Remove ${name.toLowerCase()} ${index + 1}`);
    });
  const add = (value, after = null) => {
    const input = textInput("", changed, {
      value,
      disabled: isOff,
      onkeydown: (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        add("", row).focus();
      },
    });
    const remove = el(
      "button",
      {
        type: "button",
        class: "plain",
        disabled: isOff,
        onclick: () => {
          const next = (row.nextSibling || row.previousSibling || row).querySelector("input");
          if (rows.children.length > 1) row.remove();
          else input.value = "";
          number();
          changed();
          next.focus();
        },
      },
      "Remove",
    );
    const row = el("li", {}, input, remove);
    if (after) after.after(row);
    else rows.append(row);
    number();
    return input;
  };
  const more = el(
    "button",
    { type: "button", class: "plain", onclick: () => add("").focus() },
    "Add another",
  );
  const root = el("div", {}, rows, more);
  return {
    root,
    get input() {
      return rows.querySelector("input");
    },
    get: () =>
      inputs()
        .map((input) => input.value.trim())
        .filter(Boolean),
    set: (value) => {
      rows.replaceChildren();
      for (const one of value && value.length ? value : [""]) add(one);
    },
    focus: (index = 0) => (inputs()[index] || inputs()[0]).focus(),
    disable: () => {
      isOff = true;
      for (const one of root.querySelectorAll("input, button")) one.disabled = true;
    },
  };
}

// A secret is chosen by its kind. A stored one is never here: it is kept unless another one is typed.
function secretControl(schema, id, changed) {
  const labels = schema["x-labels"] || {};
  const options = Object.fromEntries(schema.oneOf.map((one) => [one.properties["@type"].const, one]));
  const kind = el(
    "select",
    {
      id,
      class: "short",
      onchange: () => {
        draw({});
        changed();
      },
    },
    Object.keys(options).map((tag) => el("option", { value: tag }, labels[tag] || tag)),
  );
  const place = el("div", { class: "secret" });
  const root = el("div", {}, kind, place);
  let stored = null;
  let read = () => ({});

  function draw(value) {
    const [name, property] =
      Object.entries(options[kind.value].properties).find(([key]) => key !== "@type") || [];
    place.replaceChildren();
    read = () => ({});
    if (!name) return;
    const inner = fresh(id);
    if (!property["x-secret"]) {
      const input = textInput(inner, changed, { value: value[name] || "" });
      read = () => ({ [name]: input.value });
      place.append(el("label", { for: inner }, property["x-label"]), input);
      return;
    }
    const isLong = kind.value === "Text";
    const input = el(isLong ? "textarea" : "input", {
      id: inner,
      type: isLong ? null : "password",
      rows: isLong ? 3 : null,
      autocomplete: "new-password",
      spellcheck: "false",
      oninput: changed,
    });
    const hasStored = stored !== null && stored["@type"] === kind.value && stored[name] === MASK;
    const keep = el("input", {
      type: "checkbox",
      id: fresh(id),
      checked: hasStored,
      onchange: () => {
        input.disabled = keep.checked;
        if (keep.checked) input.value = "";
        else input.focus();
        changed();
      },
    });
    input.disabled = hasStored;
    if (value[name] && value[name] !== MASK) {
      input.value = value[name];
      keep.checked = input.disabled = false;
    }
    read = () => ({ [name]: hasStored && keep.checked ? MASK : input.value });
    if (hasStored)
      place.append(
        el("span", { class: "keep" }, keep, el("label", { for: keep.id }, "Keep the current secret")),
      );
    place.append(el("label", { for: inner }, hasStored ? "New secret" : property["x-label"]), input);
  }

  return {
    root,
    input: kind,
    get: () => ({ "@type": kind.value, ...read() }),
    set: (value, saved) => {
      stored = saved && typeof saved === "object" ? saved : null;
      kind.value = value ? value["@type"] : "None";
      draw(value || {});
    },
    focus: () =>
      (place.querySelector("input:enabled:not([type=checkbox]), textarea:enabled") || kind).focus(),
  };
}
