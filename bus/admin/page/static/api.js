// Talks to the node: the session, JMAP, and what goes wrong as one kind of error.

const USING = ["urn:ietf:params:jmap:core", "urn:stalwart:jmap", "urn:coordinator-bus:jmap"];

let csrf = "";

/** An answer that is none: `status` of HTTP (0: no answer), or `type` of a JMAP method error. */
export class Failure extends Error {
  constructor(text, { status = 0, type = "" } = {}) {
    super(text);
    this.status = status;
    this.type = type;
  }
}

/** One request; the JSON of the answer. The word of the session goes along, the token never does. */
export async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (csrf) headers["X-Bus-CSRF"] = csrf;
  let reply;
  try {
    reply = await fetch(path, {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Failure("The node does not answer. Is it running?");
  }
  const found = await reply.json().catch(() => ({}));
  if (reply.ok) return found;
  if (reply.status === 401 && path !== "/session") dispatchEvent(new Event("signed-out"));
  throw new Failure(found.detail || `The node answered with ${reply.status}.`, { status: reply.status });
}

/** The session: null when nobody is logged in. With a token: log in first. */
export async function session(token) {
  const found = token === undefined ? await ask("GET", "/session") : await ask("POST", "/session", { token });
  csrf = found.session ? found.session.csrf : "";
  return found.session;
}

export async function signOut() {
  await ask("DELETE", "/session");
  csrf = "";
}

/** One JMAP method. Throws Failure with the type of a method error. */
export async function call(name, args) {
  const body = { using: USING, methodCalls: [[name, args, "c"]] };
  const { methodResponses } = await ask("POST", "/api", body);
  const [[found, result]] = methodResponses;
  if (found === "error")
    throw new Failure(result.description || result.type, { status: 200, type: result.type });
  return result;
}

/** A stream of events that comes back by itself; `lost(true)` while there is none. Returns how to end it. */
export function listen(path, handlers, lost) {
  let source = null;
  let again = 0;
  const open = () => {
    source = new EventSource(path);
    source.onopen = () => lost(false);
    source.onerror = () => {
      lost(true);
      // The browser tries again unless the node has refused; then it may be that nobody is logged in any more.
      if (source.readyState !== EventSource.CLOSED) return;
      source.close();
      again = setTimeout(async () => {
        const found = await session().catch(() => undefined);
        if (found === null) dispatchEvent(new Event("signed-out"));
        else open();
      }, 1000);
    };
    for (const [kind, take] of Object.entries(handlers)) {
      source.addEventListener(kind, (event) => take(JSON.parse(event.data)));
    }
  };
  open();
  return () => {
    clearTimeout(again);
    source.close();
  };
}
