"""The JSON Schema of the object: it says of every object what the node says of it."""

from __future__ import annotations

import json
from typing import Any, cast

import jsonschema
import pytest

from bus.admin.schema import document, label, variable
from bus.config import VARIANTS, Coordinator, Nats, decode, encode
from bus.config.check import field_names
from tests.admin.kit import Client
from tests.admin.test_get import one_of
from tests.config.table import LEAST, REQUIRED, TABLE, an_object

SCHEMA: dict[str, Any] = document(VARIANTS)
VALIDATOR: Any = jsonschema.Draft202012Validator(SCHEMA)


def is_valid(value: object) -> bool:
    return bool(VALIDATOR.is_valid(value))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
def test_what_we_answer_is_valid(cls: type[Coordinator]) -> None:
    assert is_valid({"id": "singleton", **encode(one_of(cls))})
    assert is_valid({"@type": cls.__name__, **LEAST.get(cls, {})})


CASES = [
    (cls, name, given, True) for cls, fields in TABLE.items() for name, field in fields.items()
    for given, encoded in field.good if given == encoded
] + [
    (cls, name, given, False) for cls, fields in TABLE.items() for name, field in fields.items()
    for given, code, _ in field.bad if code in ("type", "null", "min", "max") and not isinstance(given, str)
    and not isinstance(given, float)
    and given != 10**5000
]  # fmt: skip


def test_it_agrees_with_the_node_about_every_value_of_the_table() -> None:
    """Types, null, bounds; what a text may hold (hosts, URIs) is said in words (x-format)."""
    wrong = [
        (cls.__name__, name, str(given)[:50], good)
        for cls, name, given, good in CASES
        if is_valid(an_object(cls, name, given)) != good
    ]
    assert wrong == []
    assert len(CASES) > 300


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
def test_every_field_is_ready_to_be_shown(cls: type[Coordinator]) -> None:
    found = SCHEMA["$defs"][cls.__name__]
    properties = found["properties"]
    assert set(properties) == {"id", "@type", *field_names(cls)}
    for order, name in enumerate(field_names(cls)):
        shown = properties[name]
        assert shown["x-order"] == order
        assert shown["x-label"]
        assert shown["description"]
        assert shown["x-env"].startswith("BUS_COORDINATOR__")
        assert ("default" in shown) == (TABLE[cls][name].default is not REQUIRED)
        if "default" in shown:
            assert shown["default"] == TABLE[cls][name].default
    assert found["required"] == ["@type", *(name for name in field_names(cls) if name in LEAST.get(cls, {}))]


def test_secrets_and_durations_are_marked() -> None:
    nats = SCHEMA["$defs"]["Nats"]["properties"]
    value, *_ = [one for one in nats["authSecret"]["oneOf"] if one["properties"]["@type"]["const"] == "Value"]
    assert value["properties"]["secret"]["x-secret"] is True
    assert SCHEMA["$defs"]["Redis"]["properties"]["url"]["x-secret"] is True
    assert (nats["pingInterval"]["x-type"], nats["pingInterval"]["x-unit"]) == ("duration", "ms")
    assert nats["authSecret"]["x-labels"]["File"]
    assert SCHEMA["$defs"]["RedisCluster"]["properties"]["protocolVersion"]["x-labels"] == {
        "resp2": "RESP2", "resp3": "RESP3",
    }  # fmt: skip


def test_names_for_people_and_for_the_environment() -> None:
    assert label("timeoutConnection") == "Timeout connection"
    assert label("url") == "URL"
    assert label("useTls") == "Use TLS"
    assert variable("timeoutConnection") == "BUS_COORDINATOR__TIMEOUT_CONNECTION"


async def test_it_is_served_with_an_etag(client: Client) -> None:
    reply = await client.ask("GET", "/api/schema")
    assert reply.status == 200
    assert reply.json() == json.loads(json.dumps(SCHEMA))
    tag = reply.headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = await client.ask("GET", "/api/schema", headers={"if-none-match": known})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert (await client.ask("GET", "/api/schema", headers={"if-none-match": '"x"'})).status == 200
    assert (await client.ask("GET", "/api/schema", headers={"authorization": None})).status == 401


def test_a_variant_of_somebody_else_is_in_it() -> None:
    class Carrier(Coordinator, frozen=True, kw_only=True):
        """By air."""

        lofts: tuple[str, ...]
        pigeons: int = 3

    found = cast("dict[str, Any]", document((Nats, Carrier)))
    assert found["$defs"]["Carrier"]["required"] == ["@type", "lofts"]
    validator: Any = jsonschema.Draft202012Validator(found)
    assert validator.is_valid({"@type": "Carrier", "lofts": ["a"]})
    assert decode({"@type": "Carrier", "lofts": ["a"]}, variants=(Carrier,)) == Carrier(lofts=("a",))
