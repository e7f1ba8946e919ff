// The way in: a token, once. The browser keeps a cookie that scripts cannot read, never the token.

import { el } from "./dom.js";

/** `enter(token)` logs in or throws; `why` says what ended the session before. */
export function login(enter, why) {
  const input = el("input", {
    id: "token",
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-help token-error",
  });
  const error = el("p", { id: "token-error", class: "error", role: "alert" }, why);
  const button = el("button", { class: "primary" }, "Sign in");
  const form = el(
    "form",
    {
      class: "panel login",
      onsubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        error.textContent = "";
        try {
          await enter(input.value.trim());
        } catch (trouble) {
          error.textContent = trouble.message;
          input.setAttribute("aria-invalid", "true");
          input.select();
        } finally {
          button.disabled = false;
        }
      },
    },
    el("h1", {}, "Sign in to this node"),
    el("label", { for: "token" }, "Access token"),
    input,
    el(
      "p",
      { id: "token-help", class: "help" },
      "It is in ",
      el("code", {}, "admin.token"),
      " in the state directory of the node, or was made by ",
      el("code", {}, "bus token create"),
      ".",
    ),
    error,
    button,
  );
  return { root: form, ready: () => input.focus() };
}
