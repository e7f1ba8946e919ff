"""A variant of somebody else: one class, and everything works with it."""

from __future__ import annotations

import enum
import subprocess
import sys
from collections.abc import Iterable
from typing import Annotated, ClassVar

import msgspec
import pytest
from msgspec import Meta

from bus.config import (
    VARIANTS,
    Coordinator,
    Duration,
    NoSecret,
    Problem,
    SecretKeyOptional,
    Uri,
    Url,
    Value,
    decode,
    encode,
)
from bus.config.problem import problem
from bus.config.uri import uri_format
from bus.errors import ConfigError


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Retry(msgspec.Struct, frozen=True, rename="camel"):
    times: Annotated[int, Meta(ge=1)] = 3
    wait_for: Duration = Duration("1s")


class Nest(msgspec.Struct, frozen=True, tag_field="@type"):
    eggs: Annotated[int, Meta(ge=0)]


class Pigeon(Coordinator, frozen=True, kw_only=True):
    """A carrier pigeon."""

    url_schemes: ClassVar[tuple[str, ...]] = ("pigeon",)

    loft: Annotated[Uri, Meta(extra={"format": uri_format(("pigeon",), "pigeon://roof")})]
    birds: Annotated[int, Meta(ge=2)] = 2
    seeds: Annotated[
        tuple[Annotated[str, Meta(max_length=5, pattern="^[a-z]+$")], ...], Meta(max_length=2)
    ] = ()
    whistle: SecretKeyOptional = NoSecret()
    level: Level = Level.LOW
    weights: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    retry: Retry = Retry()
    nest: Nest | None = None
    heights: tuple[float, ...] = ()
    pauses: dict[str, Duration] = msgspec.field(default_factory=dict[str, Duration])
    names: list[Annotated[str, Meta(min_length=2)]] = msgspec.field(default_factory=list[str])

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        return {"loft": url.text}

    def conflicts(self) -> Iterable[Problem]:
        if self.birds > 5 and not self.seeds:
            yield problem("seeds", "conflict", "are needed by many birds")


KNOWN: tuple[type[Coordinator], ...] = (*VARIANTS, Pigeon)


def refused(source: object) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        decode(source, variants=KNOWN)
    return [(one.path, one.code) for one in raised.value.problems if isinstance(one, Problem)]


def test_foreign_variant_decodes_from_everything() -> None:
    expected = Pigeon(loft=Uri("pigeon://roof"), birds=3)
    assert decode({"@type": "Pigeon", "loft": "pigeon://roof", "birds": 3}, variants=KNOWN) == expected
    assert decode("pigeon://roof?birds=3", variants=KNOWN) == expected
    assert decode(expected) is expected
    assert decode("pigeon://roof?seeds=oat,rye", variants=KNOWN) == Pigeon(
        loft=Uri("pigeon://roof"), seeds=("oat", "rye")
    )


def test_foreign_variant_encodes_masked_and_comes_back_revealed() -> None:
    config = Pigeon(
        loft=Uri("pigeon://u:pw@roof"),
        whistle=Value("pw"),
        seeds=("oat",),
        level=Level.HIGH,
        weights={"a": 1.5},
        retry=Retry(wait_for=Duration("2s")),
        nest=Nest(3),
        heights=(1.5, 2.0),
        pauses={"a": Duration("1s")},
        names=["abc"],
    )
    assert encode(config)["whistle"] == {"@type": "Value", "secret": "****"}
    assert "pw" not in repr(config)
    encoded = encode(config, reveal=True)
    assert encoded["retry"] == {"times": 3, "waitFor": 2000}
    assert encoded["pauses"] == {"a": 1000}
    assert decode(encoded, variants=KNOWN) == config


