"""Runs the calls of one request in order; one that fails never stops the next (RFC 8620, 3.6.2)."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from bus.admin.jmap.errors import MethodError
from bus.admin.jmap.references import Responses
from bus.admin.jmap.request import CORE, Invocation, Request

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.admin.tokens import Token

log: logging.Logger = logging.getLogger("bus.admin")


class Caller(NamedTuple):
    """Who asks, for permissions and for the audit trail."""

    token: Token
    remote: str
    request_id: str


class Call(NamedTuple):
    """What a method gets: its arguments, references resolved, and where the call comes from."""

    arguments: JsonObject
    caller: Caller
    using: frozenset[str]
    created_ids: Mapping[str, str]


class Method(NamedTuple):
    """A method exists for those who name one of its capabilities, and runs for those who may."""

    capabilities: frozenset[str]
    permission: str | None
    run: Callable[[Call], Awaitable[JsonObject]]


async def echo(call: Call) -> JsonObject:
    """Core/echo: the arguments, unchanged."""
    return call.arguments


ECHO = Method(frozenset({CORE}), None, echo)


async def respond(
    request: Request, methods: Mapping[str, Method], caller: Caller, session_state: str
) -> JsonObject:
    """The Response object."""
    responses = Responses()
    for call in request.calls:
        try:
            result = await _run(call, request, methods, caller, responses)
            responses.all.append(Invocation(call.name, result, call.call_id))
        except MethodError as error:
            responses.all.append(Invocation("error", error.as_json(), call.call_id))
        except Exception as bug:  # noqa: BLE001  # ours: it is told and logged, and the next call goes on
            report(caller.request_id, bug)
            failed = MethodError("serverFail", f"a bug of ours; see the log for request {caller.request_id}")
            responses.all.append(Invocation("error", failed.as_json(), call.call_id))
    response: JsonObject = {"methodResponses": responses.all, "sessionState": session_state}
    if request.created_ids is not None:
        response["createdIds"] = request.created_ids
    return response


async def _run(
    call: Invocation,
    request: Request,
    methods: Mapping[str, Method],
    caller: Caller,
    responses: Responses,
) -> JsonObject:
    method = methods.get(call.name)
    if method is None or not method.capabilities & request.using:
        raise MethodError("unknownMethod", f'"{call.name[:80]}" is not a method of the capabilities in using')
    if method.permission is not None and method.permission not in caller.token.permissions:
        raise MethodError("forbidden", f"{call.name} needs the permission {method.permission}")
    arguments = responses.resolve(call.arguments)
    return await method.run(Call(arguments, caller, request.using, request.created_ids or {}))


def report(request_id: str, bug: BaseException) -> None:
    """Log where a bug is, without its message: that may quote the request."""
    trace = "".join(traceback.format_tb(bug.__traceback__))
    log.error("request %s: %s\n%s", request_id, type(bug).__name__, trace)
