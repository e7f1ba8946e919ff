"""A secret, put in every place that can hold one, is seen nowhere but where it was asked for."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import string
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import rich.pretty

from bus.config import (
    VARIANTS,
    Coordinator,
    Kafka,
    Nats,
    Redis,
    RedisCluster,
    RedisSentinel,
    Text,
    Uri,
    Value,
    Zenoh,
    decode,
    encode,
    to_json,
)
from bus.errors import ConfigError

CANARY = "c4n4ry"

HOLDERS: list[Coordinator] = [
    Kafka(brokers=("h",), group_id="g", auth_secret=Value(CANARY)),
    Nats(auth_secret=Value(CANARY)),
    Nats(credentials=Text(f"-----BEGIN\n{CANARY}\n")),
    Redis(url=f"redis://user:{CANARY}@h"),
    Redis(url=f"redis://:{CANARY}@h"),
    Redis(url=f"redis://{CANARY}@h"),
    Redis(url=f"redis://h?password={CANARY}"),
    Redis(url=f"unix://:{CANARY}@/run/redis.sock"),
    RedisCluster(urls=(Uri(f"redis://u:{CANARY}@h"), Uri("redis://i"))),
    RedisCluster(auth_secret=Value(CANARY)),
    RedisSentinel(auth_secret=Value(CANARY)),
    RedisSentinel(sentinel_secret=Value(CANARY)),
    Zenoh(config=f'{{transport:{{auth:{{usrpwd:{{user:"u",password:"{CANARY}"}}}}}}}}'),
    Zenoh(config=f"{{ // password: {CANARY}\n}}"),
]

# Not checked yet: these fields are no place for a secret, but somebody may have put one there.
UNCHECKED: list[Coordinator] = [
    Nats(addresses=(f"nats://u:{CANARY}@h", f"u:{CANARY}@h")),
    Nats(auth_username=f"nats://u:{CANARY}@h"),
    Kafka(brokers=(f"u:{CANARY}@h",), group_id="g"),
]


def pickled(config: Coordinator) -> str:
    with pytest.raises(TypeError, match="is not pickled") as raised:
        pickle.dumps(config)
    return str(raised.value)


def logged(config: Coordinator) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    record = logging.LogRecord("x", 20, "x", 1, "%s %r %s", (config, config, [config]), None)
    handler.emit(record)
    return stream.getvalue()


def encoded_by_msgspec(config: Coordinator) -> str:
    """msgspec knows none of our types: it refuses, whatever the format."""
    texts: list[str] = []
    encoders: list[Callable[[object], object]] = [
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
    ]
    for encoder in encoders:
        with pytest.raises(TypeError) as raised:
            encoder(config)
        texts.append(str(raised.value))
    return "".join(texts)


SHOWN: list[Callable[[Coordinator], str]] = [
    repr,
    str,
    format,
    lambda config: f"{config} {config!r} {config!s:>400}",
    lambda config: "{} {!r}".format(config, config),  # noqa: UP032  # each way has its own code
    lambda config: "%s %r" % (config, config),  # noqa: UP031  # ... also the oldest
    lambda config: string.Template("$x").substitute(x=config),
    lambda config: repr([config, {"x": config}]),
    lambda config: repr(copy.deepcopy(config)) + repr(copy.copy(config)),
    pprint.pformat,
    rich.pretty.pretty_repr,
    logged,
    lambda config: json.dumps(encode(config)),
    to_json,
]
DUMPED: list[Callable[[Coordinator], str]] = [
    lambda config: str(msgspec.structs.asdict(config)),
    lambda config: str(msgspec.structs.astuple(config)),
    pickled,
    encoded_by_msgspec,
]


@pytest.mark.parametrize("view", SHOWN)
@pytest.mark.parametrize("config", UNCHECKED, ids=str)
def test_no_text_shows_a_secret_in_a_wrong_place(
    config: Coordinator, view: Callable[[Coordinator], str]
) -> None:
    assert CANARY in json.dumps(encode(config, reveal=True))
    assert CANARY not in view(config)


@pytest.mark.parametrize("view", SHOWN + DUMPED)
@pytest.mark.parametrize("config", HOLDERS, ids=str)
def test_no_view_shows_the_secret(config: Coordinator, view: Callable[[Coordinator], str]) -> None:
    assert CANARY in json.dumps(encode(config, reveal=True))
    assert CANARY not in view(config)


# One wrong thing each, so that decode() has to talk about the object.
WRONG: list[object] = [
    *(
        {**encode(config, reveal=True), "nonsense": CANARY, "timeout": 0, "pingInterval": 0}
        for config in HOLDERS + UNCHECKED
    ),
    {"@type": "Nats", "authSecret": CANARY},
    {"@type": "Nats", "authSecret": [CANARY]},
    {"@type": "Nats", "authSecret": {"@type": "Value", "value": CANARY}},
    {"@type": "Nats", "authSecret": {"@type": "Text", "secret": CANARY}},
    {"@type": "Nats", "authSecret": {"@type": "File", "secret": CANARY}},
    {"@type": "Nats", "authSecret": {"@type": "Value", "secret": [CANARY]}},
    {"@type": "Nats", "authUsername": {"secret": CANARY}},
    {"@type": "Nats", "addresses": f"nats://u:{CANARY}@h"},
    {"@type": "Nats", "addresses": [f"http://u:{CANARY}@h", f"u:{CANARY}@h", f"h:{CANARY}"]},
    {"@type": "Nats", "addresses": {f"u:{CANARY}@h": False}},
    {"@type": "Nats", "addresses": {"secret": CANARY}},
    {"@type": "Kafka", "brokers": [f"u:{CANARY}@h"]},
    {"@type": "Redis", "url": f"http://u:{CANARY}@h"},
    {"@type": "Redis", "url": f"u:{CANARY}@h"},
    {"@type": "Redis", "url": f"redis://u:{CANARY}"},
    {"@type": "Redis", "url": f"redis://u:x/{CANARY}@h"},
    {"@type": "Redis", "url": f"redis://u:x#{CANARY}@h"},
    {"@type": "Redis", "url": f"redis://h:x?password={CANARY}"},
    {"@type": "Redis", "url": [f"redis://u:{CANARY}@h"]},
    {"@type": "RedisCluster", "urls": [f"redis://u:{CANARY}@h/x", f"u:{CANARY}@h"]},
    {"@type": "Zenoh", "config": f"password: '{CANARY}'"},
    {"@type": "Zenoh", "config": {"password": CANARY}},
    {f"nats://u:{CANARY}@h": 1, "@type": "Nats"},
    Nats(auth_secret=Value(CANARY), credentials=Text(CANARY)),
    Redis(url=f"redis://u:{CANARY}@h:x"),
    f"nats://u:{CANARY}@h:x?noEcho={CANARY}@",
    f"nats://u:{CANARY}%zz@h",
    f"nats://u:{CANARY}%ff@h",
    f"nats://u:x@{CANARY}@h",
    f"nats://u:{CANARY}/x@h",
    f"nats://u:{CANARY}@h#x",
    f"nats://u:{CANARY} @h",
    f"nats://u:{CANARY}@h?credentials={CANARY}",
    f"natz://u:{CANARY}@h",
    f"nats:u:{CANARY}@h",
    f"u:{CANARY}@h:4222",
    f"redis://u:{CANARY}@a,b",
    f"redis://u:{CANARY}",
    f"redis+cluster://u:{CANARY}@h:x",
    f"redis+sentinel://u:{CANARY}@h/a\x00",
    f"kafka://u:{CANARY}@h",
    f"zenoh://{CANARY}@h",
    f"zenoh://u:{CANARY}@",
    f"zenoh://u:{CANARY}@h:x",
    f"memory://u:{CANARY}@",
    f'{{"@type": "Nats", "authSecret": {{"secret": "{CANARY}"}}, }}',
    f'{{"@type": "Nats", "authSecret": "{CANARY}"}}'.encode() + b"\xff",
    [CANARY],
]


@pytest.mark.parametrize("source", WRONG, ids=range(len(WRONG)))
def test_no_error_and_no_traceback_shows_the_secret(source: object) -> None:
    # Called so that this test's own frame, which knows the secret, is not part of the report.
    error = _error_of(lambda: decode(source))
    seen = [str(error), repr(error), repr(error.problems), pickle.dumps(error).decode("latin-1")]
    below = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]  # this file's two frames
    report = traceback.TracebackException(type(error), error, below, capture_locals=True)
    seen += report.format()
    assert CANARY not in "\n".join(seen)
    assert error.__context__ is None


def _error_of(call: Callable[[], object]) -> ConfigError:
    try:
        call()
    except ConfigError as error:
        return error
    raise AssertionError("it should have been refused")


def test_no_error_shows_a_secret_that_is_a_number() -> None:
    for tag in ("authSecret", "credentials"):
        kind = "Value" if tag == "authSecret" else "Text"
        error = _error_of(lambda: decode({"@type": "Nats", tag: {"@type": kind, "secret": 471100}}))  # noqa: B023  # called at once
        assert "471100" not in str(error) + repr(error.problems)
        error = _error_of(lambda: decode({"@type": "Nats", tag: 471100}))  # noqa: B023  # called at once
        assert "471100" not in str(error) + repr(error.problems)


@pytest.mark.parametrize("ending", [".toml", ".json", ".yaml"])
def test_no_error_about_a_file_shows_the_secret(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"bus{ending}"
    for content in (
        f'{{"@type": "Nats", "authSecret": "{CANARY}", "x": *{CANARY}',
        f'"@type" = "Nats"\nauthSecret = {CANARY}\n',
        f"'@type': Nats\nauthSecret: !{CANARY} {CANARY}\n",
        f"password = '{CANARY}\n\tx: [",
    ):
        path.write_text(content)
        error = _error_of(lambda: decode(path))
        below = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]  # this file's two frames
        report = traceback.TracebackException(type(error), error, below, capture_locals=True)
        assert CANARY not in "\n".join([str(error), repr(error.problems), *report.format()])


def test_every_secret_field_of_every_variant_is_covered() -> None:
    """A new variant with a secret must come into HOLDERS."""
    for variant in VARIANTS:
        held = "".join(json.dumps(encode(one, reveal=True)) for one in HOLDERS if type(one) is variant)
        for field in msgspec.structs.fields(variant):
            if "Secret" in str(field.type) or "Uri" in str(field.type) or "Json5" in str(field.type):
                assert f'"{field.encode_name}"' in held
                assert CANARY in held
