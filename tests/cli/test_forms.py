"""`bus validate` and `bus config migrate` take every form that a configuration may have."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bus.cli.describe import known_schema
from bus.config import VARIANTS, Nats, Value, decode, encode
from tests.admin.test_get import one_of
from tests.cli.conftest import Cli
from tests.config.test_canary import CANARY

NATS = '{"@type": "Nats", "addresses": ["h:1"], "pingInterval": "7s"}'
FORMS = {
    "url": ("nats://h:1", ""),
    "json": (NATS, ""),
    "json with a line in front": (f"\n{NATS}", ""),
    "stdin json": ("-", NATS),
    "stdin settings": ("-", f'{{"cluster": "c", "coordinator": {NATS}}}'),
    "stdin url": ("-", "nats://h:1\n"),
    "stdin toml": ("-", "cluster = 'c'\n[coordinator]\n'@type' = 'Nats'\naddresses = ['h:1']\n"),
    "stdin toml, coordinator alone": ("-", "'@type' = 'Nats'\naddresses = ['h:1']\n"),
    "stdin with a byte order mark": ("-", f"\ufeff{NATS}"),
    "a map in place of a list": ('{"@type": "Nats", "addresses": {"h:1": true}, "pingInterval": 7000}', ""),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_validate_takes_every_form(form: tuple[str, str], cli: Cli) -> None:
    what, stdin = form
    ran = cli("validate", what, "--json", stdin=stdin)
    assert (ran.code, ran.err) == (0, "")
    assert ran.json()["type"] == "Nats"
    assert ran.json()["file"] == ("stdin" if what == "-" else what if "://" in what else "JSON")


@pytest.mark.parametrize(
    ("what", "stdin", "says"),
    [
        ("-", '{"@type": "Nats",\n"pingInterval": "5sec"}', "stdin:2: coordinator.pingInterval: not valid"),
        ("-", "x = [", "stdin: not valid TOML"),
        ("-", '{"a":\n', "stdin:2: not valid JSON"),
        ("-", '{"node": "a", "node": "b"}', "stdin: a name is given twice"),
        ("-", "", "coordinator"),
        ("-", "x" * 1_100_000, "stdin: more than 1048576 bytes"),
        ("pigeon://x", "", "unknown scheme pigeon://"),
        ('{"@type": "Natz"}', "", "error: coordinator.@type: unknown type"),
        ("[1]", "", "No such file"),
        ("bus.ini", "", "No such file"),
    ],
)
def test_validate_says_where_it_is_wrong(what: str, stdin: str, says: str, cli: Cli) -> None:
    ran = cli("validate", what, stdin=stdin)
    if stdin == "" and what == "-":
        # Nothing at all is a node without a messaging system.
        assert (ran.code, ran.out) == (0, "stdin: valid (Disabled)\n")
        return
    assert (ran.code, ran.out) == (4, "")
    assert says in ran.err


def test_neither_shows_a_secret(cli: Cli, home: Path) -> None:
    url = f"redis://u:{CANARY}@h"
    whole = json.dumps(encode(Nats(auth_secret=Value(CANARY)), reveal=True))
    for words, stdin in (
        (["validate", url], ""),
        (["validate", "-"], url),
        (["validate", f"redis://u:{CANARY}@h:port"], ""),
        (["validate", "-"], whole.replace('"Value"', '"Valeu"')),
        (["validate", f'{{"@type": "Nats", "authSecret": "{CANARY}"}}'], ""),
        (["config", "migrate", url], ""),
        (["config", "migrate", "-"], whole),
        (["config", "migrate", "-", "--json"], whole),
        (["config", "migrate", "-"], whole + "x"),
    ):
        ran = cli(*words, stdin=stdin)
        assert CANARY not in ran.out + ran.err, words


# -- migrate ---------------------------------------------------------------------------------------


def migrated(cli: Cli, home: Path, what: str, stdin: str = "") -> dict[str, Any]:
    ran = cli("config", "migrate", what, "--output", "made.toml", stdin=stdin)
    assert (ran.code, ran.out) == (0, ""), ran.err
    made = home / "made.toml"
    assert made.stat().st_mode & 0o777 == 0o600
    found = tomllib.loads(made.read_text())
    assert cli("validate", "made.toml").code == 0
    made.unlink()
    return found


@pytest.mark.parametrize(
    "cls", [cls for cls in VARIANTS if cls.__name__ != "Default"], ids=lambda cls: cls.__name__
)
def test_migrate_keeps_every_field_of_every_variant(cls: type[Any], cli: Cli, home: Path) -> None:
    given = one_of(cls)
    found = migrated(cli, home, "-", json.dumps(encode(given, reveal=True)))
    assert decode(found["coordinator"]) == given
    # Only what is no default stands there.
    schema: Any = known_schema()
    fields = schema["$defs"][cls.__name__]["properties"]
    named = [name for name in found["coordinator"] if name != "@type"]
    assert [name for name in named if found["coordinator"][name] == fields[name].get("default")] == []


def test_migrate_takes_what_others_wrap_around_it(cli: Cli, home: Path) -> None:
    alone = {"@type": "Nats", "addresses": ["h:1"], "pingInterval": "7s"}
    shown = {**alone, "id": "singleton", "pingInterval": 7000, "addresses": {"h:1": True}}
    got = {"accountId": "admin", "state": "x", "list": [shown], "notFound": []}
    for form in (
        alone,
        shown,
        got,
        {
            "methodResponses": [["error", {"type": "x"}, "0"], ["x:Coordinator/get", got, "1"]],
            "sessionState": "s",
        },
        {
            "version": 1,
            "epoch": "0a0b0c0d",
            "generation": 3,
            "object": alone,
            "updatedAt": "",
            "updatedBy": "",
        },
    ):
        assert migrated(cli, home, "-", json.dumps(form)) == {"coordinator": alone}, form
    (home / "old.yaml").write_text('node: ü"\\\nhosts: [a, b]\ncoordinator: nats://h:1\n')
    assert migrated(cli, home, "old.yaml") == {
        "node": 'ü"\\', "hosts": ["a", "b"], "coordinator": {"@type": "Nats", "addresses": ["h:1"]},
    }  # fmt: skip


def test_migrate_shows_it_without_secrets_and_never_writes_over_a_file(cli: Cli, home: Path) -> None:
    ran = cli("config", "migrate", "redis://:pw1234@h")
    assert ran.code == 0
    assert 'url = "redis://:****@h"' in ran.out
    assert "--output" in ran.err
    (home / "made.toml").write_text("mine")
    assert cli("config", "migrate", "redis://h", "--output", "made.toml").code == 1
    assert (home / "made.toml").read_text() == "mine"
    # What get shows has no secrets to keep.
    ran = cli("config", "migrate", '{"@type": "Nats", "authSecret": {"@type": "Value", "secret": "****"}}')
    assert ran.code == 4
    assert "the mask that hides a secret" in ran.err


def test_migrate_does_not_look_at_what_is_stored(cli: Cli, home: Path) -> None:
    state = home / ".local/state/bus"
    state.mkdir(parents=True, mode=0o700)
    (state / "coordinator.json").write_text("{")
    ran = cli("config", "migrate", "memory://")
    assert (ran.code, ran.err) == (0, "")
    assert tomllib.loads(ran.out) == {"coordinator": {"@type": "Memory"}}
