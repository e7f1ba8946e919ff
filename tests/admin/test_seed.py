"""The published examples of the object, word for word but for host and token; by curl where it is."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shlex
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bus.config import Nats
from bus.testing.brokers import Certificates
from tests.admin.kit import TOKEN, FakeNode, world

GET = """\
curl -X POST https://mail.example.com/api \\
-H 'Authorization: Bearer $TOKEN' \\
-H 'Content-Type: application/json' \\
-d '{
"methodCalls": [
[
"x:Coordinator/get",
{
"ids": [
"singleton"
]
},
"c1"
]
],
"using": [
"urn:ietf:params:jmap:core",
"urn:stalwart:jmap"
]
}'
"""
SET = """\
curl -X POST https://mail.example.com/api \\
-H 'Authorization: Bearer $TOKEN' \\
-H 'Content-Type: application/json' \\
-d '{
"methodCalls": [
[
"x:Coordinator/set",
{
"update": {
"singleton": {
"description": "updated value"
}
}
},
"c1"
]
],
"using": [
"urn:ietf:params:jmap:core",
"urn:stalwart:jmap"
]
}'
"""


def run(command: str, url: str, ca: Path) -> Any:
    """What the command prints, as JSON."""
    command = command.replace("https://mail.example.com", url).replace("$TOKEN", TOKEN)
    if shutil.which("curl"):
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, timeout=20,
            env={**os.environ, "CURL_CA_BUNDLE": str(ca)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    _, _, method, target, *more = shlex.split(command.replace("\\\n", " "))
    options = list(zip(more[::2], more[1::2], strict=True))
    headers = dict(text.split(": ", 1) for flag, text in options if flag == "-H")
    (body,) = [text for flag, text in options if flag == "-d"]
    place = urlsplit(target)
    context = ssl.create_default_context(cafile=str(ca))
    made = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=20, context=context)
    made.request(method, place.path, body.encode(), headers)
    answer = json.loads(made.getresponse().read())
    made.close()
    return answer


async def test_the_published_get(tmp_path: Path, certificates: Certificates) -> None:
    async with world(tmp_path, "tls", certificates=certificates) as here:
        answer = await asyncio.to_thread(run, GET, here.admin.url, certificates.ca)
        ((name, found, cid),) = answer["methodResponses"]
        assert (name, cid) == ("x:Coordinator/get", "c1")
        assert found["list"] == [{"id": "singleton", "@type": "Disabled"}]
        assert found["notFound"] == []


async def test_the_published_set_names_the_fields_that_there_are(
    tmp_path: Path, certificates: Certificates
) -> None:
    async with world(tmp_path, "tls", FakeNode(Nats()), certificates) as here:
        answer = await asyncio.to_thread(run, SET, here.admin.url, certificates.ca)
        ((name, found, cid),) = answer["methodResponses"]
        assert (name, cid) == ("x:Coordinator/set", "c1")
        error = found["notUpdated"]["singleton"]
        assert error["type"] == "invalidProperties"
        assert error["properties"] == ["description"]
        assert "unknown field" in error["description"]
        assert "pingInterval" in error["description"]
        assert found["updated"] is None
        assert found["oldState"] == found["newState"]
        # ... and works with one of these.
        command = SET.replace('"description": "updated value"', '"pingInterval": "7s"')
        answer = await asyncio.to_thread(run, command, here.admin.url, certificates.ca)
        ((_, found, _),) = answer["methodResponses"]
        assert found["updated"] == {"singleton": {"pingInterval": 7000}}
        assert found["oldState"] != found["newState"]
        assert (await here.client.object())["pingInterval"] == 7000


def test_without_curl_the_same_is_sent(monkeypatch: Any) -> None:
    sent: list[Any] = []

    class Fake:
        def __init__(self, *args: Any, **options: Any) -> None:
            sent.append(args)

        def request(self, *args: Any) -> None:
            sent.append(args)
            raise TimeoutError

    def nothing(*args: Any, **options: Any) -> None:
        return None

    monkeypatch.setattr(shutil, "which", nothing)
    monkeypatch.setattr(http.client, "HTTPSConnection", Fake)
    monkeypatch.setattr(ssl, "create_default_context", nothing)
    with pytest.raises(TimeoutError):
        run(SET, "https://localhost:1", Path("ca"))
    assert sent[0] == ("localhost", 1)
    method, path, body, headers = sent[1]
    assert (method, path, headers["Authorization"]) == ("POST", "/api", f"Bearer {TOKEN}")
    assert json.loads(body)["methodCalls"][0][0] == "x:Coordinator/set"
