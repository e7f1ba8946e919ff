"""Lines 38-42: from a wish to a running bus, and what is left when a step fails."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bus import Bus
from bus.admin import Store
from bus.backend import Fault
from bus.config import VARIANTS, Coordinator, Disabled, Memory, Nats, Redis
from bus.errors import ConfigError
from bus.testing.brokers import Broker
from bus.trial import TrialFailed
from tests.admin.kit import FakeNode, World, until, world
from tests.bus.cluster import cluster_name

MEMORY: dict[str, Any] = {"singleton": {"@type": "Memory"}}


def stages(here: World) -> list[str]:
    return list(here.audited()[-1]["stageMs"])


async def test_line_38_the_order_of_the_stages(here: World) -> None:
    def nothing_yet() -> Any:
        assert not here.file.exists()
        assert not here.node.switched
        return asyncio.sleep(0)

    def stored_but_not_in_use() -> Any:
        assert here.stored()["object"] == {"@type": "Memory"}
        assert here.node.tried == [Memory()]
        return asyncio.sleep(0)

    here.node.in_trial, here.node.in_switch = nothing_yet, stored_but_not_in_use
    assert "updated" in await here.client.update({"@type": "Memory"})
    assert here.node.switched == [Memory()]
    assert stages(here) == ["validate", "trial", "store", "switch"]
    assert here.audited()[-1]["outcome"] == "applied"


@pytest.mark.parametrize("stage", ["resolve", "connect", "auth", "subscribe", "probe"])
async def test_line_38_a_trial_that_fails_changes_nothing(here: World, stage: Any) -> None:
    here.node.trial_error = TrialFailed(stage, Fault.UNREACHABLE, "127.0.0.1:1 refused the connection")
    found = await here.client.set(update=MEMORY)
    error = found["notUpdated"]["singleton"]
    assert error["type"] == "connectionFailed"
    assert error["stage"] == stage
    assert error["description"] == "127.0.0.1:1 refused the connection"
    assert error["hint"]
    assert found["oldState"] == found["newState"]
    assert not here.file.exists()
    assert not here.node.switched
    assert here.audited()[-1]["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("validate", "checked", "tried", "switched"),
    [("connect", True, True, True), ("schema", True, False, True), ("none", False, False, False)],
)
async def test_line_38_how_much_is_validated(
    tmp_path: Path, validate: str, checked: bool, tried: bool, switched: bool
) -> None:
    async with world(tmp_path) as here:
        seen: list[Coordinator] = []
        here.node.check = seen.append  # type: ignore[assignment,method-assign]  # to see whether it is called
        gate = asyncio.Event()
        if not switched:
            here.node.in_switch = gate.wait
        assert "updated" in await here.client.update({"@type": "Memory"}, validate=validate)
        assert (bool(seen), bool(here.node.tried), bool(here.node.switched)) == (checked, tried, switched)
        assert here.stored()["object"] == {"@type": "Memory"}
        # What was only stored is in use as soon as that is possible.
        gate.set()
        await here.admin.reload()
        await until(lambda: here.node.switched == [Memory()])


async def test_line_38_what_cannot_be_is_refused_without_any_validation(here: World) -> None:
    error = await here.client.update({"@type": "Nats", "addresses": 5}, validate="none")
    assert error["type"] == "invalidProperties"


async def test_line_38_a_dry_run_goes_as_far_as_the_trial(here: World) -> None:
    found = await here.client.set(update=MEMORY, dryRun=True)
    assert found["dryRun"] is True
    assert found["updated"] == {"singleton": None}
    assert found["oldState"] == found["newState"] == (await here.client.get())["state"]
    assert here.node.tried == [Memory()]
    assert not here.file.exists()
    assert not here.node.switched
    here.node.trial_error = TrialFailed("auth", Fault.AUTH, "no")
    assert (await here.client.update({"@type": "Memory"}, dryRun=True))["stage"] == "auth"
    # Also of what runs: does it still work?
    assert (await here.client.update({}, dryRun=True))["stage"] == "auth"
    assert [one["outcome"] for one in here.audited()] == ["dry_run", "rejected", "rejected"]


@pytest.mark.parametrize(
    "trouble",
    [
        TimeoutError("not changed within 15 s: not every peer lists us on it"),
        ConfigError("Redis: wrong password"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_line_39_a_switch_that_fails_is_rolled_back(here: World, trouble: Exception) -> None:
    await here.client.update({"@type": "Memory"})
    before = (await here.client.get())["state"]
    here.node.switch_error = trouble
    found = await here.client.set(update={"singleton": {"@type": "Nats"}})
    error = found["notUpdated"]["singleton"]
    assert (error["type"], error["stage"]) == ("connectionFailed", "switch")
    assert str(trouble) in error["description"]
    assert "rolled back" in error["description"]
    # The old object is stored again, as a change of its own.
    assert here.stored()["object"] == {"@type": "Memory"}
    assert here.stored()["generation"] == int(before.split("-")[1]) + 2
    assert found["newState"] == (await here.client.get())["state"] != before
    assert here.node.coordinator == Memory()
    assert here.audited()[-1]["outcome"] == "rolled_back"
    assert (await here.client.ask("GET", "/health/ready")).status == 200
    # Of the version before, a rollback now makes the refused one: it is tried, not believed.
    assert json.loads((here.folder / "coordinator.json.1").read_text())["object"]["@type"] == "Nats"


async def test_line_40_a_get_does_not_wait_for_a_set(here: World) -> None:
    gate = asyncio.Event()
    here.node.in_trial = gate.wait
    running = asyncio.create_task(here.client.set(update=MEMORY))
    await until(lambda: here.node.tried)
    assert (await here.client.object())["@type"] == "Disabled"
    gate.set()
    assert (await running)["updated"]


async def test_line_40_a_set_waits_for_another_one(here: World) -> None:
    gate = asyncio.Event()
    here.node.in_switch = gate.wait
    first = asyncio.create_task(here.client.set(update=MEMORY))
    await until(here.file.exists)
    second = asyncio.create_task(here.client.set(update={"singleton": {"@type": "Nats"}}))
    await asyncio.sleep(0.1)
    assert not second.done()
    gate.set()
    found, later = await first, await second
    assert later["oldState"] == found["newState"]
    assert [type(one) for one in here.node.switched] == [Memory, Nats]


async def test_line_40_a_set_does_not_wait_for_what_was_stored_untried(here: World) -> None:
    """Whoever stores what cannot work must be able to mend it, not only once the node has given up."""
    here.node.in_switch = asyncio.Event().wait
    assert "updated" in await here.client.update({"@type": "Nats"}, validate="none")
    await until(lambda: here.admin._cutover._gives_way, "it tries by itself")  # pyright: ignore[reportPrivateUsage]
    here.node.in_switch = None
    async with asyncio.timeout(4):
        assert "updated" in await here.client.update({"@type": "Memory"})
    assert [type(one).__name__ for one in here.node.switched] == ["Memory"]
    assert (await here.client.ask("GET", "/health/ready")).status == 200


async def test_line_40_but_not_for_ever(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.admin.cutover.PATIENCE", 0.2)
    gate = asyncio.Event()
    here.node.in_switch = gate.wait
    first = asyncio.create_task(here.client.set(update=MEMORY))
    await until(here.file.exists)
    error = await here.client.set(update={"singleton": {"@type": "Nats"}})
    assert error["type"] == "serverUnavailable"
    gate.set()
    assert (await first)["updated"]
    assert here.stored()["object"] == {"@type": "Memory"}


async def test_line_41_each_node_has_an_object_of_its_own(tmp_path: Path) -> None:
    """Two phases over several nodes are two calls to each: first dry, then in earnest."""
    for name in "ab":
        (tmp_path / name).mkdir()
    async with world(tmp_path / "a") as a, world(tmp_path / "b") as b:
        for here in (a, b):
            assert "updated" in await here.client.update({"@type": "Memory"}, dryRun=True)
        assert "updated" in await a.client.update({"@type": "Memory"})
        assert (await b.client.object())["@type"] == "Disabled"
        assert "updated" in await b.client.update({"@type": "Memory"})
        assert (await a.client.get())["state"] != (await b.client.get())["state"]


def edit(here: World, **changes: Any) -> None:
    content = here.stored()
    content["object"] = changes
    here.file.write_text(json.dumps(content))


async def test_line_42_an_edited_file_goes_the_same_way(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        edit(here, **{"@type": "Nats", "pingInterval": "5s"})
        await until(lambda: len(here.node.switched) == 2)  # seen by itself, within a second or so
        assert here.node.tried[-1] == here.node.coordinator
        await until(lambda: here.audited()[-1]["method"] == "file")
        entry = here.audited()[-1]
        assert entry["outcome"] == "applied"
        assert {"path": "pingInterval", "old": None, "new": 5000} in entry["changed"]
        assert here.stored()["generation"] == 2
        assert json.loads((here.folder / "coordinator.json.1").read_text())["object"] == {"@type": "Memory"}


@pytest.mark.parametrize("where", ["trial", "switch"])
async def test_line_42_an_edited_file_that_does_not_work_is_rolled_back(tmp_path: Path, where: str) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        if where == "trial":
            here.node.trial_error = TrialFailed("connect", Fault.UNREACHABLE, "refused")
        else:
            here.node.switch_error = TimeoutError("late")
        edit(here, **{"@type": "Nats"})
        await here.admin.reload()
        await until(lambda: here.audited()[-1]["outcome"] == "rolled_back")
        assert here.node.coordinator == Memory()
        assert here.stored()["object"] == {"@type": "Memory"}
        assert here.stored()["generation"] == 3
        # What was written by hand is not lost.
        assert json.loads((here.folder / "coordinator.json.1").read_text())["object"]["@type"] == "Nats"


async def test_line_42_the_operator_may_name_any_file_in_a_file(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.client.update({"@type": "Memory"})
        edit(here, **{"@type": "Nats", "authSecret": {"@type": "File", "filePath": "/opt/x"}})
        await here.admin.reload()
        await until(lambda: isinstance(here.node.coordinator, Nats))


# -- rollback --------------------------------------------------------------------------------------


async def test_a_rollback_goes_back_and_forth(here: World) -> None:
    call = here.client.call
    for patch in ({"@type": "Memory"}, {"@type": "Nats"}):
        await here.client.update(patch)
    found = await call("x:Coordinator/rollback", {})
    assert found["updated"]["singleton"] == {"id": "singleton", "@type": "Memory"}
    assert found["newState"] == (await here.client.get())["state"]
    assert here.stored()["generation"] == 3
    assert here.node.switched[-1] == Memory()
    again = await call("x:Coordinator/rollback", {"ifInState": found["newState"]})
    assert again["updated"]["singleton"]["@type"] == "Nats"
    assert here.audited()[-1]["method"] == "rollback"


async def test_a_rollback_needs_a_version_and_the_right_state(here: World) -> None:
    call = here.client.call
    assert (await call("x:Coordinator/rollback", {}))["type"] == "invalidArguments"
    await here.client.update({"@type": "Memory"})
    assert (await call("x:Coordinator/rollback", {"ifInState": "x"}))["type"] == "stateMismatch"
    assert (await call("x:Coordinator/rollback", {"generation": 5}))["type"] == "invalidArguments"
    here.node.trial_error = TrialFailed("connect", Fault.UNREACHABLE, "refused")
    found = await call("x:Coordinator/rollback", {"generation": 0})
    assert found["notUpdated"]["singleton"]["type"] == "connectionFailed"
    assert here.stored()["object"] == {"@type": "Memory"}


# -- start and stop --------------------------------------------------------------------------------


async def test_what_is_stored_is_what_runs(tmp_path: Path) -> None:
    """The process died between storing and switching: the next start makes up for it."""
    store = Store(tmp_path / "state", VARIANTS)
    store.open()
    store.save(Nats(), "me", Disabled())
    store.close()
    node = FakeNode(Memory())
    node.switch_error = TimeoutError("the broker is down")
    async with world(tmp_path, node=node) as here:
        assert (await here.client.object())["@type"] == "Nats"
        await until(lambda: "down" in here.admin._cutover.pending)  # pyright: ignore[reportPrivateUsage]  # seen
        reply = await here.client.ask("GET", "/health/ready")
        assert reply.status == 503
        assert "the broker is down" in reply.json()["checks"]["coordinator"]["output"]
        node.switch_error = None
        here.admin._cutover._again_at = 0.0  # pyright: ignore[reportPrivateUsage]  # not to wait 5 s
        await here.admin.reload()
        await until(lambda: node.switched == [Nats()])
        await until(lambda: not here.admin._cutover.pending)  # pyright: ignore[reportPrivateUsage]  # as above
        assert (await here.client.ask("GET", "/health/ready")).status == 200


@pytest.mark.parametrize("where", ["in_trial", "in_switch"])
async def test_stopping_ends_a_change_that_is_under_way(tmp_path: Path, where: str) -> None:
    forever = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with world(tmp_path) as here:
        setattr(here.node, where, forever.wait)
        running = asyncio.create_task(here.client.set(update=MEMORY))
        await until(lambda: here.node.tried if where == "in_trial" else here.file.exists())
        before = loop.time()
    assert loop.time() - before < 1.5
    assert (await running)["type"] == "serverUnavailable"
    assert here.audited()[-1]["outcome"] == "stopped"
    assert here.file.exists() == (where == "in_switch")


async def test_managed_by_a_file(tmp_path: Path) -> None:
    async with world(tmp_path, managed="file") as here:
        for method in ("set", "rollback"):
            error = await here.client.call(f"x:Coordinator/{method}", {})
            assert error["type"] == "forbidden"
            assert "file" in error["description"]
        assert (await here.client.object())["@type"] == "Disabled"
        session = (await here.client.ask("GET", "/jmap/session")).json()
        assert session["accounts"]["admin"]["isReadOnly"] is True


# -- with a bus ------------------------------------------------------------------------------------


async def test_a_bus_that_is_refused_at_the_trial_keeps_its_link(tmp_path: Path) -> None:
    async with (
        Bus.open("memory://", node="a", cluster=cluster_name()) as bus,
        world(tmp_path, node=bus) as here,
    ):
        await bus.ready()
        (link,) = bus._node.links  # pyright: ignore[reportPrivateUsage]  # that it stays the same one
        error = await here.client.update({"@type": "Nats", "addresses": ["127.0.0.1:1"]})
        assert (error["type"], error["stage"]) == ("connectionFailed", "connect")
        assert list(bus._node.links) == [link]  # pyright: ignore[reportPrivateUsage]  # as above
        assert (await here.client.object())["@type"] == "Memory"


async def test_a_bus_goes_to_disabled_and_back_by_a_rollback(tmp_path: Path) -> None:
    async with Bus.open("memory://", cluster=cluster_name()) as bus, world(tmp_path, node=bus) as here:
        await bus.ready()
        assert "updated" in await here.client.update({"@type": "Disabled"})
        assert bus.status().state == "DISABLED"
        assert (await here.client.call("x:Coordinator/rollback", {}))["updated"]
        await until(lambda: bus.status().state == "READY")


async def test_default_is_the_store_of_the_application(tmp_path: Path) -> None:
    bus = Bus.open("memory://", cluster=cluster_name())
    async with bus, world(tmp_path, node=bus) as here:
        error = await here.client.update({"@type": "Default"}, validate="schema")
        assert error["properties"] == ["@type"]
        assert "store" in error["description"]


async def test_default_runs_on_what_it_stands_for() -> None:
    from bus.admin import LiveNode
    from bus.config import Default

    bus = Bus.open("redis://127.0.0.1:1")
    assert LiveNode(bus, "redis://127.0.0.1:1").runs(Default())
    assert not LiveNode(bus, "redis://127.0.0.1:2").runs(Default())
    assert not LiveNode(bus).runs(Default())
    assert LiveNode(bus).runs(Redis(url="redis://127.0.0.1:1"))
    await bus.aclose()


async def test_managed_by_a_file_what_was_stored_is_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", VARIANTS)
    store.open()
    store.save(Nats(), "me", Disabled())
    store.close()
    async with world(tmp_path, node=FakeNode(Memory()), managed="file") as here:
        assert (await here.client.object())["@type"] == "Memory"
        here.file.write_text("{")
        await here.admin.reload()
        await asyncio.sleep(0.1)
        assert not here.node.switched
        assert (await here.client.ask("GET", "/health/ready")).status == 200


async def test_default_is_a_redis_that_works(tmp_path: Path, redis_server: Broker) -> None:
    async with (
        Bus.open("memory://", cluster=cluster_name()) as bus,
        world(tmp_path, node=bus, store=redis_server.url) as here,
    ):
        await bus.ready()
        assert "updated" in await here.client.update({"@type": "Default"})
        assert [link.type for link in bus.status().links] == ["Redis"]
        assert await here.client.object() == {"id": "singleton", "@type": "Default"}
        assert here.stored()["object"] == {"@type": "Default"}
        assert (await here.client.ask("GET", "/health/ready")).status == 200
