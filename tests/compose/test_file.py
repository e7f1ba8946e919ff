"""docker-compose.yml, the Dockerfile and what they mount: read as data, without an engine.

That it runs is shown by `make demo-compose-offline`, with a real engine and the real Compose.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from bus.cli import settings
from demos import credentials
from demos.verify import BACKENDS, BROKER, OTHER
from tests.cli.kit import in_process
from tests.compose.stage import ROOT, images_of
from tests.containers.stand_ins import PROMETHEUS, PYTHON

TEXT = (ROOT / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
NODES = [name for name in SERVICES if name.startswith("node-")]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXACT = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+([-.][a-z0-9.-]+)?")


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_root_or_may_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    # Kafka's image has a user of its own, and writes its configuration where its program is.
    assert service["read_only"] is (name != "kafka")
    assert service.get("user") == ("10001:10001" if name != "kafka" else None)
    assert "privileged" not in service
    assert service.get("network_mode") != "host"


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_an_exact_tag(name: str) -> None:
    assert EXACT.fullmatch(SERVICES[name]["image"]), SERVICES[name]["image"]


def test_the_image_of_the_node_is_built_in_two_stages_upon_an_exact_tag() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases == [PYTHON, PYTHON]
    assert EXACT.fullmatch(PYTHON)
    assert "USER 10001:10001" in DOCKERFILE
    assert all("build" in SERVICES[name] for name in [*NODES, "credentials"])


def test_ports_are_published_on_this_machine_only_and_once() -> None:
    ports: list[str] = list(chain.from_iterable(service.get("ports", []) for service in SERVICES.values()))
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    assert [SERVICES[name]["ports"] for name in NODES] == [
        ["127.0.0.1:8080:8080"], ["127.0.0.1:8081:8080"], ["127.0.0.1:8082:8080"],
    ]  # fmt: skip


def test_events_travel_in_a_network_that_leads_nowhere() -> None:
    assert FILE["networks"]["bus"] == {"internal": True}
    brokers = [
        service for service in SERVICES.values() if set(BACKENDS).intersection(service.get("profiles", []))
    ]
    assert brokers
    assert all(service["networks"] == ["bus"] and "ports" not in service for service in brokers)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_profile_starts_its_own_system_and_no_other(backend: str) -> None:
    started = {name for name, service in SERVICES.items() if backend in service.get("profiles", [])}
    assert BROKER.get(backend, backend) in started
    others = {
        name for name in started for one in BACKENDS if one != backend and one in SERVICES[name]["profiles"]
    }
    assert others == set()
    assert all("profiles" not in SERVICES[name] for name in [*NODES, "credentials"])
    assert OTHER.get(backend, "nats") != backend


def test_nodes_wait_for_whichever_system_there_is() -> None:
    for name in NODES:
        waits = dict(SERVICES[name]["depends_on"])
        assert waits.pop("credentials") == {"condition": "service_completed_successfully"}
        assert all(how["required"] is False for how in waits.values())
        profiles = {SERVICES[one]["profiles"][0] for one in waits}
        assert profiles == set(BACKENDS)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_exists(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in FILE["volumes"]
    assert set(service.get("networks", [])) <= set(FILE["networks"])
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    mounts: dict[str, str] = {}
    for volume in service.get("volumes", []):
        source, _, target = str(volume).removesuffix(":ro").partition(":")
        mounts[target] = source
    for word in service.get("command", []):
        if word.startswith("/etc/") and "$" not in word:
            folder, _, file = word.rpartition("/")
            assert (ROOT / mounts[folder] / file).exists()


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "credentials"])
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    if name == "redis-cluster-made":
        assert SERVICES[name]["healthcheck"] == {"disable": True}
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_secrets_are_files_that_the_repository_does_not_have() -> None:
    mounted = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    used = set(re.findall(r"/run/secrets/(\w+)", TEXT + "".join(path.read_text() for path in mounted)))
    assert used == set(credentials.NAMES)
    # Nor is there one in an environment.
    names = chain.from_iterable(service.get("environment", {}) for service in SERVICES.values())
    assert [
        name for name in names if re.search("(?i)password|token|secret", name) and "FILE" not in name
    ] == []


def test_secrets_are_made_once_and_for_one_user_only(tmp_path: Path) -> None:
    assert credentials.make(tmp_path) == list(credentials.NAMES)
    made = {name: (tmp_path / name).read_text() for name in credentials.NAMES}
    assert len(set(made.values())) == len(made)
    assert all(len(text) > 32 and text[0].isalpha() for text in made.values())
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in made} == {0o400}
    assert credentials.make(tmp_path) == []
    assert {name: (tmp_path / name).read_text() for name in made} == made


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_configuration_of_the_node_is_valid(backend: str) -> None:
    ran = in_process("validate", str(ROOT / "deploy/node" / f"{backend}.toml"))
    assert (ran.code, ran.err) == (0, "")
    assert "".join(map(str.capitalize, backend.split("-"))) in ran.out


def test_the_environment_of_a_node_has_settings_that_there_are() -> None:
    known = {setting.variable for setting in settings.SETTINGS} | set(settings.ELSEWHERE) | {"DEMO_TALLY"}
    for name in NODES:
        assert set(SERVICES[name]["environment"]) <= known
        assert SERVICES[name]["environment"]["BUS_NODE"] == SERVICES[name]["hostname"] == name


def test_every_variable_of_the_file_has_a_default() -> None:
    assert re.findall(r"\$\{\w+(?!\w*:-)[^}]*\}", TEXT) == []


def test_the_file_is_understood_by_the_code_that_makes_stand_ins() -> None:
    assert images_of(ROOT, ["nats", "kafka"]) == {PYTHON, "nats:2.15.0-alpine", "apache/kafka:4.3.1"}
    assert SERVICES["prometheus"]["image"] == PROMETHEUS
