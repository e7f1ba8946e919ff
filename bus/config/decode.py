"""`decode`: any way to write a configuration -> one checked variant, or every problem at once.

A source is a variant, a dict, JSON text, the path of a TOML, JSON or YAML file, or a URL. A text is
a URL if it has "://" or starts with a scheme that we know, JSON if it starts with "{", else a path.
Nothing here talks to a network or resolves a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import cast

from bus.config.base import Coordinator, type_of
from bus.config.check import Check
from bus.config.problem import listing, report
from bus.config.redis import Redis, RedisCluster, RedisSentinel
from bus.config.scalar import found
from bus.config.secret import read_regular
from bus.config.url import from_url, is_url, schemes
from bus.config.variants import Default, Disabled, Kafka, Memory, Nats, Zenoh
from bus.errors import ConfigError

VARIANTS: tuple[type[Coordinator], ...] = (
    Disabled,
    Default,
    Kafka,
    Nats,
    Zenoh,
    Redis,
    RedisCluster,
    RedisSentinel,
    Memory,
)

MAX_FILE = 1_048_576

_SUFFIXES = (".toml", ".json", ".yaml", ".yml")


def decode(source: object, *, variants: Sequence[type[Coordinator]] = VARIANTS) -> Coordinator:
    """The checked Coordinator of a source; `variants` are the classes that "@type" may name.

    A file holds the object at its top level or under the key `coordinator`, where a URL may stand
    instead. A variant comes back as it is, if nothing had to be normalised. Raises ConfigError with
    one `Problem` for each thing that is wrong.
    """
    check = Check()
    name, coordinator = _decoded(source, check, variants)
    if coordinator is not None:
        return coordinator
    # This frame is in the traceback, and some tracebacks show the local variables.
    del source
    raise ConfigError(report(name, check.problems), tuple(check.problems))


def _decoded(
    source: object, check: Check, variants: Sequence[type[Coordinator]]
) -> tuple[str, Coordinator | None]:
    """(what the source is called, the result); without a result `check` has problems."""
    if isinstance(source, Coordinator):
        cls = type(source)
        made = check.variant(source, [cls, *(one for one in variants if one is not cls)])
        return type_of(source), source if made == source else made
    if isinstance(source, os.PathLike):
        return _file(os.fsdecode(cast("os.PathLike[str]", source)), check, variants)
    if isinstance(source, Mapping):
        return "object", check.variant(cast("object", source), variants)
    if isinstance(source, (bytes, bytearray)):
        return "JSON", _checked(_json(bytes(source), check), check, variants)
    if isinstance(source, str):
        return _text(source, check, variants)
    check.add(
        "",
        "source",
        f"{type(source).__name__} is no configuration",
        allowed="a URL, the path of a file, JSON text, a dict, a variant such as bus.config.Nats",
    )
    return "configuration", None


def _text(text: str, check: Check, variants: Sequence[type[Coordinator]]) -> tuple[str, Coordinator | None]:
    text = text.strip()
    if text.startswith("{"):
        return "JSON", _checked(_json(text.encode(errors="replace"), check), check, variants)
    if is_url(text, variants):
        return "URL", _checked(from_url(check, text, variants), check, variants)
    return _file(text, check, variants)


def _checked(source: object, check: Check, variants: Sequence[type[Coordinator]]) -> Coordinator | None:
    """Check what a reader has made; None if it has made nothing."""
    if source is None:
        if not check.problems:
            check.add("", "type", found="null", allowed="an object")
        return None
    return check.variant(source, variants)


def _file(path: str, check: Check, variants: Sequence[type[Coordinator]]) -> tuple[str, Coordinator | None]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _SUFFIXES:
        check.add(
            "",
            "source",
            "neither a URL, nor JSON, nor the path of a configuration file",
            found=found(path),
            allowed=f"{listing(f'{name}://' for name in schemes(variants))}, "
            f"text that starts with {{, a path that ends with {listing(_SUFFIXES)}",
        )
        return "configuration", None
    content = _content(path, check)
    if content is None:
        return path, None
    read = {".toml": _toml, ".json": _json}.get(suffix, _yaml)
    source = _inner(read(content, check))
    if isinstance(source, str) and is_url(source, variants):
        source = from_url(check, source, variants)
    return path, _checked(source, check, variants)


def _inner(source: object) -> object:
    """What stands under the key `coordinator`, if the object itself is no Coordinator."""
    if not isinstance(source, Mapping):
        return source
    top = cast("Mapping[str, object]", source)
    return top["coordinator"] if "@type" not in top and "coordinator" in top else top


def _content(path: str, check: Check) -> bytes | None:
    try:
        return read_regular(path, MAX_FILE)[0]
    except OSError as exc:
        trouble = exc.strerror or type(exc).__name__
    except ValueError as exc:
        trouble = str(exc)
    check.add("", "source", f"cannot be read: {trouble}")
    return None


# The readers note a problem and return None. They do it outside `except`: the exceptions of the
# libraries hold the whole text, and would be the context of the ConfigError. Of their messages only
# the place is taken, because some quote what they found there.


def _json(content: bytes, check: Check) -> object:
    import json

    twice: list[str] = []

    def no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice.extend(name for name in made if names.count(name) > 1)
        return made

    def no_constant(name: str) -> object:
        raise ValueError(name)

    place = ""
    try:
        source: object = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=no_repeats, parse_constant=no_constant
        )
    except json.JSONDecodeError as exc:
        place = f" (line {exc.lineno}, column {exc.colno})"
    except UnicodeDecodeError as exc:
        place = f" (not UTF-8 at byte {exc.start})"
    except (ValueError, RecursionError):
        place = " (a number or a nesting that JSON does not allow)"
    else:
        for name in twice:
            check.add(name, "duplicate")
        return source
    check.add("", "source", f"not valid JSON{place}")
    return None


def _toml(content: bytes, check: Check) -> object:
    import tomllib

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        place = _place(exc)
    check.add("", "source", f"not valid TOML{place}")
    return None


def _yaml(content: bytes, check: Check) -> object:
    import msgspec.yaml

    hint = ""
    try:
        return msgspec.yaml.decode(content)
    except ImportError:
        trouble = "cannot be read: YAML needs the package pyyaml"
        hint = "pip install 'coordinator-bus[yaml]', or write the file in TOML or JSON"
    except (ValueError, RecursionError, msgspec.MsgspecError) as exc:
        trouble = f"not valid YAML{_place(exc)}"
    check.add("", "source", trouble, hint=hint)
    return None


def _place(exc: BaseException) -> str:
    """Only where it is."""
    place = re.search(r"line \d+, column \d+|end of document", str(exc))
    return f" ({place[0]})" if place else ""
