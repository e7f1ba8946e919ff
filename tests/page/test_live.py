"""The live stream: what comes, in which order, how much of it, for whom, and that it costs nothing unseen."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from bus import Bus, Event, Gap, Message, Resync
from bus.admin import Tokens
from bus.admin.page import feed, items
from bus.admin.page.items import BURST, RATE, Allowance, Item
from bus.admin.page.site import MAX_STREAMS
from bus.admin.page.tap import MOST_FRAMES, MOST_TOLD, Tap
from bus.protocol.frame import DATA, Header
from tests.admin.kit import TOKEN, until, world
from tests.page.kit import Browser, Json, looking, nodes


class Invalidated(Event, tag="cache.invalidated"):
    account: int
    keys: tuple[str, ...] = ()


def router_of(bus: Bus) -> Any:
    return bus._node.router  # pyright: ignore[reportPrivateUsage]  # whether somebody taps it


async def test_the_events_of_all_nodes_come_in_order_with_their_numbers(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a", "b") as (here, (a, b)), looking(here) as stream:
        await stream.wait("status")
        b.publish(Message("mail.new", b"one"))
        b.publish(Invalidated(7, ("inbox",)))
        found = await stream.items(2)
        assert [(item["node"], item["seq"], item["type"]) for item in found] == [
            ("b", 1, "Message"), ("b", 2, "cache.invalidated"),
        ]  # fmt: skip
        assert (found[0]["topic"], found[0]["text"]) == ("mail.new", "one")
        # The type is known here since a node that publishes in this process has made it so for `b` only.
        assert json.loads(found[1]["text"]) == [7, ["inbox"]]
        a.publish(Invalidated(8))
        (own,) = await stream.items(1)
        assert (own["node"], own["seq"], json.loads(own["text"])) == ("a", 1, {"account": 8, "keys": []})
        assert own["epoch"] == f"{a.status().epoch:016x}"


async def test_the_document_says_who_is_here_and_who_hears_whom(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a", "b", "c") as (here, (a, b, _)), looking(here) as stream:
        b.publish(Message("x", b""))
        found = await stream.wait(
            "status",
            lambda found: found["matrix"] == ["-yy", "y-y", "yy-"] and found["nodes"][1]["delivered"],
        )
        assert [node["name"] for node in found["nodes"]] == ["a", "b", "c"]
        assert [node["state"] for node in found["nodes"]] == ["self", "up", "up"]
        assert found["nodes"][1]["delivered"] == 1
        assert (found["state"], found["links"][0]["type"]) == ("READY", "Memory")
        assert found["epoch"] == f"{a.status().epoch:016x}"
        assert (found["streams"], found["streamsDropped"], found["gone"]) == (1, 0, 0)


async def test_who_leaves_is_told_and_stays_to_be_seen_for_a_while(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a", "b") as (here, (_, b)), looking(here) as stream:
        await stream.wait("status")
        await b.aclose()
        data = await stream.wait("items", lambda data: data["items"])
        assert [(item["kind"], item["node"], item["text"]) for item in data["items"]] == [
            ("change", "b", "is gone")
        ]
        found = await stream.wait("status", lambda found: found["nodes"][1]["state"] == "left")
        assert found["matrix"][0] == "-?"


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("mail.*.new", ["mail.a.new"]),
        ("mail.>", ["mail.a.new", "mail.b"]),
        ("cache.>", ["cache.invalidated"]),
    ],
)
async def test_a_stream_can_be_filtered(tmp_path: Path, pattern: str, wanted: list[str]) -> None:
    async with nodes(tmp_path, "a", "b") as (here, (_, b)), looking(here, f"?topic={pattern}") as stream:
        await stream.wait("status")
        for topic in ("other", "mail.a.new", "mail.b"):
            b.publish(Message(topic, b""))
        b.publish(Invalidated(1))
        found = await stream.items(len(wanted))
        assert [item["topic"] or item["type"] for item in found] == wanted


async def test_losses_stand_where_the_events_would_be(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a", "b") as (here, (a, b)), looking(here) as stream:
        await stream.wait("status")
        router = router_of(a)
        router.loss(Gap("b", 1, ((3, 5), (9, 9)), "gone"))
        router.loss(Resync(None, None, None, "test"))
        b.publish(Message("after", b""))
        found = await stream.items(3)
        assert [item["kind"] for item in found] == ["loss", "loss", "event"]
        assert found[0]["text"] == "4 lost (gone): #3 to #5, #9"
        assert (found[1]["node"], found[1]["text"]) == ("everybody", "unknown loss (test)")


HOSTILE = {
    "markup": "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "control": "a\r\n\r\ndata: {}\n\nevent: end\x00\x07\x1b[2J",
    "right-to-left": "\u202eevil\u202c שלום \u2066x",
    "not unicode": "\udc80",
}


@pytest.mark.parametrize(
    "text", [HOSTILE["markup"], HOSTILE["control"], HOSTILE["right-to-left"]], ids=[*HOSTILE][:3]
)
async def test_a_hostile_name_topic_or_text_is_text_and_ends_no_event(tmp_path: Path, text: str) -> None:
    name = text[:40]
    async with nodes(tmp_path, "a", name) as (here, (_, b)), looking(here) as stream:
        await stream.wait("status")
        b.publish(Message(text, text.encode()))
        (found,) = await stream.items(1)
        for shown in (found["node"], found["topic"], found["text"]):
            assert shown.isprintable()
            assert "\u202e" not in shown
        assert found["text"].startswith(text[:1] if text[0] != "\u202e" else "\\u202e")
        status = await stream.wait("status")
        assert {node["name"] for node in status["nodes"]} == {"a", found["node"]}


async def test_a_megabyte_is_cut_and_says_so(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a", "b") as (here, (_, b)), looking(here) as stream:
        await stream.wait("status")
        for number in range(6):
            b.publish(Message("large", b"%d" % number * 900_000))
        found = await stream.items(6)
        assert all(item["whole"] == 900_000 for item in found if item["type"] == "Message")
        assert all(len(item["text"]) <= 2_000 for item in found)
        assert {item["text"] for item in found if item["type"] == "?"} <= {"too much to look into"}


async def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, (a,)), looking(here) as stream:
        await stream.wait("status")
        log = a._node.engine.log  # pyright: ignore[reportPrivateUsage]  # no user can append this
        log.append(b"\x91\xc0")
        log.append(b"\x91\x01")
        found = await stream.items(2)
        assert [item["text"] for item in found] == ["not readable", "#2 was too large for a link"]


async def test_a_loss_that_stands_in_the_place_of_an_event_is_one_line(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a", "b") as (here, (_, b)), looking(here) as stream:
        await stream.wait("status")
        b.publish(Message("one", b""))
        b.node.engine.log.bury(1)
        b.publish(Message("two", b""))
        found = await stream.items(2)
        assert [(item["kind"], item["text"]) for item in found] == [
            ("loss", "1 lost (too_large_for_link): #1"), ("event", ""),
        ]  # fmt: skip


# -- much ------------------------------------------------------------------------------------------


async def test_at_fifty_thousand_events_a_second_the_page_gets_a_few_and_the_number_of_the_rest(
    tmp_path: Path,
) -> None:
    total = 100_000
    got = 0

    def count(event: Message) -> None:
        nonlocal got
        got += 1

    async with nodes(tmp_path, "a", "b") as (here, (a, b)), looking(here) as stream:
        await stream.wait("status")
        a.on(Message, count)

        async def flood() -> None:
            for number in range(total):
                b.publish(Message("flood", b"%d" % number))
                if number % 1000 == 0:
                    await b.room()
                    await asyncio.sleep(0)

        task = asyncio.create_task(flood())
        shown = left = looks = 0
        while shown + left < total:
            data = await stream.wait("items")
            looks += 1
            shown += sum(item["kind"] == "event" for item in data["items"])
            left += data["more"] + data["unseen"]
            assert len(data["items"]) <= BURST
        await task
        # Every event is accounted for, few were made into text, and the bus has lost none.
        assert shown + left == total
        assert shown <= BURST + RATE * (looks + 1)
        await until(lambda: got == total)
        assert a.status().peers[0].lost == 0


def test_a_stream_gets_its_share_and_every_loss() -> None:
    allowance = Allowance()
    events = [Item("event", "x", {"n": number}) for number in range(100)]
    losses = [Item("loss", "", {"n": number}) for number in range(100, 103)]
    picked = allowance.pick([*losses, *events])
    assert picked is not None
    chosen = cast("list[Json]", picked["items"])
    assert [item["n"] for item in chosen[:3]] == [100, 101, 102]
    assert len(chosen) == BURST
    assert picked["more"] == 103 - BURST
    assert allowance.pick([]) is None
    later = allowance.pick([Item("unseen", "", {"count": 7})])
    assert later == {"items": [], "more": 0, "unseen": 7}


def test_the_tap_is_bounded_and_counts_what_it_forgets() -> None:
    tap = Tap()
    peer: Any = type("peer", (), {"node": "b", "epoch": 2})
    for number in range(MOST_FRAMES + 5):
        header = Header(0, 1, DATA, 0, 10, 2, number * 10 + 1, 1, 0, 0)
        tap.events(peer, header, b"", 3)
    for _ in range(MOST_TOLD + 2):
        tap.loss(Gap("b", 2, ((1, 1),), "gone"))
    notes, unseen = tap.take()
    assert len(notes) == MOST_FRAMES + MOST_TOLD
    assert unseen == 5 * 7 + 2
    assert tap.take() == ([], 0)


# -- streams ---------------------------------------------------------------------------------------


async def test_the_bus_is_tapped_only_while_somebody_looks(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, (a,)):
        router = router_of(a)
        assert router.tap is None
        async with looking(here) as one:
            await one.wait("status")
            async with looking(here) as other:
                await other.wait("status")
            assert router.tap is not None
        await until(lambda: router.tap is None, "the end of the tap")


async def test_who_comes_back_goes_on_where_he_was(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, (a,)), looking(here) as keeper:
        async with looking(here) as stream:
            await stream.wait("status")
            a.publish(Message("one", b""))
            await stream.items(1)
        a.publish(Message("two", b""))
        await keeper.items(2)
        async with looking(here, Last_Event_ID=stream.last_id) as stream:
            (found,) = await stream.items(1)
            assert found["topic"] == "two"


@pytest.mark.parametrize("id", ["0000-5", "x", "-", "9" * 500, "a-\u0665", "%s-99999999999"])
async def test_who_comes_back_from_elsewhere_is_told_that_something_is_missing(
    tmp_path: Path, id: str
) -> None:
    async with (
        nodes(tmp_path, "a") as (here, _),
        looking(here, Last_Event_ID=id.encode().decode("latin-1")) as stream,
    ):
        assert await stream.wait("gap") == {"missed": None}
        await stream.wait("status")


async def test_who_is_overtaken_by_the_ring_is_told_by_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RING", 8)
    async with nodes(tmp_path, "a") as (here, (a,)), looking(here) as keeper:
        async with looking(here) as stream:
            await stream.wait("status")
            a.publish(Message("one", b""))
            await stream.items(1)
        for number in range(30):
            a.publish(Message("more", b"%d" % number))
        await keeper.wait("gap", lambda gap: gap["missed"] > 0)
        async with looking(here, Last_Event_ID=stream.last_id) as stream:
            assert (await stream.wait("gap"))["missed"] == 22
            found = await stream.items(8)
            assert [item["text"] for item in found] == [str(number) for number in range(22, 30)]


async def test_streams_are_limited(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, _):
        tasks: list[asyncio.Task[None]] = []
        gone = asyncio.Event()

        async def look() -> None:
            async with looking(here) as stream:
                await stream.wait("status")
                await gone.wait()

        tasks = [asyncio.create_task(look()) for _ in range(MAX_STREAMS)]
        feed_of = here.admin._page.feed  # pyright: ignore[reportPrivateUsage]  # how many are open
        assert feed_of is not None
        await until(lambda: feed_of._streams == MAX_STREAMS)  # pyright: ignore[reportPrivateUsage]
        assert (await here.client.ask("GET", "/events")).status == 503
        gone.set()
        await asyncio.gather(*tasks)


async def test_a_client_that_never_reads_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.admin.http.UNREAD", 1.0)
    # More than anybody gets, or it would take minutes to fill the buffers of the system.
    monkeypatch.setattr(feed, "PAUSE", 0.02)
    monkeypatch.setattr(items, "RATE", 1_000_000)
    monkeypatch.setattr(items, "BURST", 1_000_000)
    async with nodes(tmp_path, "a", "b") as (here, (a, b)), looking(here) as other:
        where = urlsplit(here.admin.url)
        client = socket.create_connection((where.hostname or "", where.port or 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(
            f"GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        try:
            async with asyncio.timeout(15):
                while True:
                    # As much text as there may be, until the pipes to the one who does not read are full.
                    b.publish(Message("x" * 150, b"y" * 5_000))
                    kind, data = await other.event()
                    if kind == "status" and data["streamsDropped"]:
                        break
                    for _ in range(20):
                        b.publish(Message("x" * 150, b"y" * 5_000))
        finally:
            client.close()
        assert data["streamsDropped"] == 1
        assert a.status().peers[0].lost == 0


async def test_a_token_that_is_revoked_ends_its_streams(tmp_path: Path) -> None:
    async with nodes(tmp_path, "a") as (here, _):
        tokens = Tokens(here.folder)
        text = tokens.create("viewer", ["busEventsRead"])
        await here.admin.reload()
        browser = Browser(here)
        await browser.log_in(text)
        async with looking(here, Cookie=browser.cookie, Sec_Fetch_Site="same-origin") as stream:
            await stream.wait("status")
            tokens.revoke(text.split("_")[1])
            assert await stream.wait("end") == {"reason": "session"}


@pytest.mark.parametrize("query", ["?topic=" + "a" * 201, "?topic=%00" + "a" * 300])
async def test_a_filter_that_is_too_long_is_refused(tmp_path: Path, query: str) -> None:
    async with nodes(tmp_path, "a") as (here, _):
        assert (await here.client.ask("GET", f"/events{query}")).status == 400


async def test_no_secret_of_a_failing_link_is_in_the_document(tmp_path: Path) -> None:
    url = "redis://ops:canary-in-the-url@127.0.0.1:1/0"
    async with Bus.open(url, node="a") as bus, world(tmp_path, node=bus) as here, looking(here) as stream:
        found = await stream.wait("status", lambda found: found["links"] and found["links"][0]["error"])
        assert found["links"][0]["type"] == "Redis"
        assert "canary" not in json.dumps(found)
        browser = Browser(here)
        await browser.log_in()
        for path in ("/session", "/api/changed", "/jmap/session"):
            assert b"canary" not in (await browser.ask("GET", path)).body


async def test_the_stream_of_states_ends_with_the_session_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.admin.eventsource.KEEP_ALIVE", 0.1)
    async with nodes(tmp_path, "a") as (here, _):
        browser = Browser(here)
        await browser.log_in()
        cookie = {"Cookie": browser.cookie, "Sec_Fetch_Site": "same-origin"}
        async with looking(here, path="/jmap/eventsource?types=*&closeafter=no&ping=0", **cookie) as stream:
            await browser.ask("DELETE", "/session")
            assert await stream.event() == ("", None)
