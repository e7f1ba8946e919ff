"""Talks JMAP to one admin server, by the standard library; what goes wrong becomes a Failure that says why.

The token goes to the server that it was meant for: redirects are not followed.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
import ssl
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from bus.cli import typed
from bus.cli.failure import (
    CONFLICT,
    CONNECTION,
    DENIED,
    INVALID,
    OTHER,
    TIMEOUT,
    UNREACHABLE,
    Failure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bus.cli.target import Target

log: logging.Logger = logging.getLogger("bus.cli.http")

Json = dict[str, object]

USING = ["urn:ietf:params:jmap:core", "urn:stalwart:jmap", "urn:coordinator-bus:jmap"]
NAME = "x:Coordinator"
MAX_ANSWER = 16_000_000
# Tries, and seconds between them, where the server says when to come again.
PATIENCE = 3
LONGEST_WAIT = 2

_METHOD_ERRORS = {"stateMismatch": CONFLICT, "forbidden": DENIED, "accountReadOnly": DENIED}
_SET_ERRORS = {
    "invalidProperties": INVALID,
    "invalidPatch": INVALID,
    "connectionFailed": CONNECTION,
    "forbidden": DENIED,
}
_METHOD_HINTS = {
    "stateMismatch": "somebody else changed it: look at it again (bus get), or say --force",
    "forbidden": "bus token create --permission ... makes a token that may",
}


class Client:
    """One admin server. Every method raises Failure."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._place = urlsplit(target.url)

    def coordinator(self) -> tuple[str, Json]:
        """State and Coordinator, secrets masked."""
        found = self.call(f"{NAME}/get", {"ids": ["singleton"]})
        (one,) = cast("list[Json]", found["list"])
        return str(found["state"]), one

    def update(self, patch: Mapping[str, object], **arguments: object) -> Json:
        """Change it: the response of /set, if it was changed."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._changed(self.call(f"{NAME}/set", {**given, "update": {"singleton": dict(patch)}}))

    def rollback(self, **arguments: object) -> Json:
        """Back to the version before."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._changed(self.call(f"{NAME}/rollback", given))

    def schema(self) -> Json:
        """JSON Schema of all variants that this server knows."""
        return self.get("/api/schema")

    def call(self, name: str, arguments: Mapping[str, object]) -> Json:
        """The arguments of the response to one method call."""
        answer = self._ask("POST", "/api", {"using": USING, "methodCalls": [[name, dict(arguments), "c"]]})
        try:
            ((found, result, _),) = cast("list[tuple[str, Json, str]]", answer["methodResponses"])
        except (KeyError, TypeError, ValueError):
            raise self._no_jmap() from None
        if found != "error":
            return result
        kind = str(result.get("type"))
        raise Failure(
            _METHOD_ERRORS.get(kind, OTHER),
            kind,
            str(result.get("description") or kind),
            _METHOD_HINTS.get(kind, ""),
        )

    def get(self, path: str) -> Json:
        """A document."""
        return self._ask("GET", path, None)

    def health(self) -> Json:
        """What the node says about itself: "status" is "pass" when it runs on what is stored."""
        status, headers, answer = self._asked("GET", "/health/ready", None)
        if status not in (200, 503) or "status" not in answer:
            raise self._refused(status, headers, answer)
        return answer

    # -- inside ------------------------------------------------------------------------------------

    def _changed(self, response: Json) -> Json:
        refused = response.get("notUpdated")
        if not refused:
            return response
        error = cast("dict[str, Json]", refused)["singleton"]
        kind = str(error.get("type"))
        more: Json = {name: error[name] for name in ("stage", "validationErrors") if name in error}
        stage = f" at stage {error['stage']}" if "stage" in error else ""
        properties = cast("list[str]", error.get("properties") or [])
        raise Failure(
            _SET_ERRORS.get(kind, OTHER),
            kind,
            f"not changed{stage}: {error.get('description')}",
            str(error.get("hint") or ""),
            tuple(properties),
            **more,
        )

    def _ask(self, method: str, path: str, body: object) -> Json:
        """One request, and the object in its answer."""
        status, headers, answer = self._asked(method, path, body)
        if status != 200:
            raise self._refused(status, headers, answer)
        if not answer:
            raise self._no_jmap()
        return answer

    def _asked(self, method: str, path: str, body: object) -> tuple[int, dict[str, str], Json]:
        """One request on a connection of its own; {} for what is no object."""
        status, headers, content = 0, dict[str, str](), b""
        for _ in range(PATIENCE):
            status, headers, content = self._exchange(method, path, body)
            wait = headers.get("retry-after", "")
            # Refused before anything was done: a script that changes several things goes on by itself.
            if status != 429 or not wait.isdecimal() or int(wait) > LONGEST_WAIT:
                break
            time.sleep(int(wait))
        try:
            answer: object = json.loads(content) if content else None
        except (ValueError, RecursionError):
            answer = None
        return status, headers, cast("Json", answer) if isinstance(answer, dict) else {}

    def _exchange(self, method: str, path: str, body: object) -> tuple[int, dict[str, str], bytes]:
        headers = {"Accept": "application/json"}
        if self.target.token:
            headers["Authorization"] = f"Bearer {self.target.token}"
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        connection = self._connection()
        began = time.monotonic()
        _trace(">", f"{method} {self.target.url}{path}", headers, content)
        try:
            connection.request(method, self._place.path + path, content, headers)
            response = connection.getresponse()
            found = response.read(MAX_ANSWER)
            got = {name.lower(): text for name, text in response.getheaders()}
            log.info("%s %s: %d in %.0f ms", method, path, response.status, (time.monotonic() - began) * 1e3)
            _trace("<", f"{response.status} {response.reason}", got, found)
            return response.status, got, found
        except (OSError, http.client.HTTPException) as error:
            failure = self._unreachable(error)
        finally:
            connection.close()
        raise failure

    def _connection(self) -> http.client.HTTPConnection:
        host, timeout = self._place.hostname or "", self.target.timeout
        if self._place.scheme.lower() == "http":
            return http.client.HTTPConnection(host, self._place.port, timeout=timeout)
        context = ssl.create_default_context()
        if path := self.target.ca_file:
            try:
                context = ssl.create_default_context(cafile=path)
            except (OSError, ssl.SSLError) as error:
                raise Failure(
                    UNREACHABLE, "tls", f"ca file {path}: {error.strerror or error}", "it must be PEM"
                ) from None
        return http.client.HTTPSConnection(host, self._place.port, timeout=timeout, context=context)

    def _unreachable(self, error: Exception) -> Failure:
        where = f"cannot talk to {self.target.url}"
        match error:
            case ssl.SSLCertVerificationError():
                hint = "trust its authority: --ca-file FILE (BUS_CA_FILE)"
                if "ostname" in error.verify_message or "IP address" in error.verify_message:
                    hint = "call it by a name that stands in its certificate"
                return Failure(UNREACHABLE, "tls", f"{where}: certificate: {error.verify_message}", hint)
            case ssl.SSLError():
                hint = "does it speak TLS there, or is the URL http://?"
                return Failure(UNREACHABLE, "tls", f"{where}: TLS: {error.reason or error}", hint)
            case TimeoutError():
                text = f"{where}: no answer within {self.target.timeout:g} s"
                hint = "is it the right port? A change may go on (bus history); --timeout allows more time"
                return Failure(TIMEOUT, "timeout", text, hint)
            case socket.gaierror():
                return Failure(UNREACHABLE, "name", f"{where}: {error.strerror}", "is the name right?")
            case OSError():
                hint = "does `bus run` run there? Name another one: --url (BUS_URL)"
                return Failure(UNREACHABLE, "unreachable", f"{where}: {error.strerror or error}", hint)
            case _:
                hint = "is it the right port, and http or https?"
                return Failure(UNREACHABLE, "unreachable", f"{where}: no HTTP came back", hint)

    def _refused(self, status: int, headers: Mapping[str, str], problem: Json) -> Failure:
        detail = str(problem.get("detail") or http.client.responses.get(status, "refused"))
        text = f"{self.target.url} answers {status}: {detail}"
        if status == 401:
            hint = "give a token: BUS_TOKEN_FILE, --token-file; `bus run` made one: <state dir>/admin.token"
            return Failure(DENIED, "unauthorized", text, hint)
        if status == 403:
            return Failure(DENIED, "forbidden", text, _METHOD_HINTS["forbidden"])
        if status == 429:
            # The limit on changes names itself in a header; the other one is on guesses at tokens.
            code = OTHER if "ratelimit-policy" in headers else DENIED
            return Failure(code, "tooMany", text, f"try again in {headers.get('retry-after', '?')} s")
        if status in (301, 302, 307, 308, 404):
            hint = "is it the URL of an admin server, without a path?"
            return Failure(UNREACHABLE, "unreachable", text, hint)
        return Failure(OTHER, str(problem.get("type") or "refused"), text)

    def _no_jmap(self) -> Failure:
        hint = "is it the URL of an admin server?"
        return Failure(UNREACHABLE, "unreachable", f"{self.target.url} does not answer in JMAP", hint)


def _trace(direction: str, first: str, headers: Mapping[str, str], body: bytes | None) -> None:
    """What goes over the wire, for --debug; neither the token nor a secret of the object."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    hidden = {name: typed.MASK if name.lower() == "authorization" else text for name, text in headers.items()}
    lines = [first, *(f"{name}: {text}" for name, text in hidden.items())]
    if body:
        try:
            lines.append(json.dumps(typed.masked(json.loads(body))))
        except (ValueError, RecursionError):
            lines.append(f"{len(body)} bytes that are no JSON")
    log.debug("%s", "\n".join(f"{direction} {line}" for line in lines))
