"""One precedence: default < file < environment < flag < stored; and every mistake at its file and line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

from bus.cli import typed
from bus.cli.describe import known_schema
from bus.cli.settings import SETTINGS
from bus.config import VARIANTS, type_of
from tests.admin.test_get import one_of
from tests.cli.conftest import Cli
from tests.cli.mistakes import MISTAKES

ROOT = Path(__file__).parent.parent.parent


def written(home: Path, text: str, name: str = "bus.toml") -> str:
    (home / name).write_text(text)
    return name


def shown(cli: Cli, *words: str) -> Any:
    ran = cli("config", "show", "--json", *words)
    assert ran.code == 0, ran.err
    return ran.json()


def test_without_anything_all_is_default_and_the_bus_is_disabled(cli: Cli) -> None:
    found = shown(cli)
    assert {one["source"] for one in found.values()} == {"default"}
    assert found["coordinator.@type"]["value"] == "Disabled"
    assert found["listen"]["value"] == "127.0.0.1:8080"


def test_each_layer_goes_over_the_one_before_and_is_named(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(
        home,
        'node = "f"\ncluster = "f"\nlisten = "127.0.0.1:1"\n'
        '[coordinator]\n"@type" = "Nats"\naddresses = ["f:1"]\npingInterval = "7s"\nuseTls = true\n',
    )
    monkeypatch.setenv("BUS_CLUSTER", "e")
    monkeypatch.setenv("BUS_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("BUS_COORDINATOR__PING_INTERVAL", "8s")
    monkeypatch.setenv("BUS_COORDINATOR__AUTH_SECRET_FILE", "/run/pw")
    found = shown(cli, "--listen", "127.0.0.1:3")
    assert found["node"] == {"value": "f", "source": "bus.toml:1"}
    assert found["cluster"] == {"value": "e", "source": "BUS_CLUSTER"}
    assert found["listen"] == {"value": "127.0.0.1:3", "source": "--listen"}
    assert found["coordinator.addresses"] == {"value": ["f:1"], "source": "bus.toml:6"}
    assert found["coordinator.pingInterval"] == {"value": 8000, "source": "BUS_COORDINATOR__PING_INTERVAL"}
    assert found["coordinator.useTls"]["source"] == "bus.toml:8"
    assert found["coordinator.noEcho"] == {"value": True, "source": "default"}
    assert found["coordinator.authSecret"]["value"] == {"@type": "File", "filePath": "/run/pw"}
    found = shown(cli, "--url", "nats://u:4222")
    assert found["coordinator.addresses"] == {"value": ["u:4222"], "source": "--url"}
    assert found["coordinator.pingInterval"]["source"] == "default"


def test_another_type_in_the_environment_starts_anew(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(home, '[coordinator]\n"@type" = "Nats"\naddresses = ["f:1"]\n')
    monkeypatch.setenv("BUS_COORDINATOR__TYPE", "redis")
    monkeypatch.setenv("BUS_COORDINATOR__URL", "redis://h")
    found = shown(cli)
    assert found["coordinator.@type"] == {"value": "Redis", "source": "BUS_COORDINATOR__TYPE"}
    assert found["coordinator.url"]["value"] == "redis://h"
    assert "coordinator.addresses" not in found


@pytest.mark.parametrize("text", ["nats://h:1", '{"@type": "Nats", "addresses": ["h:1"]}'])
def test_the_whole_coordinator_in_one_variable(text: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_COORDINATOR", text)
    assert shown(cli)["coordinator.addresses"] == {"value": ["h:1"], "source": "BUS_COORDINATOR"}


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
def test_every_field_can_be_set_by_its_variable(
    cls: type[Any], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bus.config import encode

    whole = encode(one_of(cls), reveal=True)
    properties = cast("dict[str, dict[str, object]]", typed.variant(known_schema(), cls.__name__))
    monkeypatch.setenv("BUS_COORDINATOR__TYPE", cls.__name__)
    for name, value in whole.items():
        if name == "@type" or value is None:
            continue
        variable = str(properties[name]["x-env"])
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(variable, text)
    found = shown(cli)
    masked = encode(one_of(cls))
    assert type_of(one_of(cls)) == found["coordinator.@type"]["value"]
    assert {name: found[f"coordinator.{name}"]["value"] for name in masked} == masked


def test_what_is_stored_goes_over_all_unless_a_file_manages_the_node(cli: Cli, home: Path) -> None:
    state = home / "state"
    state.mkdir(mode=0o700)
    stored = {
        "version": 1,
        "epoch": "0a0b0c0d",
        "generation": 2,
        "object": {"@type": "Redis", "url": "redis://s"},
    }
    (state / "coordinator.json").write_text(json.dumps(stored))
    (state / "coordinator.json").chmod(0o600)
    words = ("--state-dir", str(state), "--url", "nats://h:1")
    found = shown(cli, *words)
    assert found["coordinator.url"] == {"value": "redis://s", "source": "stored"}
    assert shown(cli, *words, "--managed", "file")["coordinator.@type"]["value"] == "Nats"
    ran = cli("config", "diff", *words, "--json")
    assert ran.json()["@type"] == {"configured": "Nats", "stored": "Redis"}
    assert "url" in cli("config", "diff", *words).out
    # Who looks at a system by its URL is shown that one.
    looked = cli("doctor", "--state-dir", str(state), "--url", "nats://127.0.0.1:1", "--json").json()
    assert looked["checks"][-1]["place"] == "127.0.0.1:1"
    (state / "coordinator.json").write_text("{")
    ran = cli("config", "show", *words)
    assert "coordinator.json" in ran.err
    assert "Disabled" in ran.out
    assert cli("config", "diff", *words).code == 1


@pytest.mark.parametrize(("text", "says"), MISTAKES, ids=[says for _, says in MISTAKES])
def test_a_mistake_is_told_at_its_line(text: str, says: str, cli: Cli, home: Path) -> None:
    ran = cli("validate", written(home, text))
    assert (ran.code, ran.out) == (4, "")
    assert says in ran.err, ran.err
    assert "hunter2" not in ran.err


def test_all_mistakes_are_told_at_once_with_the_variable_that_sets_the_field(cli: Cli, home: Path) -> None:
    written(home, 'clustr = "x"\n[coordinator]\n"@type" = "Nats"\npingInterval = -1\ncapacityClient = 0\n')
    ran = cli("validate", "bus.toml", "--json")
    assert ran.code == 4
    assert ran.error()["properties"] == ["clustr", "pingInterval", "capacityClient"]
    assert "environment name BUS_COORDINATOR__PING_INTERVAL" in ran.error()["message"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("BUS_CLUSTR", "x", "BUS_CLUSTR: there is no such variable; did you mean BUS_CLUSTER?"),
        ("BUS_COORDINATOR__ADRESSES", "x", "did you mean BUS_COORDINATOR__ADDRESSES?"),
        ("BUS_MANAGED", "me", "BUS_MANAGED: managed: not valid"),
        ("BUS_COORDINATOR", "{", "BUS_COORDINATOR: coordinator: not valid JSON"),
        (
            "BUS_COORDINATOR__ADDRESSES",
            "[",
            "BUS_COORDINATOR__ADDRESSES: the value starts with [ and is no JSON",
        ),
    ],
)
def test_a_mistake_in_the_environment_is_told(
    name: str, text: str, says: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    ran = cli("config", "show")
    assert ran.code == 4
    assert says in ran.err


def test_a_variant_without_its_required_field_is_told_what_to_write(cli: Cli, home: Path) -> None:
    file = written(home, '[coordinator]\n"@type" = "Zenoh"\n')
    ran = cli("validate", file)
    assert ran.code == 4
    assert "config: is required" in ran.err
    found = re.search(r'for example "([^"]+)"', ran.err)
    assert found is not None, ran.err
    # What it gives as an example can be written as it is.
    written(home, f'[coordinator]\n"@type" = "Zenoh"\nconfig = "{found[1]}"\n')
    assert cli("validate", file).code == 0


def test_other_names_with_our_prefix_are_nobodys_business(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_NATS_PASSWORD", "hunter2")
    ran = cli("config", "show")
    assert ran.code == 0
    assert "hunter2" not in ran.out + ran.err


def test_a_secret_is_never_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_COORDINATOR__TYPE", "Nats")
    monkeypatch.setenv("BUS_COORDINATOR__AUTH_SECRET__SECRET", "hunter2")
    ran = cli("config", "show")
    assert '"secret": "****"' in ran.out
    ran = cli("config", "show", "--url", "redis://:hunter2@h", "--json")
    assert ran.json()["coordinator.url"]["value"] == "redis://:****@h"
    ran = cli("doctor", "--url", "redis://:hunter2@127.0.0.1:1", "--json")
    assert ran.code == 7
    assert "hunter2" not in ran.out + ran.err


@pytest.mark.parametrize("name", ["bus.json", "bus.yaml", "bus.yml", "other.toml"])
def test_every_language_of_a_file(name: str, cli: Cli, home: Path) -> None:
    content = {"cluster": "c", "coordinator": {"@type": "Nats", "addresses": ["h:1"]}}
    text = (
        "cluster = 'c'\ncoordinator = 'nats://h:1'\n"
        if name.endswith("toml")
        else json.dumps(content, indent=1)
    )
    found = shown(cli, "--config", written(home, text, name))
    assert found["cluster"] == {"value": "c", "source": f"{name}:{1 if name.endswith('toml') else 2}"}
    assert found["coordinator.addresses"]["value"] == ["h:1"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("bus.ini", "x", 'the name ends with ".ini"'),
        ("bus.json", "[]", "it holds no object"),
        ("bus.json", '{"node": "a", "node": "b"}', "a name is given twice"),
        ("bus.json", "{", "bus.json:1: not valid JSON"),
        ("bus.yaml", "a: [", "not valid YAML"),
    ],
)
def test_a_file_that_is_none(name: str, text: str, says: str, cli: Cli, home: Path) -> None:
    ran = cli("validate", written(home, text, name))
    assert ran.code == 4
    assert says in ran.err


def test_a_file_that_is_not_there(cli: Cli) -> None:
    ran = cli("validate", "none.toml")
    assert (ran.code, ran.err) == (4, "error: none.toml: No such file or directory\n")


def test_validate_says_what_it_is(cli: Cli, home: Path) -> None:
    name = written(home, 'coordinator = "memory://"\n')
    ran = cli("validate", name)
    assert (ran.code, ran.out, ran.err) == (0, "bus.toml: valid (Memory)\n", "")
    ran = cli("validate", name, "--connect", "--json")
    assert ran.code == 0
    assert ran.json()["connected"] is True
    name = written(home, 'coordinator = "nats://127.0.0.1:1"\n')
    assert cli("validate", name).code == 0
    ran = cli("validate", name, "--connect", "--json")
    assert (ran.code, ran.error()["stage"]) == (7, "connect")


@pytest.mark.parametrize("cls", VARIANTS, ids=lambda cls: cls.__name__)
def test_a_file_to_begin_with_is_valid_for_every_variant(cls: type[Any], cli: Cli, home: Path) -> None:
    ran = cli("config", "init", "--type", cls.__name__.lower(), "--output", "made.toml")
    assert (ran.code, ran.out) == (0, "")
    text = (home / "made.toml").read_text()
    assert (home / "made.toml").stat().st_mode & 0o777 == 0o600
    if cls.__name__ != "Default":
        assert cli("validate", "made.toml").code == 0
    # ... and so it is when every default is written out.
    said = [line.removeprefix("#") for line in text.splitlines() if not line.startswith("# ")]
    whole = "\n".join(line for line in said if not line.endswith('= ""'))
    name = written(home, whole, "whole.toml")
    assert shown(cli, "--config", name)["coordinator.@type"]["value"] == cls.__name__
    assert cli("config", "init", "--output", "made.toml").code == 1
    assert all(setting.variable in text for setting in SETTINGS)


def test_init_shows_it_and_knows_the_variants(cli: Cli) -> None:
    assert cli("config", "init").out.startswith("# Settings of one node.")
    ran = cli("config", "init", "--type", "Pigeon")
    assert ran.code == 2
    assert "Kafka" in ran.err


def test_the_published_schema_is_the_one_of_this_release(cli: Cli) -> None:
    published = json.loads((ROOT / "docs/coordinator.schema.json").read_text())
    assert published == cli("describe", "--json-schema").json(), (
        "bus describe --json-schema > docs/coordinator.schema.json"
    )
    validator: Any = jsonschema.Draft202012Validator(published)
    assert validator.is_valid({"@type": "Nats", "addresses": ["h:1"], "pingInterval": "5s"})
    assert not validator.is_valid({"@type": "Nats", "address": ["h:1"]})


def test_describe_lists_the_variants_and_the_fields_of_one(cli: Cli) -> None:
    ran = cli("describe")
    assert ran.code == 0
    assert all(f"{cls.__name__}: " in ran.out for cls in VARIANTS)
    for name in ("Nats", "coordinator/nats", "x:Coordinator/Nats"):
        told = cli("describe", name).out
        assert "  pingInterval  duration, default 1m\n" in told
        assert "      BUS_COORDINATOR__PING_INTERVAL\n" in told
    rows = cli("describe", "Redis", "--json").json()
    assert {"name": "url", "type": "uri", "secret": True, "required": False}.items() <= rows[0].items()
    ran = cli("describe", "Coordinator/Pigeon")
    assert ran.code == 2
    assert "Kafka" in ran.err
