"""The traps of aiokafka are avoided by never calling what has them; here that is kept so.

* its producer, consumer and clients connect again, retry and re-seek by themselves, their `stop` raises or
  hangs, their fetcher dies in silence (T3, T6, T12 to T15, T25), wrong credentials are "unable to bootstrap"
  (T22);
* its connection takes the answer to a bad token for a success, and believes any size of a reply.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "backends" / "bus_kafka"
FILES = sorted(PACKAGE.glob("*.py"))
# What we take: codecs, errors by their numbers, and the client's half of SCRAM.
TAKEN = {
    "conn.ScramAuthenticator",
    "errors",
    "errors.for_code",
    "protocol.admin.ApiVersionRequest",
    "protocol.admin.CreateTopicsRequest",
    "protocol.admin.SaslAuthenticateRequest",
    "protocol.admin.SaslHandShakeRequest",
    "protocol.fetch.FetchRequest",
    "protocol.metadata.MetadataRequest",
    "protocol.offset.OffsetRequest",
    "protocol.produce.ProduceRequest",
    "record.default_records.DefaultRecordBatchBuilder",
    "record.memory_records.MemoryRecords",
}


def trees() -> Iterator[ast.AST]:
    for path in FILES:
        yield ast.parse(path.read_text())


def test_only_codecs_of_the_library_are_used() -> None:
    used: set[str] = set()
    for tree in trees():
        inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) and id(node) not in inner else ""
            if text.startswith("codecs()."):
                used.add(text.removeprefix("codecs()."))
    assert used == TAKEN


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_library_has_one_door(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imports = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import | ast.ImportFrom) and "aiokafka" in ast.unparse(node))
        or (isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func))
    ]
    assert imports == (["import_module('aiokafka')"] if path.name == "wire.py" else [])
    assert not re.search(r"AIOKafka|create_conn\b", ast.unparse(tree))


def calls(name: str) -> list[ast.Call]:
    return [
        node
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name)
    ]


def test_each_frame_is_acknowledged_by_the_leader() -> None:
    """Without an acknowledgement a lost frame is a success (T12); with that of all replicas it is late."""
    (call,) = calls("ProduceRequest")
    assert ast.unparse(call.args[1]) == "1"


def test_batches_are_not_idempotent() -> None:
    """An idempotent producer never gives up (T13); our numbers remove what comes twice."""
    (call,) = calls("DefaultRecordBatchBuilder")
    assert [ast.unparse(argument) for argument in call.args[3:6]] == ["-1", "-1", "-1"]


def test_a_look_at_the_topic_never_makes_it() -> None:
    """The broker would make it with its own settings."""
    (call,) = calls("MetadataRequest")
    assert [ast.unparse(word) for word in call.keywords] == ["allow_auto_topic_creation=False"]
