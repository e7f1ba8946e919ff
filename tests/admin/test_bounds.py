"""What one request may cost: values, depth, references, patches, large bodies; and the bus goes on meanwhile.

Each of these texts is legal JSON, was sent by somebody who has a token, and once held the loop for seconds.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from bus import Bus, Event
from bus.admin.jmap import ijson, shape
from bus.admin.throttle import Buckets
from bus.config import Nats
from tests.admin.kit import EVERY, TOKEN, Client, FakeNode, Turns, World, world
from tests.admin.test_http import HEAD, connected
from tests.admin.test_methods import reference
from tests.admin.test_requests import refused
from tests.bus.cluster import cluster_name

MB = 990_000


def request(*calls: list[Any]) -> bytes:
    return json.dumps({"using": EVERY, "methodCalls": list(calls)}).encode()


def echo(inside: bytes) -> bytes:
    return request(["Core/echo", {"x": [7]}, "c"]).replace(b"[7]", b"[" + inside + b"1]")


DENSE = {
    "arrays": echo(b"[]," * (MB // 3)),
    "objects": echo(b"{}," * (MB // 3)),
    "sixty levels": echo((b"[" * 50 + b"]" * 50 + b",") * (MB // 101)),
    "numbers": echo(b"1," * (MB // 2)),
    "texts": echo(b'"",' * (MB // 3)),
    "names": b"{" + b",".join(b'"%d":0' % number for number in range(80_000)) + b"}",
    "calls": json.dumps({"using": [], "methodCalls": [["a", {}, "b"]] * 60_000}).encode(),
    "created": json.dumps(
        {"using": [], "methodCalls": [], "createdIds": {f"c{number}": "a" for number in range(60_000)}}
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("body", DENSE.values(), ids=DENSE)
async def test_a_megabyte_of_small_values_is_refused_before_it_is_read(client: Client, body: bytes) -> None:
    found = refused(await client.post(body), 400, "limit")
    assert found["limit"] == "maxValuesInRequest"
    assert "20000" in found["detail"]


@pytest.mark.parametrize("piece", [b"[", b'{"a":'])
async def test_a_megabyte_of_levels_is_no_json(client: Client, piece: bytes) -> None:
    found = refused(await client.post(piece * (MB // len(piece))), 400, "notJSON")
    assert "nested deeper" in found["detail"]


TEXTS = {
    "commas": ",[{" * 300_000,
    "quotes": '\\"[' * 100_000,
    "backslashes": "\\\\" * 100_000 + ",",
    "ü": "ü[" * 99_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_what_stands_in_a_text_is_no_value(client: Client, text: str) -> None:
    assert await client.call("Core/echo", {"x": text}) == {"x": text}


async def test_the_limits_stand_in_the_session(client: Client) -> None:
    ours = (await client.ask("GET", "/jmap/session")).json()["capabilities"]["urn:coordinator-bus:jmap"]
    assert (ours["maxValuesInRequest"], ours["maxSizeObject"]) == (20_000, 65_536)


JSON = st.recursive(
    st.none() | st.integers() | st.text('a"\\[{,'),
    lambda one: st.lists(one) | st.dictionaries(st.text('a"\\[,'), one),
)  # fmt: skip


@given(JSON)
def test_the_outline_of_any_json_has_its_brackets(value: Any) -> None:
    text = json.dumps(value).encode()
    bare = shape.outside(text)
    counted = sum(isinstance(one, (list, dict)) for one in _all(value))
    assert bare.count(b"[") + bare.count(b"{") == bare.count(b"]") + bare.count(b"}") == counted
    assert shape.is_too_deep(text, 1) == (_depth(value) > 1)


def _inner(value: object) -> list[object]:
    if ijson.is_object(value):
        return list(value.values())
    return value if ijson.is_array(value) else []


def _all(value: object) -> list[object]:
    return [value, *(deeper for one in _inner(value) for deeper in _all(one))]


def _depth(value: object) -> int:
    return max((_depth(one) for one in _inner(value)), default=0) + isinstance(value, (list, dict))


def test_a_name_that_stands_twice_among_thousands_is_found_at_once() -> None:
    text = "{" + ",".join(f'"{number}":0' for number in [*range(19_000), 18_999]) + "}"
    with pytest.raises(ijson.NotJson, match='"18999" stands twice'):
        ijson.read(text.encode())


# -- references ------------------------------------------------------------------------------------


async def test_a_path_of_thousands_of_parts_leads_nowhere(client: Client) -> None:
    """Behind an empty list nothing looks at the rest of the path, so it would be the result."""
    ref = reference("/x/*/*" + "/0" * 200_000, of="a", name="Core/echo")
    responses = await client.calls(["Core/echo", {"x": [[]] * 9000}, "a"], ["Core/echo", {"#y": ref}, "b"])
    assert responses[1][1]["type"] == "invalidResultReference"


async def test_thousands_of_references_that_find_nothing_are_too_many(client: Client) -> None:
    ref = reference("/x/*/*", of="a", name="Core/echo")
    many = {f"#y{number}": ref for number in range(2000)}
    responses = await client.calls(["Core/echo", {"x": [[]] * 5000}, "a"], ["Core/echo", many, "b"])
    assert responses[1][1]["type"] == "requestTooLarge"


# -- arguments and patches -------------------------------------------------------------------------


async def test_of_thousands_of_mistakes_the_first_are_told(client: Client) -> None:
    error = await client.call("x:Coordinator/get", {f"k{number}": 1 for number in range(9000)})
    assert error["type"] == "invalidArguments"
    assert error["description"].count("unknown argument") == 20
    assert error["description"].endswith("and 8980 more")


PATCHES: dict[str, Any] = {
    "many keys": {f"k{number}": 1 for number in range(5000)},
    "a long key": {"a" + "/a" * 100_000: 1},
    "a long list": {"addresses": ["h:1"] * 5000},
    "a long text": {"@type": "Zenoh", "config": "{" + "/*" * 40_000},
    "a long secret": {"authSecret": {"@type": "Value", "secret": "x" * 70_000}},
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
async def test_a_coordinator_is_no_larger_than_64_kib(here: World, patch: dict[str, Any]) -> None:
    error = await here.client.update(patch)
    assert error["type"] == "tooLarge"
    assert here.node.tried == []


async def test_of_hundreds_of_bad_values_the_first_are_told(tmp_path: Path) -> None:
    async with world(tmp_path, node=FakeNode(Nats())) as here:
        error = await here.client.update({"addresses": [""] * 900})
        assert error["description"].startswith("900 problems: ")
        assert len(error["properties"]) == len(error["validationErrors"]) == 100


# -- large bodies ----------------------------------------------------------------------------------


async def test_large_bodies_have_a_rate_and_small_ones_do_not(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = request(["Core/echo", {"x": "y" * 900_000}, "c"])
    statuses = [(await here.client.post(large)).status for _ in range(36)]
    assert statuses[:30] == [200] * 30
    reply = await here.client.post(large)
    while reply.status == 200:
        reply = await here.client.post(large)
    refused(reply, 429, "about:blank")
    assert int(reply.headers["retry-after"]) >= 1
    assert (await here.client.post(request(["Core/echo", {}, "c"]))).status == 200


def test_a_bucket_says_when_there_is_so_much() -> None:
    now = 0.0
    buckets = Buckets(100, 10, lambda: now)
    assert buckets.take("a", 70)
    assert not buckets.take("a", 70)
    assert buckets.wait("a", 70) == 4
    now = 4.0
    assert buckets.take("a", 70)


class Tick(Event, tag="admin.bounds.tick"):
    number: int


@pytest.mark.timeout(40)
async def test_the_bus_keeps_its_rate_under_nested_json_of_somebody_with_a_token(tmp_path: Path) -> None:
    """As many as may be at a time, in a loop; beside a bus at 500 events a second."""
    cluster = cluster_name()
    bodies = [*DENSE.values(), echo((b"[" * 50 + b"]" * 50 + b",") * 180), request(
        ["x:Coordinator/set", {"update": {"singleton": {"addresses": [""] * 900}}}, "c"]
    )]  # fmt: skip
    async with (
        Bus.open("memory://", node="a", cluster=cluster) as a,
        Bus.open("memory://", node="b", cluster=cluster) as b,
        world(tmp_path, node=a) as here,
        b.subscribe(Tick) as inbox,
    ):
        await a.ready(peers=1)
        is_over = False
        answered: list[int] = []

        async def attack(place: int) -> None:
            while not is_over:
                body = bodies[(place + len(answered)) % len(bodies)]
                async with connected(here) as (reader, writer):
                    writer.write(
                        HEAD.encode() + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    )
                    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
                    answered.append(int(answer.split()[1]))

        turns = Turns()
        watching = asyncio.create_task(turns.watch())
        attacks = [asyncio.create_task(attack(place)) for place in range(4)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(1000):
            a.publish(Tick(number))
            await asyncio.sleep(max(0.0, began + number * 0.002 - loop.time()))
        is_over = True
        async with asyncio.timeout(10):
            assert [(await anext(inbox)) for _ in range(1000)] == [Tick(number) for number in range(1000)]
            await asyncio.wait(attacks)
        watching.cancel()
        await asyncio.wait({watching})
        for attacker in attacks:
            attacker.result()
        assert set(answered) <= {200, 400, 429}
        assert len(answered) > 20
        # Once it was seven seconds.
        assert turns.longest < 0.5
        assert b.status().peers[0].lost == 0
    assert TOKEN.encode() not in b"".join(here.client.received)
