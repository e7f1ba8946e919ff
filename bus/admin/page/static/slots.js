// Rows that stay where they are: what is shown changes, and nothing moves, however much comes.

import { el, write } from "./dom.js";

/** A table body with rows of fixed height. `columns` are {name, title, kind}; `draw(row, item)` returns texts. */
export class Slots {
  constructor(columns, { caption, label, empty, className, press }) {
    this.columns = columns;
    this.press = press;
    this.rows = [];
    this.items = [];
    this.body = el("tbody");
    this.empty = el("p", { class: "empty" }, empty);
    this.root = el(
      "div",
      { class: `slots ${className}`, tabindex: "0", role: "region", "aria-label": label },
      el(
        "table",
        {},
        el("caption", { class: "unseen" }, caption),
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            columns.map(({ title, kind }) => el("th", { scope: "col", class: kind }, title)),
          ),
        ),
        this.body,
      ),
      this.empty,
    );
    if (press) {
      this.root.addEventListener("keydown", (event) => this.move(event));
    }
  }

  /** Show these, one row each; `draw` gives {texts: {column: text}, className, title}. */
  show(items, draw) {
    this.items = items;
    this.empty.hidden = items.length > 0;
    while (this.rows.length < items.length) this.add();
    this.rows.forEach((row, index) => {
      row.line.hidden = index >= items.length;
      if (row.line.hidden) return;
      const { texts, className = "", title = {} } = draw(items[index]);
      if (row.line.className !== className) row.line.className = className;
      for (const { name } of this.columns) {
        write(row.cells[name], texts[name] ?? "");
        const full = title[name] ?? "";
        if (row.cells[name].title !== full) row.cells[name].title = full;
      }
    });
  }

  add() {
    const index = this.rows.length;
    const cells = {};
    const line = el(
      "tr",
      {},
      this.columns.map(({ name, kind, title, isHead, isButton }) => {
        const inner = isButton
          ? el("button", {
              type: "button",
              class: "cell",
              tabIndex: index ? -1 : 0,
              onclick: () => this.press(this.items[index]),
            })
          : el("span", { class: "cell" });
        cells[name] = inner;
        return el(
          isHead ? "th" : "td",
          { class: kind, scope: isHead ? "row" : null, "data-label": title },
          inner,
        );
      }),
    );
    this.rows.push({ line, cells });
    this.body.append(line);
  }

  /** Arrow keys go from row to row; only one of them is in the order of the tab key. */
  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = this.rows
      .filter(({ line }) => !line.hidden)
      .map(({ line }) => line.querySelector("button"));
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = buttons[Math.min(buttons.length - 1, Math.max(0, at + step))];
    buttons[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}
