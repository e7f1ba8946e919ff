"""HTTP: paths, who may ask, how much, and what answers. The one file that knows starlette.

GET  /.well-known/jmap, /jmap/session    the session          POST /api, /jmap     JMAP requests
GET  /jmap/eventsource                   state changes        GET  /api/schema     JSON Schema, ETag
GET  /health/live, /health/ready         without a token      /jmap/download, /jmap/upload: 404, no blobs
GET  /metrics                            Prometheus, with busMetricsRead
GET  /, /session, /events, ...           the web page: `bus.admin.page`
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

import anyio.to_thread

from bus.admin import eventsource
from bus.admin.coordinator import CHANGING
from bus.admin.health import live, ready
from bus.admin.jmap import ijson
from bus.admin.jmap.methods import Caller, Method, report, respond
from bus.admin.jmap.request import (
    MAX_CONCURRENT_REQUESTS,
    MAX_SIZE_REQUEST,
    Refused,
    Request,
    check_content_type,
    check_encoding,
    over_limit,
    read_request,
)
from bus.admin.jmap.session import session
from bus.admin.throttle import Buckets, Places
from bus.admin.tokens import GET, METRICS, UPDATE
from bus.errors import ConfigError

if TYPE_CHECKING:
    import asyncio

    from starlette.applications import Starlette
    from starlette.requests import Request as Http
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from bus.admin.cutover import Cutover
    from bus.admin.gate import Gate
    from bus.admin.jmap.ijson import JsonObject
    from bus.admin.measures import Measures
    from bus.admin.page import Page
    from bus.admin.schema import Schema
    from bus.bus import Bus

# Reading a large text takes longer than other tasks of the loop should wait.
IN_THREAD = 65_536
CHANGES_PER_SECOND = 5
# Bytes of large bodies, for each token: at once, and per second from then on. Small ones are free.
SMALL_BODY = 16_384
BODY_BURST, BODY_RATE = 32_000_000, 2_000_000

_SAFE = {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def safe() -> dict[str, str]:
    """The headers of every answer."""
    return {**_SAFE, "Date": formatdate(usegmt=True)}


Endpoint = Callable[["Http"], Awaitable["Response"]]


class Parts(NamedTuple):
    """What the paths lead to."""

    gate: Gate
    cutover: Cutover
    methods: dict[str, Method]
    schema: Schema
    closing: asyncio.Event
    # Whether nobody may change the object here.
    is_managed: bool
    # "host:port", for who did not say how he calls us.
    place: str
    page: Page
    measures: Measures
    # What the metrics are of, if the node is one of ours.
    bus: Bus | None


def build(parts: Parts) -> ASGIApp:
    """The ASGI application."""
    return _App(parts).application()


class _App:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._gate = parts.gate
        self._requests = Places(MAX_CONCURRENT_REQUESTS)
        self._streams = Places(eventsource.MAX_STREAMS)
        self._changes = Buckets(CHANGES_PER_SECOND, CHANGES_PER_SECOND, time.monotonic)
        self._bodies = Buckets(BODY_BURST, BODY_RATE, time.monotonic)

    def application(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.routing import Route

        async def refused(http: Http, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            return _refusal(
                Refused(error.status_code, "about:blank", error.detail, headers=dict(error.headers or {}))
            )

        def get(path: str, endpoint: Endpoint) -> Route:
            return Route(path, self._guarded(endpoint), methods=["GET"])

        page = self._parts.page.routes(safe, self._caller)
        app = Starlette(
            routes=[
                *(
                    Route(path, self._guarded(_by_method(ends)), methods=list(ends))
                    for path, ends in page.items()
                ),
                get("/.well-known/jmap", self._session),
                get("/jmap/session", self._session),
                get("/jmap/eventsource", self._events),
                get("/api/schema", self._schema),
                get("/health/live", self._live),
                get("/health/ready", self._ready),
                get("/metrics", self._metrics),
                *(Route(path, self._guarded(self._api), methods=["POST"]) for path in ("/api", "/jmap")),
            ],
            exception_handlers={HTTPException: refused},
        )
        app.router.redirect_slashes = False
        return app

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """What no path may do without: the checks of the host, and an answer to our own bugs."""

        async def run(http: Http) -> Response:
            response = await answer(http)
            # As it is routed: what was asked for may be anything.
            self._parts.measures.request(http.scope["route"].path, response.status_code)
            return response

        async def answer(http: Http) -> Response:
            request_id = secrets.token_hex(8)
            http.state.request_id = request_id
            try:
                self._gate.check(http.headers, http.method, http.scope["scheme"])
                return await endpoint(http)
            except Refused as error:
                return _refusal(error)
            except Exception as bug:  # noqa: BLE001  # ours: told with a number, never with a traceback
                report(request_id, bug)
                return _refusal(
                    Refused(500, "about:blank", f"a bug of ours; see the log for request {request_id}")
                )

        return run

    def _caller(self, http: Http, *permissions: str) -> Caller:
        """Who asks. Raises Refused: 401, 403, 429."""
        remote = http.client.host if http.client is not None else ""
        given = http.headers.getlist("authorization")
        token = None if given else self._parts.page.caller(http)
        if token is None:
            token = self._gate.authenticate(given, remote)
        if permissions and token.permissions.isdisjoint(permissions):
            raise Refused(403, "about:blank", f"this token has none of: {', '.join(permissions)}")
        return Caller(token, remote, http.state.request_id)

    # -- JMAP --------------------------------------------------------------------------------------

    async def _api(self, http: Http) -> Response:
        caller = self._caller(http, GET, UPDATE)
        with self._requests.one(caller.token.id) as is_free:
            if not is_free:
                raise over_limit("maxConcurrentRequests", MAX_CONCURRENT_REQUESTS, " at a time")
            check_content_type(http.headers.get("content-type", ""))
            check_encoding(http.headers.get("content-encoding", ""))
            body = await self._body(http, caller.token.id)
            if len(body) > IN_THREAD:
                request = await anyio.to_thread.run_sync(read_request, body)
            else:
                request = read_request(body)
            limits = self._limit_changes(request, caller)
            state = str(self._session_of(http, caller)["state"])
            response = await respond(request, self._parts.methods, caller, state)
            return _json(response, headers=limits)

    async def _body(self, http: Http, key: str) -> bytes:
        """The body, refused as soon as it is too long, or one of too many: Content-Length is no proof."""
        from starlette.requests import ClientDisconnect

        found = bytearray()
        length = http.headers.get("content-length", "0")
        announced = int(length[:20]) if length.isdecimal() else 0
        if announced > MAX_SIZE_REQUEST:
            raise over_limit("maxSizeRequest", MAX_SIZE_REQUEST, " bytes in a request")
        try:
            async for piece in http.stream():
                found += piece
                if len(found) > MAX_SIZE_REQUEST:
                    raise over_limit("maxSizeRequest", MAX_SIZE_REQUEST, " bytes in a request")
                if max(announced, len(found)) > SMALL_BODY and not self._bodies.take(key, len(piece)):
                    wait = str(self._bodies.wait(key, max(announced, len(found))))
                    text = "too many large requests: 2 MB per second are allowed"
                    raise Refused(429, "about:blank", text, headers={"Retry-After": wait})
        except ClientDisconnect:
            raise Refused(400, "about:blank", "the connection ended within the request") from None
        return bytes(found)

    def _limit_changes(self, request: Request, caller: Caller) -> dict[str, str]:
        """Each request may mean connections to some server: 5 per second and token. Raises Refused 429."""
        if not any(call.name in CHANGING for call in request.calls):
            return {}
        buckets, key = self._changes, caller.token.id
        is_free = buckets.take(key)
        left = int(buckets.level(key))
        headers = {
            "RateLimit-Policy": f'"set";q={buckets.size};w=1',
            "RateLimit": f'"set";r={left};t={buckets.wait(key)}',
        }
        if not is_free:
            headers["Retry-After"] = str(buckets.wait(key))
            raise Refused(429, "about:blank", "too many changes: 5 per second are allowed", headers=headers)
        return headers

    async def _session(self, http: Http) -> Response:
        return _json(self._session_of(http, self._caller(http)))

    def _session_of(self, http: Http, caller: Caller) -> JsonObject:
        base = f"{http.scope['scheme']}://{http.headers.get('host') or self._parts.place}"
        is_read_only = self._parts.is_managed or UPDATE not in caller.token.permissions
        return session(caller.token, base, self._parts.cutover.node.name, is_read_only=is_read_only)

    async def _events(self, http: Http) -> Response:
        from starlette.responses import StreamingResponse

        caller = self._caller(http, GET)
        is_open = self._parts.page.still_open(http, caller.token)
        wish = eventsource.wanted(http.query_params)
        if self._streams.is_full(""):
            raise Refused(503, "about:blank", f"at most {self._streams.most} streams are allowed")
        parts = self._parts
        last_id = http.headers.get("last-event-id")

        async def body() -> AsyncIterator[bytes]:
            if http.method == "HEAD":  # nobody sees it, and it would go on for as long as the client stays
                return
            with self._streams.one(""):
                async for piece in eventsource.stream(wish, parts.cutover, parts.closing, last_id):
                    if not is_open():
                        return
                    yield piece

        headers = safe() | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(body(), media_type="text/event-stream", headers=headers)

    # -- the rest ----------------------------------------------------------------------------------

    async def _schema(self, http: Http) -> Response:
        from starlette.responses import Response

        self._caller(http, GET)
        schema = self._parts.schema
        headers = safe() | {"Cache-Control": "no-cache", "ETag": schema.etag}
        known = [one.strip().removeprefix("W/") for one in http.headers.get("if-none-match", "").split(",")]
        if schema.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(schema.body, media_type="application/schema+json", headers=headers)

    async def _metrics(self, http: Http) -> Response:
        from starlette.responses import Response

        from bus.metrics import CONTENT_TYPE, BusCollector, scrape

        self._caller(http, METRICS)
        if self._parts.bus is None:
            raise Refused(404, "about:blank", "this node has no metrics")
        try:
            collector = BusCollector(self._parts.bus, self._parts.measures.families)
        except ConfigError as error:
            raise Refused(501, "about:blank", str(error)) from error
        return Response(scrape(collector), headers=safe(), media_type=CONTENT_TYPE)

    async def _live(self, http: Http) -> Response:
        return _json(live())

    async def _ready(self, http: Http) -> Response:
        # Whoever may read the configuration may know what is wrong; a probe only gets the answer.
        knows = False
        if "authorization" in http.headers:
            knows = GET in self._caller(http).token.permissions
        is_ready, found = ready(self._parts.cutover, with_details=knows)
        return _json(found, 200 if is_ready else 503)


def _by_method(endpoints: dict[str, Endpoint]) -> Endpoint:
    async def run(http: Http) -> Response:
        return await endpoints["GET" if http.method == "HEAD" else http.method](http)

    return run


def _json(
    value: JsonObject,
    status: int = 200,
    media_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Response:
    from starlette.responses import Response

    return Response(ijson.write(value), status, safe() | (headers or {}), media_type)


def _refusal(error: Refused) -> Response:
    return _json(error.document(), error.status, "application/problem+json", error.headers)
