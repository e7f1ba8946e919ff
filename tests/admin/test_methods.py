"""Lines 7-12: how the calls of one request are run, and how one takes its arguments from another."""

from __future__ import annotations

from typing import Any

import pytest

from bus.admin import Tokens
from bus.admin.coordinator import CoordinatorObject
from tests.admin.kit import ALIAS, CORE, OURS, Client, World

OBJECT = "x:Coordinator"


async def test_line_07_responses_come_in_order_with_their_ids(client: Client) -> None:
    calls: list[Any] = [["Core/echo", {"n": n}, f"id {n % 2}"] for n in range(5)]
    reply = (await client.post(calls)).json()
    assert reply["methodResponses"] == calls
    assert set(reply) == {"methodResponses", "sessionState"}


async def test_line_07_no_call_no_response(client: Client) -> None:
    assert await client.calls() == []


async def test_line_07_the_session_state_is_that_of_the_session(client: Client) -> None:
    session = (await client.ask("GET", "/jmap/session")).json()
    assert (await client.post([])).json()["sessionState"] == session["state"]


@pytest.mark.parametrize("ids", [{}, {"a": "singleton"}])
async def test_line_07_created_ids_come_back_only_if_they_were_sent(client: Client, ids: Any) -> None:
    reply = await client.post({"using": [CORE], "methodCalls": [], "createdIds": ids})
    assert reply.json()["createdIds"] == ids


async def test_line_08_a_call_that_fails_does_not_stop_the_next(client: Client) -> None:
    calls: list[Any] = [["Foo/get", {}, "a"], [f"{OBJECT}/get", {"x": 1}, "b"], ["Core/echo", {}, "c"]]
    reply = await client.post(calls)
    assert reply.status == 200
    (name, error, cid), (name2, error2, cid2), good = reply.json()["methodResponses"]
    assert (name, error["type"], cid) == ("error", "unknownMethod", "a")
    assert (name2, error2["type"], cid2) == ("error", "invalidArguments", "b")
    assert error["description"]
    assert good == ["Core/echo", {}, "c"]


WRONG_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("get", {"ids": "singleton"}),
    ("get", {"ids": {"singleton": True}}),
    ("get", {"ids": [1]}),
    ("get", {"ids": [""]}),
    ("get", {"ids": ["a b"]}),
    ("get", {"ids": ["x" * 256]}),
    ("get", {"properties": "id"}),
    ("get", {"properties": [None]}),
    ("get", {"accountId": 1}),
    ("get", {"nonsense": None}),
    ("set", {"update": []}),
    ("set", {"update": {"singleton": []}}),
    ("set", {"update": {"singleton": None}}),
    ("set", {"update": {"": {}}}),
    ("set", {"create": {"a": 1}}),
    ("set", {"create": []}),
    ("set", {"destroy": {"singleton": True}}),
    ("set", {"destroy": [""]}),
    ("set", {"ifInState": 1}),
    ("set", {"dryRun": 1}),
    ("set", {"dryRun": "true"}),
    ("set", {"validate": "perhaps"}),
    ("set", {"validate": True}),
    ("set", {"onSuccessDestroyOriginal": True}),
    ("rollback", {"generation": "1"}),
    ("rollback", {"generation": -1}),
    ("rollback", {"generation": True}),
    ("rollback", {"update": {}}),
]


@pytest.mark.parametrize(("method", "arguments"), WRONG_ARGUMENTS, ids=str)
async def test_line_09_invalid_arguments(here: World, method: str, arguments: dict[str, Any]) -> None:
    error = await here.client.call(f"{OBJECT}/{method}", arguments)
    assert error["type"] == "invalidArguments"
    assert next(iter(arguments)) in error["description"]
    assert not here.file.exists()


async def test_line_09_all_that_is_wrong_is_told(client: Client) -> None:
    error = await client.set(ifInState=1, destroy=1, nonsense=1)
    for name in ("ifInState", "destroy", "nonsense"):
        assert name in error["description"]


async def test_line_09_arguments_of_ours_need_our_capability(client: Client) -> None:
    error = await client.call(f"{OBJECT}/set", {"dryRun": True}, [ALIAS])
    assert error["type"] == "invalidArguments"
    assert OURS in error["description"]


@pytest.mark.parametrize("method", ["get", "set", "rollback"])
async def test_line_09_forbidden_without_the_permission(here: World, method: str) -> None:
    granted = "sysCoordinatorUpdate" if method == "get" else "sysCoordinatorGet"
    here.client.token = Tokens(here.folder).create("one", [granted])
    await here.admin.reload()
    error = await here.client.call(f"{OBJECT}/{method}", {})
    assert error["type"] == "forbidden"
    assert "sysCoordinator" in error["description"]
    assert not here.file.exists()


