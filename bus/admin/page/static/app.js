// The frame of the page: who is logged in, which view is open, and what every view needs.

import { session, signOut } from "./api.js";
import { el } from "./dom.js";
import { live } from "./live.js";
import { login } from "./login.js";
import { settings } from "./settings.js";

const SETTINGS = "#/settings/cluster/coordinator";
const LIVE = "#/live";
const VIEWS = {
  [SETTINGS]: { title: "Coordinator", open: settings, needs: "sysCoordinatorGet" },
  [LIVE]: { title: "Live", open: live, needs: "busEventsRead" },
};

const top = document.getElementById("top");
const main = document.getElementById("main");
const banner = document.getElementById("banner");

let who = null;
let leave = () => {};

/** Something that concerns every view; "" takes it away. It lies over the page: nothing moves. */
function say(text) {
  banner.hidden = !text;
  banner.textContent = text;
}

function show(title, node) {
  leave();
  leave = node.leave || (() => {});
  say("");
  document.title = `${title} – Coordinator bus`;
  main.replaceChildren(node.root);
  if (node.ready) node.ready();
}

function header() {
  const links = Object.entries(VIEWS).map(([hash, view]) =>
    el(
      "a",
      { href: hash, "aria-current": location.hash === hash ? "page" : null },
      view.title === "Live" ? "Live" : "Settings",
    ),
  );
  top.hidden = false;
  top.replaceChildren(
    el("img", { src: "/favicon.ico", alt: "", width: 24, height: 24 }),
    el("strong", { class: "brand" }, "Coordinator bus"),
    el("nav", { "aria-label": "Views" }, links),
    el("span", { class: "who", title: `Signed in with the token "${who.name}"` }, who.name),
    el("button", { type: "button", onclick: bye }, "Sign out"),
  );
}

async function bye() {
  await signOut().catch(() => {});
  signedOut("");
}

function signedOut(why) {
  who = null;
  top.hidden = true;
  show(
    "Sign in",
    login(async (token) => {
      who = await session(token);
      // A cookie that the browser does not keep is noticed here, and not at the next click.
      if (!(await session()))
        throw new Error(
          "Your browser did not keep the session: open this page over https, or on this machine.",
        );
      route();
    }, why),
  );
}

function route() {
  if (location.hash === "#main") return main.focus();
  if (!who) return signedOut("");
  if (!VIEWS[location.hash]) {
    const first = Object.keys(VIEWS).find((hash) => may(VIEWS[hash].needs)) || SETTINGS;
    return location.replace(first);
  }
  const view = VIEWS[location.hash];
  header();
  const isHere = location.hash !== LIVE || who.isLive;
  if (!may(view.needs) || !isHere) {
    const text = isHere
      ? `Your token may not see this: it needs the permission ${view.needs}.`
      : "This node has no live view.";
    return show(view.title, { root: el("p", { class: "panel notice" }, text) });
  }
  return show(view.title, view.open({ session: who, may, say }));
}

function may(permission) {
  return who.permissions.includes(permission);
}

addEventListener("hashchange", route);
addEventListener("signed-out", () => who && signedOut("Your session is over. Please sign in again."));

try {
  who = await session();
  route();
} catch (error) {
  say(error.message);
}
