"""The cluster key: what may be given, what is refused and how, and that it never shows."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from bus import Bus, ConfigError
from bus.config import EnvironmentVariable, File, NoSecret, Text, Value
from bus.keys import ClusterKey, cluster_key
from bus.node import Node

CANARY = "canary-canary-canary"
OTHER = "another-key-of-24-bytes!"


def keys_of(given: object) -> list[bytes]:
    key = cluster_key(given)
    assert key is not None
    return key.read()


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (CANARY, [CANARY]),
        (CANARY.encode(), [CANARY]),
        (bytearray(CANARY.encode()), [CANARY]),
        (Value(CANARY), [CANARY]),
        (Text(f"{OTHER}\n\n  {CANARY}\n"), [OTHER, CANARY]),
        ({"@type": "Value", "secret": CANARY}, [CANARY]),
        ({"@type": "Text", "secret": f"{CANARY}\r\n{OTHER}"}, [CANARY, OTHER]),
        ([OTHER, {"@type": "Value", "secret": CANARY}], [OTHER, CANARY]),
        ((CANARY, OTHER.encode(), CANARY), [CANARY, OTHER, CANARY]),
    ],
)
def test_a_key_is_text_bytes_a_secret_or_a_list_of_these(given: object, keys: list[str]) -> None:
    assert keys_of(given) == [key.encode() for key in keys]


def test_bytes_are_taken_as_they_are() -> None:
    raw = bytes(range(240, 256)) + b"\n\r\n " + bytes(16)
    assert keys_of(raw) == [raw]


def test_files_and_variables_are_read_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    key = cluster_key([File(str(path)), EnvironmentVariable("TEST_KEY")])
    assert isinstance(key, ClusterKey)
    assert cluster_key(key) is key
    with pytest.raises(ConfigError, match=f"{path}: No such file"):
        key.read()
    path.write_text(f"{CANARY}\n{OTHER}\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="TEST_KEY: it is not set"):
        key.read()
    monkeypatch.setenv("TEST_KEY", OTHER)
    assert key.read() == [CANARY.encode(), OTHER.encode(), OTHER.encode()]
    assert key.files == [str(path)]


def test_a_file_counts_as_renewed_when_it_has_changed_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(CANARY)
    key = cluster_key(File(str(path)))
    assert key is not None
    assert [key.renewed() for _ in range(2)] == [None, None]
    path.write_text(f"{OTHER}\n{CANARY}")
    assert [key.renewed() for _ in range(3)] == [None, [OTHER.encode(), CANARY.encode()], None]
    path.unlink()
    assert key.renewed() is None
    with pytest.raises(ConfigError, match="No such file"):
        key.renewed()
    assert key.renewed() is None, "told once"


@pytest.mark.parametrize("given", [None, NoSecret(), {"@type": "None"}])
def test_without_a_key_nothing_is_sealed(given: object) -> None:
    assert cluster_key(given) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("short", "the key given: key 1 of it has fewer than 16 bytes"),
        (b"short", "the key given: key 1 of it has fewer than 16 bytes"),
        (f"{CANARY}\nshort", "key 2 of it has fewer than 16 bytes"),
        ("  \n", "the key given: it is empty"),
        ("", "the secret is empty"),
        (Value(""), "the secret is empty"),
        (Value("****"), "the mask that hides one"),
        ([], "the list holds no key"),
        ([CANARY, None], "found NoneType; allowed are text or bytes"),
        ([CANARY, NoSecret()], "the list holds no key"),
        (7, "found int; allowed are text or bytes"),
        ({"@type": "Fil", "filePath": "/x"}, "Invalid value 'Fil'"),
        ({"@type": "File"}, "missing required field `filePath`"),
        ({"@type": "File", "filePath": "/x", "path": 1}, "unknown field `path`"),
        ({"@type": "Value", "secret": 7}, "a text is expected"),
        ({"secret": CANARY}, "@type"),
    ],
)
def test_what_is_no_key_is_refused_by_name(given: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Bus.open("memory://", key=given)
    text = "".join(traceback.format_exception(caught.value))
    assert words in text
    assert str(caught.value).startswith("key: ")
    assert CANARY not in text


@pytest.mark.parametrize("given", [CANARY, CANARY.encode(), Value(CANARY), [CANARY, Text(CANARY)]])
def test_a_key_never_shows(given: object) -> None:
    bus = Bus.open("memory://", key=given)
    node = vars(bus)["_node"]
    assert isinstance(node, Node)
    assert node.seal is not None
    shown: list[object] = [bus, node, node.key, node.seal, vars(node.key), vars(node.seal), vars(node)]
    for one in shown:
        assert CANARY not in repr(one)
        assert CANARY.encode().hex() not in repr(one)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(_: str) -> None:
        return None

    monkeypatch.setattr("bus.seal.find_spec", find_spec)
    with pytest.raises(ConfigError, match=r"pip install 'coordinator-bus\[seal\]'"):
        Bus.open("memory://", key=CANARY)
    Bus.open("memory://")
