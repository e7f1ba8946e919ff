// The last events: newest on top, in rows that stay where they are. One that is chosen stays until another is.

import { clock, count, el, write } from "./dom.js";
import { Slots } from "./slots.js";

const MOST = 60;

const COLUMNS = [
  { name: "at", title: "Time", kind: "time" },
  { name: "node", title: "Node", kind: "node" },
  { name: "seq", title: "Number", kind: "figure" },
  { name: "type", title: "Topic or type", kind: "type" },
  { name: "text", title: "Content", kind: "text", isButton: true },
];

function line(item) {
  const base = {
    at: clock(item.at),
    node: item.node ?? "",
    seq: item.seq === undefined ? "" : `#${item.seq}`,
  };
  if (item.kind === "loss")
    return { texts: { ...base, type: `⚠ ${item.loss}`, text: item.text }, className: "loss" };
  if (item.kind === "change")
    return {
      texts: { ...base, type: "● Membership", text: `${item.node} ${item.text}` },
      className: "change",
    };
  if (item.kind === "unseen") return { texts: { ...base, type: "…", text: item.text }, className: "dim" };
  const note = item.whole ? `✂ ${count(item.whole)} characters: ` : "";
  return {
    texts: { ...base, type: item.topic ?? item.type, text: note + item.text },
    title: { type: item.topic ?? item.type, node: item.node },
  };
}

export class Events {
  /** `filter(topic)` asks for another stream. */
  constructor(filter) {
    this.all = [];
    this.waiting = [];
    this.isPaused = false;
    this.figures = { shown: 0, hidden: 0, missed: 0 };
    this.slots = new Slots(COLUMNS, {
      caption: "The last events, newest first",
      label: "Last events",
      className: "events",
      empty: "No events yet. They appear here as they are published.",
      press: (item) => this.detail(item),
    });
    this.pause = el(
      "button",
      { type: "button", "aria-pressed": "false", class: "pause", onclick: () => this.toggle() },
      "Pause",
    );
    this.tally = el("p", { class: "tally" });
    const input = el("input", {
      id: "filter",
      type: "text",
      placeholder: "all topics",
      title: "A pattern: * stands for one word, > for the rest, as in mail.*.new or cache.>",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 200,
    });
    this.head = el("p", { class: "detail-head" }, "Choose one from the list to see all of it.");
    this.size = el("p", { class: "detail-head" }, "\u00a0");
    this.whole = el("pre", {
      class: "detail",
      tabindex: "0",
      role: "region",
      "aria-label": "The chosen event",
    });
    this.root = el(
      "section",
      { class: "panel last" },
      el(
        "div",
        { class: "head" },
        el("h2", {}, "Last events"),
        el(
          "form",
          {
            class: "filter",
            onsubmit: (event) => {
              event.preventDefault();
              this.clear();
              filter(input.value.trim());
            },
          },
          el("label", { for: "filter" }, "Topic"),
          input,
          el("button", {}, "Filter"),
        ),
        this.pause,
      ),
      this.tally,
      this.slots.root,
    );
    this.chosen = el(
      "section",
      { class: "panel chosen" },
      el("h2", {}, "Chosen event"),
      this.head,
      this.size,
      this.whole,
    );
    this.draw();
  }

  clear() {
    this.all = [];
    this.waiting = [];
    this.draw();
  }

  /** What the node has sent: items, and how many it has left out. */
  take({ items, more, unseen }) {
    const left = more + unseen;
    this.figures.hidden += left;
    const fresh = items.slice();
    if (left) fresh.unshift({ kind: "unseen", at: Date.now(), text: `${count(left)} more, not shown` });
    this.push(fresh, items.length);
  }

  gap({ missed }) {
    this.figures.missed += missed ?? 1;
    this.push(
      [
        {
          kind: "unseen",
          at: Date.now(),
          text:
            missed === null
              ? "this page has missed what came meanwhile"
              : `this page was too slow for ${count(missed)} lines`,
        },
      ],
      0,
    );
  }

  push(items, shown) {
    this.figures.shown += shown;
    if (this.isPaused) {
      this.waiting = [...items.toReversed(), ...this.waiting].slice(0, MOST);
    } else {
      this.all = [...items.toReversed(), ...this.all].slice(0, MOST);
    }
    this.draw();
  }

  toggle() {
    this.isPaused = !this.isPaused;
    this.pause.setAttribute("aria-pressed", String(this.isPaused));
    write(this.pause, this.isPaused ? "Go on" : "Pause");
    this.all = [...this.waiting, ...this.all].slice(0, MOST);
    this.waiting = [];
    this.draw();
  }

  draw() {
    const { shown, hidden, missed } = this.figures;
    const wait = this.isPaused
      ? `paused, ${this.waiting.length === MOST ? `${MOST} or more` : this.waiting.length} waiting`
      : "running";
    write(
      this.tally,
      `${count(shown)} shown, ${count(hidden)} only counted, ${count(missed)} missed by this page; ${wait}`,
    );
    this.slots.show(this.all, line);
  }

  detail(item) {
    const { texts } = line(item);
    const size = item.size === undefined ? "\u00a0" : `${count(item.size)} bytes`;
    const cut = item.whole ? `, the first ${count(item.text.length)} of ${count(item.whole)} characters` : "";
    write(this.head, [texts.at, texts.node, texts.seq, texts.type].filter(Boolean).join("  "));
    write(this.size, size + cut);
    write(this.whole, item.text);
  }
}
