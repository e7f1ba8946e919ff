// Who hears whom: a row for each node, a column for each node that it should hear.

import { el, unseen, write } from "./dom.js";

const SIGNS = {
  y: { sign: "✓", word: "hears", className: "good" },
  n: { sign: "✕", word: "does not hear", className: "bad" },
  "?": { sign: "?", word: "is not known to hear", className: "dim" },
  "-": { sign: "·", word: "", className: "dim" },
};

export class Matrix {
  constructor() {
    this.names = "";
    this.table = el("table");
    this.deaf = el("p", { class: "deaf", tabindex: "0", role: "region", "aria-label": "Who is deaf" });
    this.root = el(
      "div",
      {},
      el(
        "div",
        { class: "matrix", tabindex: "0", role: "region", "aria-label": "Hearing matrix" },
        this.table,
      ),
      el("p", { class: "help" }, "A row hears a column: ✓ yes, ✕ no, ? not known yet."),
      this.deaf,
    );
  }

  show({ nodes, matrix }) {
    const shown = nodes.slice(0, matrix.length);
    const names = JSON.stringify(shown.map((node) => node.name));
    if (names !== this.names) this.build(shown, names);
    const deaf = [];
    matrix.forEach((row, at) =>
      [...row].forEach((letter, to) => {
        const { sign, word, className } = SIGNS[letter];
        const cell = this.cells[at][to];
        write(cell.sign, sign);
        write(cell.word, word ? ` ${word} ${shown[to].name}` : "itself");
        if (cell.root.className !== className) cell.root.className = className;
        // Who is silent is heard by nobody, and that is no deafness.
        if (letter === "n" && [at, to].every((one) => ["self", "up"].includes(shown[one].state)))
          deaf.push(`${shown[at].name} does not hear ${shown[to].name}`);
      }),
    );
    const more =
      nodes.length > matrix.length ? ` The first ${matrix.length} of ${nodes.length} nodes are shown.` : "";
    const told = deaf.slice(0, 3).join("; ") + (deaf.length > 3 ? `; and ${deaf.length - 3} more` : "");
    write(
      this.deaf,
      shown.length < 2 ? "No other node is here yet." : (deaf.length ? `${told}.` : "Nobody is deaf.") + more,
    );
    this.deaf.className = deaf.length ? "deaf bad" : "deaf";
  }

  build(shown, names) {
    this.names = names;
    this.cells = [];
    const number = (index) => String(index + 1);
    this.table.replaceChildren(
      el("caption", { class: "unseen" }, "Who hears whom"),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("td"),
          shown.map((node, index) =>
            el(
              "th",
              { scope: "col", title: node.name },
              el("span", { "aria-hidden": "true" }, number(index)),
              unseen(node.name),
            ),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        shown.map((node, index) => {
          const row = shown.map(() => {
            const sign = el("span", { "aria-hidden": "true" });
            const word = unseen("");
            return { root: el("td", {}, sign, word), sign, word };
          });
          this.cells.push(row);
          return el(
            "tr",
            {},
            el(
              "th",
              { scope: "row", title: node.name },
              el(
                "span",
                { class: "cell" },
                el("span", { "aria-hidden": "true", class: "number" }, number(index)),
                el("bdi", {}, node.name),
              ),
            ),
            row.map((cell) => cell.root),
          );
        }),
      ),
    );
  }
}
