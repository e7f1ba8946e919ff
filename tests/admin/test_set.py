"""Lines 19-24: what a /set answers, apart from what a patch may hold."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bus.admin import Tokens
from bus.config import VARIANTS, Coordinator, Nats
from tests.admin.kit import Client, FakeNode, World, world
from tests.admin.test_get import one_of

MEMORY: dict[str, Any] = {"singleton": {"@type": "Memory"}}


async def test_line_19_set_needs_its_permission(here: World) -> None:
    here.client.token = Tokens(here.folder).create("get only", ["sysCoordinatorGet"])
    await here.admin.reload()
    assert (await here.client.set(update=MEMORY))["type"] == "forbidden"
    assert (await here.client.object())["@type"] == "Disabled"
    assert not here.node.tried


async def test_line_20_another_state_changes_nothing(here: World) -> None:
    state = (await here.client.get())["state"]
    assert (await here.client.set(update=MEMORY, ifInState="x"))["type"] == "stateMismatch"
    assert (await here.client.get())["state"] == state
    assert not here.node.tried
    assert (await here.client.set(update=MEMORY, ifInState=state))["updated"] == {"singleton": None}
    assert (await here.client.set(update=MEMORY, ifInState=state))["type"] == "stateMismatch"
    assert (await here.client.set(update=MEMORY, ifInState=None))["updated"]


async def test_line_20_of_two_at_once_one_wins(here: World) -> None:
    gate = asyncio.Event()
    here.node.in_trial = gate.wait
    state = (await here.client.get())["state"]
    wanted: list[dict[str, Any]] = [{"@type": "Memory"}, {"@type": "Nats"}]
    sets = [
        asyncio.create_task(here.client.set(update={"singleton": one}, ifInState=state)) for one in wanted
    ]
    await asyncio.sleep(0.05)
    gate.set()
    results = [await one for one in sets]
    (won,) = [number for number, one in enumerate(results) if one.get("updated")]
    (lost,) = [one for one in results if one.get("type") == "stateMismatch"]
    assert lost
    assert (await here.client.object())["@type"] == wanted[won]["@type"]


async def test_line_21_create_and_destroy_are_refused_and_the_update_goes_on(here: World) -> None:
    found = await here.client.set(
        create={"a": {"@type": "Nats"}, "b": {}},
        update={**MEMORY, "other": {"@type": "Nats"}, "#made": {}},
        destroy=["singleton", "other"],
    )
    assert {key: error["type"] for key, error in found["notCreated"].items()} == {
        "a": "singleton",
        "b": "singleton",
    }
    assert {key: error["type"] for key, error in found["notDestroyed"].items()} == {
        "singleton": "singleton",
        "other": "notFound",
    }
    assert {key: error["type"] for key, error in found["notUpdated"].items()} == {
        "other": "notFound",
        "#made": "notFound",
    }
    assert found["updated"] == {"singleton": None}
    assert (await here.client.object())["@type"] == "Memory"


async def test_line_21_create_does_not_update(here: World) -> None:
    await here.client.set(create={"singleton": {"@type": "Memory"}})
    assert (await here.client.object())["@type"] == "Disabled"


async def test_line_22_everything_is_in_the_response(client: Client) -> None:
    nothing = await client.set()
    assert nothing["oldState"] == nothing["newState"]
    assert set(nothing) == {
        "accountId", "oldState", "newState", "created", "updated", "destroyed",
        "notCreated", "notUpdated", "notDestroyed",
    }  # fmt: skip
    for name in ("created", "updated", "destroyed", "notCreated", "notUpdated", "notDestroyed"):
        assert nothing[name] is None
    changed = await client.set(update=MEMORY)
    assert changed["oldState"] == nothing["newState"]
    assert changed["newState"] == (await client.get())["state"] != changed["oldState"]


async def test_line_22_the_client_is_told_what_it_cannot_know(client: Client) -> None:
    patch: dict[str, Any] = {
        "@type": "Nats",
        "addresses": {"h:1": True},
        "pingInterval": "5s",
        "noEcho": False,
        "authSecret": {"@type": "Value", "secret": "pw"},
    }
    told = (await client.update(patch))["updated"]
    shown = await client.object()
    # As sent: not told. Normalised, masked, or a default: told as it is.
    assert set(shown) - set(told) == {"id", "@type", "noEcho"}
    assert told["addresses"] == ["h:1"]
    assert told["pingInterval"] == 5000
    assert told["capacityClient"] == 2048
    assert told["authSecret"] == {"@type": "Value", "secret": "****"}
    for name, value in told.items():
        assert shown[name] == value
    assert (await client.update({"pingInterval": 7000}))["updated"] is None
    assert (await client.update({"pingInterval": "8s"}))["updated"] == {"pingInterval": 8000}
    assert (await client.update({"pingInterval": None}))["updated"] == {"pingInterval": 60_000}


@pytest.mark.parametrize(
    "patch", [{}, {"id": "singleton"}, {"@type": "Nats"}, {"pingInterval": "1m"}, {"pingInterval": None}]
)
async def test_line_23_no_change_no_write(tmp_path: Path, patch: dict[str, Any]) -> None:
    async with world(tmp_path, node=FakeNode(Nats())) as here:
        found = await here.client.set(update={"singleton": patch})
        assert "singleton" in found["updated"]
        assert found["oldState"] == found["newState"]
        assert not here.file.exists()
        assert not here.node.tried
        assert not here.node.switched
        assert here.audited() == []


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
async def test_line_23_the_whole_object_back_is_no_change(tmp_path: Path, cls: type[Coordinator]) -> None:
    async with world(tmp_path, node=FakeNode(one_of(cls))) as here:
        found = await here.client.set(update={"singleton": await here.client.object()})
        assert found["updated"] == {"singleton": None}
        assert found["oldState"] == found["newState"]
        assert not here.node.tried


async def test_line_24_too_many_objects(here: World) -> None:
    many = {f"x{number}": {"@type": "Nats"} for number in range(499)}
    found = await here.client.set(create=many, update=MEMORY)
    assert len(found["notCreated"]) == 499
    assert (await here.client.set(create=many, update=MEMORY, destroy=["y"]))["type"] == "requestTooLarge"
