"""Lines 13-18: reading the object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.admin import Tokens
from bus.config import VARIANTS, Coordinator, Memory, Nats, decode, encode
from bus.testing.brokers import Certificates
from tests.admin.kit import Client, FakeNode, Way, World, world
from tests.config.table import LEAST


def one_of(cls: type[Coordinator]) -> Coordinator:
    """A variant with as little as it needs."""
    return decode({"@type": cls.__name__, **LEAST.get(cls, {})})


async def test_line_13_get_needs_its_permission(here: World) -> None:
    here.client.token = Tokens(here.folder).create("update only", ["sysCoordinatorUpdate"])
    await here.admin.reload()
    assert (await here.client.get())["type"] == "forbidden"


@pytest.mark.parametrize("arguments", [{}, {"ids": None}, {"ids": ["singleton"]}, {"ids": ["singleton"] * 3}])
async def test_line_14_the_one_object(client: Client, arguments: dict[str, Any]) -> None:
    found = await client.get(**arguments)
    assert [one["id"] for one in found["list"]] == ["singleton"]
    assert found["notFound"] == []


@pytest.mark.parametrize(
    ("ids", "listed", "not_found"),
    [
        ([], 0, []),
        (["x"], 0, ["x"]),
        (["x", "singleton", "y", "x"], 1, ["x", "y"]),
        (["Singleton"], 0, ["Singleton"]),
        (["x" * 255], 0, ["x" * 255]),
    ],
)
async def test_line_14_other_ids(client: Client, ids: list[str], listed: int, not_found: list[str]) -> None:
    found = await client.get(ids=ids)
    assert (len(found["list"]), found["notFound"]) == (listed, not_found)


async def test_line_14_too_many_ids(client: Client) -> None:
    assert "list" in await client.get(ids=[f"x{n}" for n in range(500)])
    assert (await client.get(ids=[f"x{n}" for n in range(501)]))["type"] == "requestTooLarge"


async def test_line_15_never_stored(here: World) -> None:
    first, second = await here.client.get(), await here.client.get()
    assert first["list"] == [{"id": "singleton", "@type": "Disabled"}]
    assert first["state"] == second["state"]
    assert not here.file.exists()


async def test_line_15_never_stored_is_what_the_node_runs_on(
    tmp_path: Path, way: Way, certificates: Certificates
) -> None:
    async with world(tmp_path, way, FakeNode(Memory()), certificates) as here:
        assert (await here.client.object())["@type"] == "Memory"


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        (None, 21),
        ([], {"id", "@type"}),
        (["addresses"], {"id", "@type", "addresses"}),
        (["@type", "id", "noEcho", "noEcho"], {"id", "@type", "noEcho"}),
        (["url", "brokers", "noEcho"], {"id", "@type", "noEcho"}),
    ],
)
async def test_line_16_properties(
    tmp_path: Path, way: Way, certificates: Certificates, properties: Any, names: Any
) -> None:
    async with world(tmp_path, way, FakeNode(Nats()), certificates) as here:
        (found,) = (await here.client.get(properties=properties))["list"]
        assert set(found) == names or (properties is None and len(found) > 15)


async def test_line_16_a_property_of_no_variant(client: Client) -> None:
    error = await client.get(properties=["noEcho", "description"])
    assert error["type"] == "invalidArguments"
    assert "description" in error["description"]
    assert "noEcho" not in error["description"]


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
async def test_line_17_all_fields_with_their_defaults(
    tmp_path: Path, way: Way, certificates: Certificates, cls: type[Coordinator]
) -> None:
    async with world(tmp_path, way, FakeNode(one_of(cls)), certificates) as here:
        found = await here.client.object()
    assert list(found)[:2] == ["id", "@type"]
    assert found == {"id": "singleton", **encode(one_of(cls))}
    if cls is Nats:
        assert found["maxReconnects"] is None
        assert found["pingInterval"] == 60_000
        assert found["addresses"] == ["127.0.0.1:4444"]
        assert found["authSecret"] == {"@type": "None"}


async def test_line_18_the_state_changes_with_the_object_only(here: World) -> None:
    states = [(await here.client.get())["state"]]
    for patch in ({"@type": "Memory"}, {"@type": "Disabled"}, {"@type": "Memory"}):
        assert (await here.client.update(patch)) == {"updated": None}
        states += [(await here.client.get())["state"] for _ in range(2)]
        assert states[-1] == states[-2]
    assert len(set(states)) == 4
    epochs, generations = zip(*(state.split("-") for state in dict.fromkeys(states)), strict=True)
    assert len(set(epochs)) == 1
    assert len(epochs[0]) == 8
    assert generations == ("0", "1", "2", "3")


async def test_line_18_the_state_outlives_the_process(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        state = (await here.client.get())["state"]
    async with world(tmp_path) as here:
        assert (await here.client.get())["state"] == state
        assert (await here.client.object())["@type"] == "Memory"


async def test_line_18_the_state_says_nothing_about_a_secret(tmp_path: Path) -> None:
    """Two nodes with the same object have states that have nothing in common."""
    patch = {"@type": "Nats", "authSecret": {"@type": "Value", "secret": "x"}}
    states: list[str] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        async with world(tmp_path / name) as here:
            await here.client.update(patch)
            states.append((await here.client.get())["state"])
    assert states[0] != states[1]


async def test_line_18_a_file_edited_by_hand_has_another_state(here: World) -> None:
    await here.client.update({"@type": "Nats"})
    before = (await here.client.get())["state"]
    edited = here.stored()
    edited["object"]["pingInterval"] = 5000
    here.file.write_text(json.dumps(edited))
    while (await here.client.get())["state"] == before:
        await here.admin.reload()
    found = await here.client.get()
    assert found["list"][0]["pingInterval"] == 5000
    assert int(found["state"].split("-")[1]) == int(before.split("-")[1]) + 1
    assert here.stored()["generation"] == int(before.split("-")[1]) + 1
    # Written again without a change: still the same.
    here.file.write_text(here.file.read_text())
    await here.admin.reload()
    assert (await here.client.get())["state"] == found["state"]
