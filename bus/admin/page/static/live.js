// The live view: this node, all nodes, who hears whom, what comes, and a form to publish.

import { listen } from "./api.js";
import { age, count, el, write } from "./dom.js";
import { Events } from "./events.js";
import { Matrix } from "./matrix.js";
import { publishForm } from "./publish.js";
import { Slots } from "./slots.js";

const STATES = {
  self: ["◆", "this node", ""],
  up: ["●", "up", "good"],
  silent: ["▲", "silent", "bad"],
  down: ["✕", "down", "bad"],
  left: ["○", "left", "dim"],
};
const SYSTEMS = { Nats: "NATS", RedisCluster: "Redis Cluster", RedisSentinel: "Redis Sentinel" };
const LINKS = {
  READY: ["●", "good"],
  DISABLED: ["○", "dim"],
  DEGRADED: ["▲", "warn"],
  CONNECTING: ["▲", "warn"],
  BACKOFF: ["✕", "bad"],
  FATAL: ["✕", "bad"],
  CLOSED: ["✕", "bad"],
};

const NODES = [
  { name: "name", title: "Node", kind: "node", isHead: true },
  { name: "state", title: "State", kind: "state" },
  { name: "rate", title: "Events/s", kind: "figure" },
  { name: "latency", title: "Latency", kind: "figure" },
  { name: "behind", title: "Waiting", kind: "figure" },
  { name: "repaired", title: "Repaired", kind: "figure" },
  { name: "lost", title: "Lost", kind: "figure" },
];

function nodeLine(node) {
  const [sign, word, className] = STATES[node.state];
  const since = node.state === "silent" || node.state === "down" ? ` ${age(node.since)}` : "";
  const twin = node.hasTwin ? " (name used twice)" : "";
  const figure = (value) => (value === undefined ? "–" : count(value));
  return {
    className: [className && `is-${className}`, node.lost ? "has-lost" : ""].filter(Boolean).join(" "),
    title: { name: `${node.name}, run ${node.epoch}` },
    texts: {
      name: node.name + twin,
      state: `${sign} ${word}${since}`,
      rate: count(node.rate),
      latency:
        node.latency === undefined || node.latency === null
          ? "–"
          : `${node.latency < 10 ? node.latency.toFixed(1) : Math.round(node.latency)} ms`,
      behind: figure(node.behind),
      repaired: figure(node.repaired),
      lost: figure(node.lost),
    },
  };
}

class Fact {
  constructor(label, help) {
    this.value = el("dd");
    this.root = el("div", { class: "fact", title: help }, el("dt", {}, label), this.value);
  }

  show(text, className = "") {
    write(this.value, text);
    if (this.value.className !== className) this.value.className = className;
  }
}

/** The last minute of a rate as a line; its numbers stand beside it. */
class Trace {
  constructor() {
    this.points = [];
    this.line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    this.root = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of Object.entries({
      viewBox: "0 0 60 20",
      preserveAspectRatio: "none",
      class: "trace",
      "aria-hidden": "true",
    }))
      this.root.setAttribute(name, value);
    this.root.append(this.line);
  }

  add(value) {
    this.points = [...this.points, value].slice(-60);
    const most = Math.max(1, ...this.points);
    const first = 60 - this.points.length;
    this.line.setAttribute(
      "points",
      this.points
        .map((one, index) => `${first + index + 0.5},${(19 - (one / most) * 18).toFixed(1)}`)
        .join(" "),
    );
  }
}