def test_foreign_field_types_are_checked_too() -> None:
    assert refused(
        {
            "@type": "Pigeon",
            "loft": "http://roof",
            "birds": 1,
            "seeds": ["oat", "barley", "1", "rye"],
            "level": "middle",
            "weights": {"a": "heavy"},
            "retry": {"times": 0, "waitFor": "x", "waits": 1},
            "nest": {"@type": "Nest", "eggs": -1},
            "heights": [1, "high"],
            "pauses": {"a": 0},
            "names": ["a", "bc"],
        }
    ) == [
        ("loft", "format"),
        ("birds", "min"),
        ("seeds/1", "max"),
        ("seeds/2", "format"),
        ("level", "type"),
        ("weights", "type"),
        ("retry/waits", "unknown"),
        ("retry/times", "min"),
        ("retry/waitFor", "format"),
        ("nest/eggs", "min"),
        ("heights", "type"),
        ("pauses", "type"),
        ("names/0", "min"),
    ]
    assert refused({"@type": "Pigeon", "loft": "pigeon://x", "retry": 7}) == [("retry", "type")]
    assert refused({"@type": "Pigeon", "loft": "pigeon://x", "seeds": ["a", "b", "c"]}) == [("seeds", "max")]


def test_foreign_rules_between_fields_are_asked() -> None:
    assert refused("pigeon://roof?birds=6") == [("seeds", "conflict")]


def test_without_it_the_type_is_unknown_and_with_it_listed() -> None:
    with pytest.raises(ConfigError, match="unknown type") as raised:
        decode({"@type": "Pigeon"})
    assert "Memory" in str(raised.value)
    with pytest.raises(ConfigError, match="Memory, Pigeon; did you mean Pigeon"):
        decode({"@type": "Pidgeon"}, variants=KNOWN)


class Plain(Coordinator, frozen=True, kw_only=True):
    url_schemes: ClassVar[tuple[str, ...]] = ("plain",)

    size: int = 1

    def __post_init__(self) -> None:
        if self.size == 13:
            raise ValueError("13 brings bad luck")


def test_variant_without_a_url_form_says_so() -> None:
    with pytest.raises(ConfigError, match="Plain cannot be written as plain://"):
        decode("plain://x", variants=[Plain])


def test_error_of_a_foreign_constructor_is_a_problem() -> None:
    with pytest.raises(ConfigError, match="13 brings bad luck"):
        decode({"@type": "Plain", "size": 13}, variants=[Plain])


def test_import_loads_no_reader_and_no_client_library() -> None:
    code = (
        "import sys, types; bus = types.ModuleType('bus'); bus.__path__ = ['bus'];"
        "sys.modules['bus'] = bus; import bus.config;"
        "late = {'yaml', 'tomllib', 'json', 'logging', 'asyncio', 'zenoh'};"
        "print(*sorted(late & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=True
    )
    assert done.stdout.strip() == ""


class Strict(Coordinator, frozen=True, kw_only=True):
    wait: Duration
    label: str
    thing: object = None

    def conflicts(self) -> Iterable[Problem]:
        if self.wait.ms > 10 and len(self.label) < 2:
            yield problem("wait", "conflict", "is too long for a short label")


def test_rules_never_see_a_value_of_another_type() -> None:
    def complaints(**fields: object) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            decode({"@type": "Strict", **fields}, variants=[Strict])
        return [one.path for one in raised.value.problems if isinstance(one, Problem)]

    assert complaints(wait="x", label="x") == ["wait"]
    assert complaints(wait="1s", label="x") == ["wait"]
    assert complaints(wait="1s") == ["label", "wait"]


def test_any_value_includes_null() -> None:
    source = {"@type": "Strict", "wait": 1, "label": "x", "thing": None}
    assert decode(source, variants=[Strict]) == Strict(wait=Duration(1), label="x")


def test_value_that_json_cannot_hold_is_not_encoded() -> None:
    with pytest.raises(TypeError, match="a value of type object cannot be encoded"):
        encode(Strict(wait=Duration(1), label="x", thing=object()))
