"""From a body to a JMAP Request, or the one error that refuses all of it (RFC 8620, 3.3 and 3.6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bus.admin.jmap import ijson, shape

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject

CORE = "urn:ietf:params:jmap:core"
# The published examples of the object name this one; a vendor's capability should be a URL of its own.
ALIAS = "urn:stalwart:jmap"
# Ours: `validate`, `dryRun`, rollback.
OURS = "urn:coordinator-bus:jmap"
CAPABILITIES = (CORE, ALIAS, OURS)

ERROR = "urn:ietf:params:jmap:error:"

# RFC 8620 suggests 10 MB for the first; on the port of an administrator a tenth of it is plenty.
MAX_SIZE_REQUEST = 1_000_000
MAX_CONCURRENT_REQUESTS = 4
MAX_CALLS_IN_REQUEST = 16
MAX_OBJECTS_IN_GET = 500
MAX_OBJECTS_IN_SET = 500
# ... and what it does not know: values in a request; bytes of one object, 64 more for each value in it.
MAX_VALUES_IN_REQUEST = shape.MAX_VALUES
MAX_SIZE_OBJECT = 65_536
EACH_VALUE = 64


class Refused(Exception):
    """The request as a whole is refused: a problem document (RFC 9457) with this status."""

    def __init__(
        self, status: int, kind: str, detail: str, *, limit: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.limit = limit
        self.headers: dict[str, str] = headers or {}

    def document(self) -> JsonObject:
        """As JSON."""
        found: JsonObject = {"type": self.kind, "status": self.status, "detail": self.detail}
        return found | {"limit": self.limit} if self.limit else found


class Invocation(NamedTuple):
    """One method call, or one response to it."""

    name: str
    arguments: JsonObject
    call_id: str


class Request(NamedTuple):
    """What a client asks for; `created_ids` only if it sent some."""

    using: frozenset[str]
    calls: tuple[Invocation, ...]
    created_ids: dict[str, str] | None


def over_limit(limit: str, most: int, found: str = "") -> Refused:
    """The error for one of the limits that the session names."""
    return Refused(400, ERROR + "limit", f"at most {most} are allowed{found}", limit=limit)


def check_content_type(content_type: str) -> None:
    """Raise Refused unless it is JSON; parameters are allowed."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(400, ERROR + "notJSON", "send the request with Content-Type: application/json")


def check_encoding(encoding: str) -> None:
    """Raise Refused for a compressed body: a small one may become a large one."""
    if encoding.strip().lower() not in ("", "identity"):
        headers = {"Accept-Encoding": "identity"}
        raise Refused(415, "about:blank", "send the request without Content-Encoding", headers=headers)


def read_request(body: bytes) -> Request:
    """Raises Refused: limit (values), notJSON, notRequest, unknownCapability, limit (calls)."""
    if shape.has_too_many(body):
        if shape.is_too_deep(body, ijson.MAX_DEPTH):
            raise Refused(400, ERROR + "notJSON", f"nested deeper than {ijson.MAX_DEPTH} levels")
        raise over_limit("maxValuesInRequest", MAX_VALUES_IN_REQUEST, " in one request")
    try:
        value = ijson.read(body)
    except ijson.NotJson as error:
        raise Refused(400, ERROR + "notJSON", str(error)) from None
    request = _request(value)
    unknown = sorted(request.using.difference(CAPABILITIES))
    if unknown:
        shown = ", ".join(f'"{name[:80]}"' for name in unknown[:3])
        raise Refused(
            400,
            ERROR + "unknownCapability",
            f"using names {shown}; supported: {', '.join(CAPABILITIES)}",
        )
    if len(request.calls) > MAX_CALLS_IN_REQUEST:
        raise over_limit(
            "maxCallsInRequest", MAX_CALLS_IN_REQUEST, f" in one request, found {len(request.calls)}"
        )
    return request


def _request(value: object) -> Request:
    if not ijson.is_object(value):
        raise _not_request("the request must be an object")
    using, calls, created_ids = value.get("using"), value.get("methodCalls"), value.get("createdIds")
    if not ijson.is_texts(using):
        raise _not_request('"using" must be an array of strings')
    if not ijson.is_array(calls):
        raise _not_request('"methodCalls" must be an array')
    made: list[Invocation] = []
    for number, call in enumerate(calls):
        if not ijson.is_array(call) or len(call) != 3:
            raise _not_request(f"methodCalls/{number} must be an array [name, arguments, call id]")
        name, arguments, call_id = call
        if not isinstance(name, str) or not ijson.is_object(arguments) or not isinstance(call_id, str):
            raise _not_request(f"methodCalls/{number} must hold a string, an object and a string")
        made.append(Invocation(name, arguments, call_id))
    if created_ids is None and "createdIds" not in value:
        return Request(frozenset(using), tuple(made), None)
    if not ijson.is_object(created_ids):
        raise _not_request('"createdIds" must be an object')
    ids = {name: given for name, given in created_ids.items() if isinstance(given, str)}
    if len(ids) < len(created_ids):
        raise _not_request('the values of "createdIds" must be strings')
    return Request(frozenset(using), tuple(made), ids)


def _not_request(detail: str) -> Refused:
    return Refused(400, ERROR + "notRequest", detail)
