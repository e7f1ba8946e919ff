"""The ways to hand over a configuration: struct, dict, JSON, files; and broken ones."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from bus.config import (
    Coordinator,
    Disabled,
    Duration,
    Kafka,
    Memory,
    Nats,
    Redis,
    Uri,
    Value,
    decode,
)
from bus.errors import ConfigError
from tests.config.problems import codes, problems

OBJECT = {"@type": "Nats", "addresses": ["a:1"], "pingInterval": "5s"}
EXPECTED = Nats(addresses=("a:1",), ping_interval=Duration("5s"))

FILES = {
    "bus.toml": '"@type" = "Nats"\naddresses = ["a:1"]\npingInterval = "5s"\n',
    "bus.json": json.dumps(OBJECT),
    "bus.yaml": '"@type": Nats\naddresses: ["a:1"]\npingInterval: 5s\n',
    "bus.YML": '{"@type": Nats, addresses: {"a:1": true}, pingInterval: 5000}\n',
    "below.toml": '[other]\nx = 1\n[coordinator]\n"@type" = "Nats"\n'
    'addresses = ["a:1"]\npingInterval = "5s"\n',
    "below.json": json.dumps({"coordinator": OBJECT, "admin": {}}),
    "below.yaml": "coordinator:\n  '@type': Nats\n  addresses: [a:1]\n  pingInterval: 5s\n",
    "url.toml": 'coordinator = "nats://a:1?pingInterval=5s"\n',
    "bom.json": "\ufeff" + json.dumps(OBJECT),
    "bom.toml": '\ufeff"@type" = "Nats"\naddresses = ["a:1"]\npingInterval = "5s"\n',
}


@pytest.mark.parametrize("name", FILES)
def test_file_is_read_by_its_ending(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FILES[name])
    assert decode(path) == decode(str(path)) == EXPECTED


def test_relative_path_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bus.toml").write_text(FILES["bus.toml"])
    monkeypatch.chdir(tmp_path)
    assert decode("bus.toml") == EXPECTED


def test_json_is_text_or_bytes() -> None:
    text = json.dumps(OBJECT)
    assert decode(text) == decode(f" \n{text}") == decode(text.encode()) == EXPECTED
    assert decode(bytearray(text.encode())) == EXPECTED


def test_dict_is_an_object_and_stays_as_it_was() -> None:
    source = {**OBJECT, "addresses": [" a:1", "a:1"]}
    before = json.dumps(source)
    assert decode(source) == EXPECTED
    assert json.dumps(source) == before


def test_good_variant_comes_back_itself() -> None:
    for config in (EXPECTED, Disabled(), Redis(url="redis://u:p@h"), Nats(auth_secret=Value("p"))):
        assert decode(config) is config


def test_variant_is_normalised_and_checked_again() -> None:
    loose = Nats(addresses=[" a:1", "a:1"], ping_interval="5s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # untyped callers
    assert decode(loose) == EXPECTED
    bad = Kafka(brokers=(), group_id=" ", timeout_message=0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # untyped callers
    assert codes(bad) == [("brokers", "empty"), ("groupId", "empty"), ("timeoutMessage", "min")]
    assert str(_refusal(bad)).startswith("Kafka: 3 problems\n")


def test_text_is_taken_for_a_uri_field() -> None:
    config = Redis(url="redis://:pw@h")
    assert isinstance(config.url, Uri)
    assert config.url.reveal() == "redis://:pw@h"
    assert isinstance(msgspec.structs.replace(config, url="redis://x").url, Uri)


def _refusal(source: object) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        decode(source)
    return raised.value


BROKEN = {
    "a.toml": ('x = "c4n4ry', "not valid TOML (end of document)"),
    "b.toml": ("x = 1\nx = 2", "not valid TOML (end of document)"),
    "c.json": ('{"x": "c4n4ry', "not valid JSON (line 1, column 7)"),
    "d.json": ("{} c4n4ry", "not valid JSON (line 1, column 4)"),
    "e.json": ("[" * 100_000, "not valid JSON"),
    "f.json": ('{"@type": NaN}', "not valid JSON (a number"),
    "g.json": ('{"x": ' + "9" * 5000 + "}", "not valid JSON (a number"),
    "h.yaml": ("x: *c4n4ry", "not valid YAML (line 1, column 4)"),
    "i.yaml": ("x: [c4n4ry", "not valid YAML (line "),
    "j.yaml": ("x: !!python/object:os.system c4n4ry", "not valid YAML (line 1, column 4)"),
    "k.json": ("", "not valid JSON (line 1, column 1)"),
    "l.toml": ("", "@type: is required"),
    "m.yaml": ("", "wrong type (found null); allowed: an object"),
    "n.yaml": ("c4n4ry", "wrong type (found text); allowed: an object"),
    "o.json": ("[]", "wrong type (found a list); allowed: an object"),
    "p.json": ('{"coordinator": {"@type": "Memory", "x": 1}}', "x: unknown field"),
    "q.json": ('{"coordinator": "nats://u:c4n4ry@h:x"}', "addresses/0: not valid"),
    "r.json": ('{"coordinator": "c4n4ry"}', "wrong type (found text); allowed: an object"),
    "s.json": ('{"@type": "Redis", "timeout": 5, "timeout": 6}', "timeout: is given twice"),
    "t.yaml": (
        "'@type': Kafka\nbrokers: [a]\ngroupId: 2026-01-01",
        "groupId: wrong type (found a date)",
    ),
    "u.yaml": ("'@type': Nats\nauthUsername: 12", "write it in quotes"),
    "v.json": (" " * 1_048_577, "larger than 1048576 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused_by_name_and_place(tmp_path: Path, name: str) -> None:
    content, words = BROKEN[name]
    path = tmp_path / name
    path.write_text(content)
    error = _refusal(path)
    assert str(error).startswith(f"{path}: ")
    assert words in str(error)
    assert "c4n4ry" not in str(error)
    assert error.__context__ is None
    assert problems(path)


@pytest.mark.parametrize("name", ["x.toml", "x.json", "x.yaml"])
def test_file_that_is_not_utf8_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"x": "\xff\xfe"}')
    assert "not valid" in str(_refusal(path))
    assert _refusal(path).__context__ is None


def test_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert "No such file" in str(_refusal(tmp_path / "x.toml"))
    (tmp_path / "dir.toml").mkdir()
    assert "directory" in str(_refusal(tmp_path / "dir.toml"))
    os.mkfifo(tmp_path / "pipe.toml")
    assert "not a regular file" in str(_refusal(tmp_path / "pipe.toml"))
    assert "null byte" in str(_refusal("a\x00.toml"))


def test_yaml_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(FILES["bus.yaml"])
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "pip install 'coordinator-bus[yaml]'" in str(_refusal(path))


@pytest.mark.parametrize("text", ["", "bus", "localhost:4222", "bus.ini", "a/b", "nats", "Nats"])
def test_other_text_says_what_a_source_is(text: str) -> None:
    error = _refusal(text)
    for words in ("nats://", "memory://", ".toml", "{"):
        assert words in str(error)


@pytest.mark.parametrize("source", [None, 7, 1.5, [], [OBJECT], Nats, object(), {"Nats"}])
def test_other_objects_say_what_a_source_is(source: object) -> None:
    assert "a URL, the path of a file, JSON text, a dict" in str(_refusal(source))


def test_unknown_variant_of_a_list_of_variants() -> None:
    only: list[type[Coordinator]] = [Memory]
    assert decode("memory://", variants=only) == Memory()
    with pytest.raises(ConfigError, match="allowed: Memory"):
        decode(OBJECT, variants=only)
    with pytest.raises(ConfigError, match="unknown scheme nats://; allowed: memory://"):
        decode("nats://h", variants=only)
