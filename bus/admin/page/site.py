"""The paths of the page, and who may use them.

GET  /, /favicon.ico, /static/...   for everybody: they hold no data
POST /session   {"token"}: log in   GET /session: who am I       DELETE /session: log out
GET  /events    the live stream     POST /publish: one event     GET /api/changed: who changed the object last
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import anyio

from bus.admin.jmap import ijson
from bus.admin.jmap.request import Refused, check_content_type
from bus.admin.page import publish
from bus.admin.page.feed import MAX_TOPIC, Feed
from bus.admin.page.sessions import LONGEST, Session, Sessions, check_own_page
from bus.admin.throttle import Buckets, Places
from bus.admin.tokens import GET, UPDATE

if TYPE_CHECKING:
    import asyncio

    from starlette.requests import Request as Http
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from bus.admin.gate import Gate
    from bus.admin.jmap.ijson import JsonObject
    from bus.admin.jmap.methods import Caller
    from bus.admin.page.assets import Asset, Assets
    from bus.admin.store import Store
    from bus.admin.tokens import Token, Tokens
    from bus.bus import Bus

audit: logging.Logger = logging.getLogger("bus.audit")

READ, PUBLISH = "busEventsRead", "busEventsPublish"
MAX_STREAMS = 16
PUBLISH_RATE = 20
MAX_LOGIN = 4_096
# Seconds after which a client that has not taken a piece is one that does not read.
SLOW = 0.5
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_PAGE = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

Endpoint = Callable[["Http"], Awaitable["Response"]]


class Page:
    """Everything of the page. `bus` is None for a node that is no Bus: it has no live view."""

    def __init__(
        self, assets: Assets, gate: Gate, tokens: Tokens, bus: Bus | None, store: Store, identity: str,
        closing: asyncio.Event,
    ) -> None:  # fmt: skip
        """`identity`: what tells this node's cookie from those of its neighbours."""
        self.sessions: Sessions = Sessions(tokens, identity, time.monotonic)
        self.feed: Feed | None = Feed(bus) if bus is not None else None
        self._gate = gate
        self._tokens = tokens
        self._bus = bus
        self._store = store
        self._closing = closing
        self._assets = assets
        self._streams = Places(MAX_STREAMS)
        self._published = Buckets(PUBLISH_RATE, PUBLISH_RATE, time.monotonic)

    def wake(self) -> None:
        """The server is being stopped: every stream looks at `closing`."""
        if self.feed is not None:
            self.feed.news.set()

    def caller(self, http: Http) -> Token | None:
        """The token of the session of this request; None when it brings none. Raises Refused 401, 403."""
        cookies = http.headers.getlist("cookie")
        session = self.sessions.find(cookies)
        if session is None:
            if self.sessions.has_cookie(cookies):
                # No failed login: nobody guesses 256 bits, and a page that is open asks again and again.
                raise Refused(401, "about:blank", "the session is over: log in again")
            return None
        check_own_page(http.method, http.headers, session)
        return session.token

    def routes(
        self, safe: Callable[[], dict[str, str]], caller: Callable[..., Caller]
    ) -> dict[str, dict[str, Endpoint]]:
        """Path -> method -> endpoint; `safe` gives the headers of every answer, `caller` says who asks."""
        self._safe = safe
        self._caller = caller
        return {
            "/": {"GET": self._index},
            "/favicon.ico": {"GET": self._icon},
            "/static/{path:path}": {"GET": self._static},
            "/session": {"GET": self._who, "POST": self._log_in, "DELETE": self._log_out},
            "/api/changed": {"GET": self._changed},
            "/events": {"GET": self._events},
            "/publish": {"POST": self._publish},
        }

    # -- files -------------------------------------------------------------------------------------

    async def _index(self, http: Http) -> Response:
        return self._file(self._assets.index, "no-cache")

    async def _icon(self, http: Http) -> Response:
        return self._file(self._assets.icon, "max-age=86400")

    async def _static(self, http: Http) -> Response:
        asset = self._assets.by_path.get(http.url.path)
        if asset is None:
            raise Refused(404, "about:blank", "there is no such file; load the page again")
        return self._file(asset, "public, max-age=31536000, immutable")

    def _file(self, asset: Asset, caching: str) -> Response:
        from starlette.responses import Response

        headers = self._safe() | _PAGE | {"Cache-Control": caching, "Content-Type": asset.media_type}
        return Response(asset.content, headers=headers)

    # -- login -------------------------------------------------------------------------------------

    async def _who(self, http: Http) -> Response:
        session = self.sessions.find(http.headers.getlist("cookie"))
        if session is not None:
            check_own_page(http.method, http.headers, session)
        return self._json(self._described(session))

    async def _log_in(self, http: Http) -> Response:
        check_own_page(http.method, http.headers, None)
        check_content_type(http.headers.get("content-type", ""))
        found: object = None
        with suppress(ValueError):
            found = ijson.read(await _body(http, MAX_LOGIN))
        text = found.get("token") if ijson.is_object(found) else None
        if not isinstance(text, str):
            raise Refused(400, "about:blank", 'send {"token": "..."}')
        remote = http.client.host if http.client is not None else ""
        # The text may be anything: no header would be split by it, since it is compared only.
        token = self._gate.authenticate([f"Bearer {text}"], remote)
        cookies = http.headers.getlist("cookie")
        self.sessions.close(cookies)
        session, cookie = self.sessions.open(token)
        audit.info('{"event":"login","outcome":"session","token":"%s","remote":"%s"}', token.id, remote)
        return self._json(self._described(session), {"Set-Cookie": cookie})

    async def _log_out(self, http: Http) -> Response:
        cookies = http.headers.getlist("cookie")
        session = self.sessions.find(cookies)
        if session is not None:
            check_own_page(http.method, http.headers, session)
            audit.info('{"event":"logout","token":"%s"}', session.token.id)
        # Streams of this session look whether it is still open.
        gone = self.sessions.close(cookies) if session is not None else self.sessions.close([])
        self.wake()
        return self._json(self._described(None), {"Set-Cookie": gone})

    def _described(self, session: Session | None) -> JsonObject:
        if session is None:
            return {"session": None}
        token = session.token
        return {
            "session": {
                "name": token.name,
                "csrf": session.csrf,
                "permissions": sorted(token.permissions),
                "isLive": self.feed is not None,
                "longest": int(LONGEST),
            }
        }

    async def _changed(self, http: Http) -> Response:
        self._caller(http, GET, UPDATE)
        stored = self._store.current
        if stored is None:
            return self._json({"state": self._store.state, "at": None, "by": None})
        names = {token.id: token.name for token in self._tokens.all()}
        by = names.get(stored.updated_by, stored.updated_by)
        return self._json({"state": stored.state, "at": stored.updated_at, "by": by})

    # -- live --------------------------------------------------------------------------------------

    async def _events(self, http: Http) -> Response:
        caller = self._caller(http, READ)
        if self.feed is None:
            raise Refused(404, "about:blank", "this node has no live view")
        topic = http.query_params.get("topic") or None
        if topic is not None and len(topic) > MAX_TOPIC:
            raise Refused(400, "about:blank", f"topic may have {MAX_TOPIC} characters at most")
        if self._streams.is_full(""):
            raise Refused(503, "about:blank", f"at most {MAX_STREAMS} streams are allowed")
        last_id = http.headers.get("last-event-id")
        stream = self.feed.stream(topic, last_id, self.still_open(http, caller.token), self._closing)
        headers = self._safe() | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if http.method == "HEAD":
            await stream.aclose()
            return self._json({}, headers)
        return _stream(stream, headers, self._streams, self._note_unread)

    def still_open(self, http: Http, token: Token) -> Callable[[], bool]:
        """For a stream that goes on: whether who has opened it may still see it."""
        if "authorization" in http.headers:
            return lambda: self._tokens.is_valid(token)
        session = self.sessions.find(http.headers.getlist("cookie"))
        return lambda: session is not None and self.sessions.is_open(session)

    def _note_unread(self) -> None:
        assert self.feed is not None
        self.feed.dropped += 1
        audit.warning('{"event":"stream","outcome":"dropped","why":"its client does not read"}')

    async def _publish(self, http: Http) -> Response:
        caller = self._caller(http, PUBLISH)
        if self._bus is None:
            raise Refused(404, "about:blank", "this node publishes nothing")
        check_content_type(http.headers.get("content-type", ""))
        if not self._published.take(caller.token.id):
            wait = {"Retry-After": str(self._published.wait(caller.token.id))}
            text = f"too many events: {PUBLISH_RATE} a second are allowed here"
            raise Refused(429, "about:blank", text, headers=wait)
        event = publish.read(await _body(http, publish.MAX_BODY))
        found = await publish.publish(self._bus, event)
        audit.info('{"event":"publish","token":"%s","seq":%d}', caller.token.id, found["seq"])
        return self._json(found)

    def _json(self, value: JsonObject, headers: Mapping[str, str] | None = None) -> Response:
        from starlette.responses import Response

        return Response(
            ijson.write(value), headers={**self._safe(), **(headers or {})}, media_type="application/json"
        )