export function live({ may, say }) {
  const figures = {
    node: new Fact("Node", "Who shows you this"),
    link: new Fact("Link", "The messaging system, and whether the connection is proven"),
    nodes: new Fact("Nodes up", "Nodes that are heard, with this one"),
    rate: new Fact("Events/s", "Of all nodes together"),
    published: new Fact("Published", "By this node since it started"),
    unsent: new Fact("Unsent", "Events that wait for the link"),
    repaired: new Fact("Repaired", "Events that were lost on the way and repeated by their sender"),
    lost: new Fact("Lost", "Events that could not be had; each loss was told to the subscribers"),
    dropped: new Fact("Dropped", "Events dropped at subscribers of this node that were too slow"),
  };
  const trace = new Trace();
  figures.rate.root.append(trace.root);
  const nodes = new Slots(NODES, {
    caption: "Nodes",
    label: "Nodes",
    empty: "Waiting for the first word of this node.",
    className: "nodes",
  });
  const gone = el("p", { class: "help gone" }, "\u00a0");
  const matrix = new Matrix();
  const trouble = el("p", { class: "trouble" }, "\u00a0");
  let end = () => {};

  function status(now) {
    const link = now.links[0];
    const [sign, className] = LINKS[now.state] || ["?", "dim"];
    const heard = now.nodes.filter((node) => node.state === "self" || node.state === "up");
    const sum = (name) => now.nodes.reduce((total, node) => total + (node[name] || 0), 0);
    figures.node.show(now.node);
    figures.node.root.title = `${now.node}, run ${now.epoch}, channel ${now.channel}`;
    figures.link.show(
      `${sign} ${link ? `${SYSTEMS[link.type] || link.type} ` : ""}${now.state.toLowerCase()}`,
      className,
    );
    figures.nodes.show(
      `${heard.length} of ${now.nodes.length}`,
      heard.length < now.nodes.filter((node) => node.state !== "left").length ? "bad" : "",
    );
    const rate = sum("rate");
    figures.rate.show(count(rate));
    trace.add(rate);
    figures.published.show(count(now.published));
    figures.unsent.show(count(now.unsent), now.unsent > 1000 ? "warn" : "");
    figures.repaired.show(count(sum("repaired")));
    figures.lost.show(count(sum("lost")), sum("lost") ? "bad" : "");
    figures.dropped.show(count(now.dropped), now.dropped ? "warn" : "");
    const refused = Object.entries(now.refused).map(
      ([reason, number]) => `${number} frames refused (${reason})`,
    );
    const errors = now.links
      .filter((one) => one.error && one.state !== "READY")
      .map((one) => `${one.type}: ${one.error}`);
    write(trouble, [...errors, ...refused].join("; ") || "\u00a0");
    trouble.title = trouble.textContent.trim();
    nodes.show(now.nodes, nodeLine);
    const silent = now.nodes.some((node) => node.state === "silent" || node.state === "down");
    write(
      gone,
      now.gone
        ? `${count(now.gone)} more that are gone.`
        : silent
          ? "A silent node is waited for: losses are told after 30 s."
          : "\u00a0",
    );
    matrix.show(now);
  }

  const events = new Events((topic) => start(topic));
  function start(topic) {
    end();
    const path = topic ? `/events?topic=${encodeURIComponent(topic)}` : "/events";
    const handlers = {
      status,
      items: (found) => events.take(found),
      gap: (found) => events.gap(found),
      end: () => dispatchEvent(new Event("signed-out")),
    };
    end = listen(path, handlers, (isLost) => {
      root.classList.toggle("stale", isLost);
      say(isLost ? "The node does not answer. What you see is old; trying again." : "");
    });
  }

  const root = el(
    "div",
    { class: "live" },
    el("h1", { class: "unseen" }, "Live view"),
    el(
      "section",
      { class: "panel strip", "aria-label": "This node" },
      el(
        "dl",
        {},
        Object.values(figures).map((figure) => figure.root),
      ),
      trouble,
    ),
    el("section", { class: "panel cluster" }, el("h2", {}, "Nodes"), nodes.root, gone),
    el("section", { class: "panel hearing" }, el("h2", {}, "Who hears whom"), matrix.root),
    events.root,
    el("div", { class: "side" }, events.chosen, publishForm(may("busEventsPublish"))),
  );
  return { root, ready: () => start(""), leave: () => end() };
}
