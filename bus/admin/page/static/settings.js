// Settings > Cluster > Coordinator: read, edit, try, save.

import { Failure, ask, call, listen } from "./api.js";
import { compare } from "./compare.js";
import { el } from "./dom.js";
import { Draft } from "./draft.js";
import { Form } from "./form.js";

const ID = "singleton";
const STAGES = {
  resolve: "A secret cannot be had",
  connect: "No connection",
  auth: "Login refused",
  subscribe: "No permission for the channel",
  probe: "Our own message does not come back",
  switch: "Rolled back: the other nodes did not follow",
};

// What is being edited survives a look at the other view.
let kept = null;

export function settings({ session, may, say }) {
  let draft = null;
  let form = null;
  let schema = null;
  let busy = false;
  let end = () => {};
  let isClosed = false;
  // What others have stored meanwhile, until it is decided whose version stays.
  let conflict = null;

  const notice = el("div", { class: "notices" });
  const version = el("p", { class: "version" }, "Loading…");
  const place = el("div");
  const type = el("select", { id: "backend-type", onchange: () => choose(type.value), disabled: true });
  const state = el("p", { role: "status", class: "state" });
  const reset = el(
    "button",
    {
      type: "button",
      onclick: () => {
        draft.reset();
        draw();
        tell("Your changes are gone.");
        focusType();
      },
    },
    "Reset",
  );
  const test = el("button", { type: "button", onclick: () => send(true) }, "Test connection");
  const save = el("button", { class: "primary" }, "Save");
  const root = el(
    "form",
    {
      class: "settings",
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        send(false);
      },
    },
    el(
      "nav",
      { "aria-label": "Breadcrumb", class: "crumbs" },
      el(
        "ol",
        {},
        ["Settings", "Cluster", "Coordinator"].map((word, index) =>
          el("li", { "aria-current": index === 2 ? "page" : null }, word),
        ),
      ),
    ),
    el("h1", {}, "Coordinator"),
    el(
      "p",
      { class: "lead" },
      "How the nodes of the cluster reach each other. A change is tried on a connection of its own before it is saved; then the running bus moves to it without losing an event.",
    ),
    version,
    notice,
    el("div", { class: "panel choice" }, el("label", { for: "backend-type" }, "Backend type"), type),
    place,
    el("div", { class: "actions" }, state, el("span", { class: "buttons" }, reset, test, save)),
  );

  const focusType = () => type.focus();

  function tell(text) {
    state.className = "state";
    state.textContent = text;
  }

  /** What went wrong, above the form; `told` are fields to go to. */
  function complain(title, lines = [], told = []) {
    const heading = el("h2", { tabindex: "-1" }, title);
    notice.replaceChildren(
      el(
        "section",
        { class: "panel problem", role: "alert" },
        heading,
        lines.filter(Boolean).map((line) => el("p", {}, line)),
        told.length
          ? el(
              "ul",
              {},
              told.map(({ label, text, focus }) =>
                el(
                  "li",
                  {},
                  el("button", { type: "button", class: "link", onclick: focus }, label),
                  ` ${text}`,
                ),
              ),
            )
          : null,
      ),
    );
    if (told.length) told[0].focus();
    else heading.focus();
  }

  function offerComparison(now, news) {
    conflict = { now, news };
    drawConflict().focus();
  }

  function drawConflict() {
    const { now, news } = conflict;
    const panel = compare(
      draft,
      now.object,
      news,
      () => {
        show(now);
        describe();
        tell("You see what is stored.");
        focusType();
      },
      () => {
        draft.rebase(now.object, now.state);
        conflict = null;
        draw();
        send(false);
      },
    );
    notice.replaceChildren(panel.root);
    return panel;
  }

  function show(now) {
    draft = kept = new Draft(schema, now.object, now.state);
    conflict = null;
    draw();
  }

  function draw() {
    if (!conflict) notice.replaceChildren();
    type.value = draft.type;
    form = new Form(schema, draft, note, isFixed());
    place.replaceChildren(form.root);
    note();
  }

  const isFixed = () => !may("sysCoordinatorUpdate") || schema.isManaged;

  function note() {
    const edits = Object.keys(draft.patch()).length;
    state.className = edits ? "state dirty" : "state";
    state.textContent = isFixed()
      ? ""
      : edits
        ? `${edits} unsaved ${edits === 1 ? "change" : "changes"}`
        : "No changes";
    reset.disabled = save.disabled = busy || !edits || isFixed();
    test.disabled = busy || isFixed();
    if (conflict) drawConflict();
  }

  function choose(tag) {
    draft.type = tag;
    draw();
  }

  async function read() {
    const got = await call("x:Coordinator/get", { ids: [ID] });
    return { object: got.list[0], state: got.state };
  }

  async function describe() {
    const changed = await ask("GET", "/api/changed").catch(() => ({}));
    const by = changed.at
      ? `changed by the token “${changed.by}”, ${new Date(changed.at).toLocaleString("en-GB")}`
      : "never changed here";
    version.textContent = `Version ${draft.state}, ${by}.${isFixed() ? (schema.isManaged ? " It is managed by the configuration file of the node, and changed there." : " Your token may read it, not change it.") : ""}`;
    return changed;
  }

  async function load() {
    const [found, who, now] = await Promise.all([
      ask("GET", "/api/schema"),
      ask("GET", "/jmap/session"),
      read(),
    ]);
    if (isClosed) return;
    schema = found;
    schema.isManaged = who.accounts.admin.isReadOnly && may("sysCoordinatorUpdate");
    draft =
      kept && kept.isDirty && kept.state === now.state ? kept : new Draft(schema, now.object, now.state);
    kept = draft;
    type.replaceChildren(
      ...Object.entries(schema["x-labels"]).map(([tag, label]) => el("option", { value: tag }, label)),
    );
    type.disabled = isFixed();
    draw();
    await describe();
    if (isClosed) return;
    end = listen("/jmap/eventsource?types=Coordinator&closeafter=no&ping=30", { state: follow }, (isLost) =>
      say(isLost ? "The node does not answer. What you see may be old; trying again." : ""),
    );
  }

  /** Somebody has stored another version. */
  async function follow({ changed }) {
    if (busy || changed.admin.Coordinator === draft.state) return;
    const now = await read();
    if (busy || now.state === draft.state) return;
    if (draft.isDirty && !draft.makes(now.object))
      return offerComparison(now, await ask("GET", "/api/changed").catch(() => ({})));
    show(now);
    const news = await describe();
    tell(`The token “${news.by}” has changed this just now.`);
  }

  async function send(isTrial) {
    if (busy) return;
    busy = true;
    conflict = null;
    note();
    notice.replaceChildren();
    form.clear();
    root.setAttribute("aria-busy", "true");
    tell(isTrial ? "Testing the connection…" : "Testing the connection, then moving the bus…");
    const args = {
      ifInState: draft.state,
      update: { [ID]: draft.patch() },
      ...(isTrial ? { dryRun: true } : {}),
    };
    try {
      const result = await call("x:Coordinator/set", args);
      busy = false;
      const refused = result.notUpdated && result.notUpdated[ID];
      if (refused) refuse(refused);
      else if (isTrial) {
        note();
        tell("The connection works. Nothing was saved.");
      } else await saved();
    } catch (error) {
      busy = false;
      note();
      if (!(error instanceof Failure)) throw error;
      if (error.type === "stateMismatch")
        offerComparison(await read(), await ask("GET", "/api/changed").catch(() => ({})));
      else complain("Nothing was saved", [error.message]);
    } finally {
      busy = false;
      root.removeAttribute("aria-busy");
    }
  }

  function refuse({ type: kind, description, validationErrors, stage, hint, properties = [] }) {
    note();
    if (kind === "invalidProperties" && validationErrors) {
      return complain(
        validationErrors.length > 1
          ? `${validationErrors.length} fields need another value`
          : "A field needs another value",
        [],
        form.refuse(validationErrors),
      );
    }
    if (kind === "connectionFailed")
      return complain(STAGES[stage] || "The connection failed", [
        description,
        hint,
        "Nothing was saved; the bus runs as before.",
      ]);
    return complain("Nothing was saved", [description, properties.join(", ")]);
  }

  async function saved() {
    show(await read());
    await describe();
    tell(`Saved. The bus runs on ${schema["x-labels"][draft.type]} now.`);
  }

  const guard = (event) => {
    if (draft && draft.isDirty) event.preventDefault();
  };
  addEventListener("beforeunload", guard);

  return {
    root,
    ready: () =>
      load().catch((error) => {
        version.textContent = "";
        complain("The Coordinator cannot be shown", [error.message]);
      }),
    leave: () => {
      isClosed = true;
      removeEventListener("beforeunload", guard);
      end();
    },
  };
}