async def _body(http: Http, most: int) -> bytes:
    from starlette.requests import ClientDisconnect

    found = bytearray()
    try:
        async for piece in http.stream():
            found += piece
            if len(found) > most:
                raise Refused(413, "about:blank", f"at most {most} bytes are allowed")
    except ClientDisconnect:
        raise Refused(400, "about:blank", "the connection ended within the request") from None
    return bytes(found)


def _stream(
    pieces: AsyncGenerator[bytes], headers: Mapping[str, str], places: Places, note_unread: Callable[[], None]
) -> Response:
    """An answer without end. The HTTP server cuts off a client that takes nothing: that is counted."""
    from starlette.responses import Response

    class Streaming(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            began: list[float] = []

            async def until_gone(group: anyio.abc.TaskGroup) -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                if began and time.monotonic() - began[0] > SLOW:
                    note_unread()
                group.cancel_scope.cancel()

            raw: Sequence[tuple[bytes, bytes]] = self.raw_headers
            with places.one(""):
                async with aclosing(pieces), anyio.create_task_group() as group:
                    group.start_soon(until_gone, group)
                    await send({"type": "http.response.start", "status": 200, "headers": list(raw)})
                    async for piece in pieces:
                        began.append(time.monotonic())
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                        began.clear()
                    await send({"type": "http.response.body", "body": b""})
                    group.cancel_scope.cancel()

    made = Streaming(headers=dict(headers), media_type="text/event-stream")
    # A length would end it before it began.
    del made.headers["content-length"]
    return made
