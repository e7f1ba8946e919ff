"""`bus schema export` and `check`: two releases, before they run side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli


def release(*types: tuple[object, list[Any]], form: int = 1) -> str:
    return json.dumps({"format": form, "types": [{"tag": tag, "fields": fields} for tag, fields in types]})


BASE: list[Any] = [["account", "int", True], ["keys", ["list", "str"], False]]


def checked(cli: Cli, folder: Path, old: list[Any], new: list[Any]) -> tuple[int, str, str]:
    """Exit code, status and detail for one type in two releases."""
    (folder / "old.json").write_text(release(("t", old)))
    (folder / "new.json").write_text(release(("t", new)))
    ran = cli("schema", "check", str(folder / "old.json"), str(folder / "new.json"), "--json")
    ((one),) = ran.json()["types"]
    assert ran.json()["compatible"] is (one["status"] != "fail") is (ran.code == 0)
    return ran.code, one["status"], one["detail"]


def test_what_is_exported_is_compatible_with_itself(tmp_path: Path, cli: Cli) -> None:
    ran = cli("schema", "export", "--import", "tests.cli.applications")
    assert ran.code == 0
    told = ran.json()
    assert [(one["tag"], one["class"]) for one in told["types"]] == [
        (77, "tests.cli.applications.Numbered"), ("cli.moved", "tests.cli.applications.Moved"),
    ]  # fmt: skip
    assert told["types"][1]["fields"] == [["account", "int", True], ["keys", ["list", "str"], False]]
    file = tmp_path / "types.json"
    file.write_text(ran.out)
    again = cli("schema", "check", str(file), str(file))
    assert (again.code, again.err) == (0, "")
    assert again.out == "ok      77: has not changed\nok      cli.moved: has not changed\ncompatible\n"


@pytest.mark.parametrize(
    ("new", "status", "detail"),
    [
        (BASE, "ok", "has not changed"),
        ([*BASE, ["why", "str", False]], "ok", "appended with a default: why"),
        ([["account", "int", True], ["keys", ["list", "int"], False]], "fail", "keys is str in the old"),
        ([["account", ["union", "int", "null"], True], BASE[1]], "warn", "account was int, is int | null"),
        ([*BASE, ["why", "str", True]], "fail", "why, which is only in the new one, has no default"),
        (BASE[:1], "fail", "the field keys is gone: fields may only be appended"),
        ([["account", "str", True], BASE[1]], "fail", "account is int in the old release and str"),
        ([["why", "str", False], *BASE], "fail", "field 1 is account in the old release and why"),
        ([["id", "int", True], BASE[1]], "fail", "field 1 is account in the old release and id"),
        ([BASE[0], ["keys", ["list", "str"], True]], "fail", "the field keys has lost its default"),
    ],
)  # fmt: skip
def test_fields_are_appended_with_a_default_and_nothing_else(
    new: list[Any], status: str, detail: str, tmp_path: Path, cli: Cli
) -> None:
    code, found, text = checked(cli, tmp_path, BASE, new)
    assert (code, found) == (4 if status == "fail" else 0, status)
    assert detail in text


def test_types_come_and_go(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "old.json").write_text(release(("old", BASE), (16, BASE)))
    (tmp_path / "new.json").write_text(release(("new", BASE), (16, [["account", "str", True]])))
    ran = cli("schema", "check", str(tmp_path / "old.json"), str(tmp_path / "new.json"))
    assert ran.code == 4
    assert ran.out.splitlines() == [
        "FAILED  16: account is int in the old release and str in the new one",
        "ok      new: is new: nodes of the old release ignore it",
        "WARNING old: is gone: nodes of the new release ignore what old ones still publish",
        "1 of 3 types do not fit",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"format": 2, "types": []}', "its format is 2, this release reads 1"),
        ('{"format": 1}', "missing required field `types`"),
        (release(("t", [["a", "int"]])), "length 3"),
        (release((1.5, [])), "tag"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_to_do(
    text: str | None, says: str, tmp_path: Path, cli: Cli
) -> None:
    good, file = tmp_path / "good.json", tmp_path / "types.json"
    good.write_text(release())
    if text is not None:
        file.write_text(text)
    ran = cli("schema", "check", str(good), str(file))
    assert ran.code == 4
    assert says in ran.err
    assert "bus schema export --import MODULE" in ran.err


def test_a_module_without_events_is_a_mistake(cli: Cli) -> None:
    ran = cli("schema", "export", "--import", "json")
    assert ran.code == 2
    assert "there is no event type in json" in ran.err