async def test_line_09_server_fail_has_the_number_of_the_request(
    here: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "".join(["47", "11"])

    def fails(self: object) -> None:
        raise RuntimeError(secret)

    monkeypatch.setattr("bus.admin.cutover.Cutover.exclusive", fails)
    (found, good) = await here.client.calls([f"{OBJECT}/set", {}, "a"], ["Core/echo", {}, "b"])
    assert found[1]["type"] == "serverFail"
    number = found[1]["description"].split()[-1]
    assert number in caplog.text
    assert secret not in caplog.text
    assert good == ["Core/echo", {}, "b"]


def test_line_09_every_method_of_the_object_needs_a_permission() -> None:
    methods = CoordinatorObject.methods(CoordinatorObject.__new__(CoordinatorObject))
    assert all(method.permission for method in methods.values())


async def test_line_10_echo(client: Client) -> None:
    for value in ({}, {"hello": True, "high": 5}, {"accountId": 7, "x": [None, {"": ""}]}):
        assert await client.call("Core/echo", value) == value


@pytest.mark.parametrize("arguments", [{}, {"accountId": None}, {"accountId": "admin"}])
async def test_line_11_the_account_may_be_left_out(client: Client, arguments: dict[str, Any]) -> None:
    assert (await client.get(**arguments))["accountId"] == "admin"
    assert (await client.set(**arguments))["accountId"] == "admin"


@pytest.mark.parametrize("method", ["get", "set", "rollback"])
async def test_line_11_another_account_is_not_found(client: Client, method: str) -> None:
    assert (await client.call(f"{OBJECT}/{method}", {"accountId": "other"}))["type"] == "accountNotFound"


def reference(path: object, of: object = "c1", name: object = f"{OBJECT}/get") -> dict[str, Any]:
    return {"resultOf": of, "name": name, "path": path}


async def referenced(client: Client, ref: Any, *before: Any, **more: Any) -> Any:
    """What a second call makes of a reference to the first."""
    first = before or ([f"{OBJECT}/get", {}, "c1"],)
    return (await client.calls(*first, [f"{OBJECT}/get", {"#ids": ref, **more}, "c2"]))[-1][1]


async def test_line_12_ids_from_another_get(client: Client) -> None:
    found = await referenced(client, reference("/list/*/id"))
    assert [one["id"] for one in found["list"]] == ["singleton"]
    assert "type" not in await referenced(client, reference("/notFound"))


BAD_REFERENCES: list[Any] = [
    reference("/list/*/id", of="c9"),
    reference("/list/*/id", of="c2"),
    reference("/list/*/id", name=f"{OBJECT}/set"),
    reference("list/*/id"),
    reference("/list/1/id"),
    reference("/list/00/id"),
    reference("/list/-/id"),
    reference("/list/x"),
    reference("/nothing"),
    reference("/list/*/nothing"),
    reference("/state/x"),
    reference("/li~2st"),
    reference(None),
    reference("/list", of=1),
    {"resultOf": "c1", "path": "/list"},
    "c1",
    None,
]


@pytest.mark.parametrize("ref", BAD_REFERENCES, ids=str)
async def test_line_12_a_bad_reference(client: Client, ref: Any) -> None:
    error = await referenced(client, ref)
    assert error["type"] == "invalidResultReference"


async def test_line_12_an_error_is_no_result(client: Client) -> None:
    broken = [f"{OBJECT}/get", {"x": 1}, "c1"]
    assert (await referenced(client, reference("/list"), broken))["type"] == "invalidResultReference"


async def test_line_12_a_later_call_is_no_earlier_one(client: Client) -> None:
    calls: list[Any] = [
        [f"{OBJECT}/get", {"#ids": reference("/list/*/id")}, "c0"],
        [f"{OBJECT}/get", {}, "c1"],
    ]
    assert (await client.calls(*calls))[0][1]["type"] == "invalidResultReference"


async def test_line_12_both_forms_at_once(client: Client) -> None:
    error = await referenced(client, reference("/list/*/id"), ids=["singleton"])
    assert error["type"] == "invalidArguments"


async def test_line_12_what_is_referenced_is_checked_like_anything_else(client: Client) -> None:
    assert (await referenced(client, reference("/state")))["type"] == "invalidArguments"
    assert (await referenced(client, reference("")))["type"] == "invalidArguments"


async def test_line_12_arrays_of_arrays_become_one(client: Client) -> None:
    source: dict[str, Any] = {"a": [{"b": [1, [2]]}, {"b": []}, {"b": [3]}], "c~/d": {"*": "star"}}
    cases: list[tuple[str, Any]] = [
        ("/a/*/b", [1, [2], 3]),
        ("/a/*/b/*", [1, 2, 3]),
        ("/a/0/b/1", [2]),
        ("/c~0~1d/*", "star"),
        ("", source),
    ]
    for path, wanted in cases:
        responses = await client.calls(
            ["Core/echo", source, "c1"], ["Core/echo", {"#x": reference(path, name="Core/echo")}, "c2"]
        )
        assert responses[1][1] == {"x": wanted}, path


async def test_line_12_the_first_of_two_with_one_id(client: Client) -> None:
    first, second = ["Core/echo", {"x": 1}, "c"], ["Core/echo", {"x": 2}, "c"]
    ref = reference("/x", of="c", name="Core/echo")
    responses = await client.calls(first, second, ["Core/echo", {"#y": ref}, "d"])
    assert responses[2][1] == {"y": 1}


async def test_line_12_references_cannot_fill_the_memory(client: Client) -> None:
    """Sixteen calls that each take the one before it sixteen times: 16^15 copies."""
    calls: list[Any] = [["Core/echo", {"x": "y" * 1000}, "0"]]
    for number in range(1, 16):
        ref = reference("", of=str(number - 1), name="Core/echo")
        calls.append(["Core/echo", {f"#{place}": ref for place in range(16)}, str(number)])
    reply = await client.post(calls)
    assert len(reply.body) < 5_000_000
    kinds = [result.get("type") for _, result, _ in reply.json()["methodResponses"]]
    assert kinds[0] is None
    assert "requestTooLarge" in kinds
    assert set(kinds) <= {None, "requestTooLarge", "invalidResultReference"}
