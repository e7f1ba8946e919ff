// Publish one message, and see which nodes have it.

import { ask } from "./api.js";
import { el } from "./dom.js";

export function publishForm(isAllowed) {
  if (!isAllowed) {
    return el(
      "section",
      { class: "panel publish" },
      el("h2", {}, "Publish"),
      el("p", { class: "empty" }, "Your token may not publish: it needs the permission busEventsPublish."),
    );
  }
  const topic = el("input", {
    id: "publish-topic",
    type: "text",
    required: true,
    maxlength: 500,
    autocomplete: "off",
    spellcheck: "false",
    value: "demo.hello",
  });
  const body = el("textarea", { id: "publish-body", rows: 3, spellcheck: "false" });
  const result = el("p", {
    role: "status",
    class: "result",
    tabindex: "0",
    "aria-label": "Result of publishing",
  });
  const button = el("button", { class: "primary" }, "Publish");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    result.className = "result";
    result.textContent = "Publishing…";
    try {
      const { seq, heard, missing } = await ask("POST", "/publish", { topic: topic.value, body: body.value });
      const who = heard.length ? `heard by ${heard.join(", ")}` : "no other node is here to hear it";
      result.textContent = `#${seq} published; ${who}${missing.length ? `; not yet by ${missing.join(", ")}` : ""}.`;
      result.className = missing.length ? "result warn" : "result good";
    } catch (error) {
      result.className = "result bad";
      result.textContent = `Not published: ${error.message}`;
    } finally {
      button.disabled = false;
    }
  };
  return el(
    "section",
    { class: "panel publish" },
    el("h2", {}, "Publish"),
    el(
      "form",
      { onsubmit: submit },
      el("label", { for: "publish-topic" }, "Topic"),
      topic,
      el("label", { for: "publish-body" }, "Text"),
      body,
      el("div", { class: "buttons" }, button),
    ),
    result,
  );
}
