"""What docs/wire.md says about behaviour is so: its frames are played to an engine, its numbers compared.

(The layout of the bytes is held to the code by tests/protocol/test_wire.py.)
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bus.errors import ConfigError
from bus.opening import channel_of
from bus.protocol import control, frame as wire
from bus.protocol.frame import HEADER_SIZE
from bus.protocol.lifecycle import HARD
from bus.protocol.limits import Limits
from bus.protocol.outlet import ANSWER_INTERVAL
from bus.protocol.peer import ASK_AGAIN, BYE_TIMEOUT, DOWN, MIN_TRIES, NOT_HEARD, TOLD
from bus.signals import Down, Up
from tests.protocol.kit import Node, kinds, of_kind

TEXT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
# As one line: a sentence may be broken anywhere.
PROSE = " ".join(TEXT.split())
CROW, OURS = 0xFEDCBA9876543210, 0x1122334455667788
# When the heartbeat was sent that crow says it has heard, in seconds of our clock.
NOW = 1_700_000.0


def life() -> dict[str, bytes]:
    """The frames of "A short life in bytes" by their names."""
    found: dict[str, bytes] = {}
    for name, text in re.findall(r"<!-- life: (\w+) -->\n+```text\n(.*?)```", TEXT, re.DOTALL):
        # A line is hex bytes, two spaces or more, and words.
        found[name] = bytes.fromhex("".join(re.split(r"\s{2,}", line)[0] for line in text.splitlines()))
    return found


@pytest.fixture
def node() -> Node:
    """The node that crow meets: older than it, and 42 events long."""
    made = Node("shop-1:4711", OURS, now=NOW - 60)
    made.sink.is_strict = False
    made.says(NOW - 60)
    made.publish(42)
    made.outlet.beat_in = 0.0
    assert kinds(made.says(NOW))[0] == wire.HEARTBEAT
    return made


def test_a_short_life_is_heard_as_the_document_says(node: Node) -> None:
    frames = life()
    node.hear(frames["hello"], now=NOW + 1.0)
    assert node.sink.changes == [Up("crow", CROW)]
    node.hear(frames["data"], now=NOW + 1.0)
    assert node.sink.delivered(CROW) == [1]
    assert not node.outlet.listed
    node.hear(frames["beat"], now=NOW + 2.0)
    assert node.outlet.listed
    assert node.engine.peers[CROW].position == 42
    node.hear(frames["repeat"], now=NOW + 2.0)
    assert node.engine.peers[CROW].duplicates == 1
    node.hear(frames["bye"], now=NOW + 2.5)
    assert node.sink.changes == [Up("crow", CROW), Down("crow", CROW)]
    assert (node.sink.delivered(CROW), node.sink.losses, node.refused) == ([1], [], {})


def test_what_is_missed_is_asked_for_and_repeated_as_the_document_says(node: Node) -> None:
    frames = life()
    node.hear(frames["hello"], frames["beat"], now=NOW + 1.0)
    (request,) = of_kind(wire.REQUEST, node.says(NOW + 1.0))
    body = msgspec.msgpack.decode(request[HEADER_SIZE:])
    assert body == {"r": [[CROW, [[1, 1]]]]}
    assert f'REQUEST `{{"r": [[{CROW:#x}, [[1, 1]]]]}}`' in PROSE
    node.hear(frames["repeat"], now=NOW + 1.1)
    assert node.sink.delivered(CROW) == [1]
    assert node.engine.peers[CROW].repaired == 1


def test_a_repeat_is_the_frame_with_one_flag_more() -> None:
    frames = life()
    assert frames["repeat"] == wire.as_repeat(frames["data"])
    beats = [control.read_heartbeat(frames[name]) for name in ("hello", "beat", "bye")]
    assert [beat.counter for beat in beats] == [0, 1, 2]


def test_the_document_has_the_channel_and_the_framing_as_they_are() -> None:
    size, channel = len(life()["data"]), channel_of("default")
    assert f"`{channel}` unless" in PROSE
    assert f"With the {size} bytes of the DATA frame" in PROSE
    assert f"`PUB {channel} {size}`" in PROSE
    assert f"`*3`, `$7`, `PUBLISH`, `${len(channel)}`, `{channel}`, `${size}`" in PROSE
    assert "A name is 1 to 48 of the characters `A-Z a-z 0-9 _ -`" in PROSE
    with pytest.raises(ConfigError, match="1 to 48 of the characters A-Z a-z 0-9 _ -"):
        channel_of("a.b")


def test_the_document_has_the_times_and_limits_as_they_are() -> None:
    again = ", ".join(f"{seconds:g}" for seconds in ASK_AGAIN[:3])
    limits = Limits()
    for sentence in (
        f"After {NOT_HEARD:g} s without any frame nobody asks it for anything",
        f"after {DOWN:g} s it is down; after {TOLD:g} s its end is told",
        f"at most one in {ANSWER_INTERVAL * 1000:g} ms",
        f"after {HARD:g} s it makes its connection anew",
        f"again after {again} and {ASK_AGAIN[3]:g} s, then each second",
        f"what did not come within {limits.repair_timeout:g} s and {MIN_TRIES} requests",
        f"{limits.log_bytes >> 20} MiB or {limits.log_age:g} s",
        f"events of at most {limits.event >> 10} KiB",
    ):
        assert sentence in PROSE, sentence
    assert BYE_TIMEOUT == ASK_AGAIN[-1] == 1.0
    assert "for one more second" in PROSE
