"""Every file of bus/ and backends/ keeps the rules of the house, and every rule can fail.

The rules are in architecture.py beside this file; `BAD` has sources that break them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import (
    LONGEST,
    RULES,
    Module,
    Rule,
    backend_knows_the_contract_only,
    calls_no_trap,
    complaints,
    contract_is_explained,
    contract_is_short,
    depends_downwards,
    is_short,
    knows_no_backend,
    loads_optional_packages_late,
    opens_with_its_job,
    protocol_is_sans_io,
    redis_has_no_client_library,
    says_what_it_is,
    too_long_packages,
)

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("bus", "backends")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", FILES)
def test_file_keeps_the_rules_of_the_house(path: str) -> None:
    assert complaints(Module(path, (ROOT / path).read_text())) == []


def test_backends_are_small() -> None:
    lines: dict[str, int] = {}
    for path in FILES:
        folder, package, *rest = Path(path).parts
        if folder == "backends" and rest:
            lines[package] = lines.get(package, 0) + len((ROOT / path).read_text().splitlines())
    assert too_long_packages(lines) == []


def test_backends_folder_is_not_a_package() -> None:
    loose = [path.name for path in (ROOT / "backends").glob("*.py")]
    assert loose == [], "backends/ holds packages, no modules: put each into its bus_<name>/"


JOB = '"""A job."""\n'
BAD: list[tuple[Rule, str, str, str]] = [
    (opens_with_its_job, "bus/event.py", "x = 1\n", "has no docstring"),
    (is_short, "bus/event.py", JOB + "x = 1\n" * LONGEST, "has 401 lines"),
    (is_short, "bus/testing/leaks.py", JOB + "x = 1\n" * LONGEST, "has 401 lines"),
    (says_what_it_is, "bus/event.py", "class LinkManager: ...\n", "'LinkManager'"),
    (says_what_it_is, "bus/event.py", "def retry_helper(): ...\n", "'retry_helper'"),
    (says_what_it_is, "bus/event.py", "class JSONImpl: ...\n", "'JSONImpl'"),
    (says_what_it_is, "bus/utils.py", JOB, "'utils'"),
    (calls_no_trap, "bus/bus.py", "import asyncio\nasyncio.wait_for(x, 1)\n", "anyio.fail_after"),
    (calls_no_trap, "bus/bus.py", "from asyncio import wait_for\n", "anyio.fail_after"),
    (calls_no_trap, "backends/bus_nats/__init__.py", "await nc.drain()\n", "T11"),
    (calls_no_trap, "backends/bus_zenoh/__init__.py", "z.CongestionControl.BLOCK\n", "T17"),
    (depends_downwards, "bus/protocol/frame.py", "from bus.event import Event\n", "outer layer"),
    (depends_downwards, "bus/protocol/frame.py", "from ..event import Event\n", "outer layer"),
    (depends_downwards, "bus/event.py", "from bus.backend import Backend\n", "outer layer"),
    (depends_downwards, "bus/event.py", "def f():\n    from bus import Bus\n", "outer layer"),
    (depends_downwards, "bus/supervisor.py", "from bus.bus import Bus\n", "outer layer"),
    (depends_downwards, "bus/supervisor.py", "import bus.testing\n", "outer layer"),
    (depends_downwards, "bus/bench/run.py", "from bus.testing.leaks import tasks\n", "a leaf"),
    (depends_downwards, "bus/bench/run.py", "from bus.testing.brokers import start\n", "a leaf"),
    (depends_downwards, "bus/admin/x.py", "def f():\n    import bus.testing.brokers\n", "a leaf"),
    (depends_downwards, "bus/testing/net.py", "from bus.cli import main\n", "a leaf"),
    (depends_downwards, "bus/event.py", "from bus.novelty import x\n", "no layer"),
    (depends_downwards, "bus/novelty.py", JOB, "no layer"),
    (knows_no_backend, "bus/registry.py", "def f():\n    import bus_nats\n", "bus/registry.py"),
    (knows_no_backend, "bus/bus.py", "def f():\n    import zenoh\n", "client library"),
    (knows_no_backend, "bus/bench/raw.py", "import zenoh\n", "client library"),
    (loads_optional_packages_late, "bus/config/load.py", "import yaml\n", "inside the function"),
    (loads_optional_packages_late, "bus/bus.py", "import pytest\n", "inside the function"),
    (loads_optional_packages_late, "backends/bus_zenoh/__init__.py", "import zenoh\n", "inside"),
    (protocol_is_sans_io, "bus/protocol/engine.py", "from time import monotonic\n", "arguments"),
    (protocol_is_sans_io, "bus/protocol/engine.py", "import asyncio.queues\n", "arguments"),
    (protocol_is_sans_io, "bus/protocol/engine.py", "import yaml\n", "msgspec only"),
    (protocol_is_sans_io, "bus/protocol/engine.py", "async def f(): ...\n", "is async"),
    (
        backend_knows_the_contract_only,
        "backends/bus_nats/__init__.py",
        "from bus.protocol.frame import Header\n",
        "nothing else of ours",
    ),
    (
        backend_knows_the_contract_only,
        "backends/bus_nats/__init__.py",
        "from bus import Bus\n",
        "else",
    ),
    (backend_knows_the_contract_only, "backends/bus_nats/link.py", "import bus_memory\n", "others"),
    (contract_is_short, "bus/backend.py", JOB + "x = 1\n" * 250, "has 251 lines"),
    (redis_has_no_client_library, "backends/bus_redis/link.py", "def f():\n    import redis\n", "T19"),
    (redis_has_no_client_library, "backends/bus_redis/link.py", "from redis.asyncio import Redis\n", "T4"),
    (contract_is_explained, "bus/backend.py", JOB + "x = 1\n" * 2, "1 lines of comment"),
]


@pytest.mark.parametrize(("rule", "path", "source", "text"), BAD)
def test_rule_fails_on_a_bad_source(rule: Rule, path: str, source: str, text: str) -> None:
    found = complaints(Module(path, source), (rule,))
    assert len(found) == 1
    assert text in found[0]


def test_every_rule_is_shown_to_fail() -> None:
    assert {rule for rule, *_ in BAD} == set(RULES)


GOOD = {
    "bus/protocol/frame.py": '"""F."""\nimport zlib\nimport msgspec\nfrom bus.signals import Gap\n',
    "bus/supervisor.py": '"""S."""\nimport anyio\nfrom bus.protocol.engine import Engine\n',
    "bus/demo/systems.py": '"""D."""\ndef f():\n    from bus.testing.brokers import start\n',
    "bus/cli.py": '"""C."""\ndef main():\n    import rich\n    from bus.demo import run\n',
    "bus/testing/conformance/all.py": '"""T."""\nimport pytest\n' + "x = 1\n" * LONGEST,
    "backends/bus_zenoh/link.py": '"""L."""\nfrom bus_zenoh.config import x\n'
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import zenoh\n"
    "def f():\n    import zenoh\n    from bus.errors import ConfigError\n",
}


@pytest.mark.parametrize("path", GOOD)
def test_rules_accept_what_is_allowed(path: str) -> None:
    assert complaints(Module(path, GOOD[path])) == []


def test_long_backend_package_is_found() -> None:
    assert too_long_packages({"bus_memory": 249, "bus_nats": 599}) == []
    assert "bus_memory has 250 lines" in too_long_packages({"bus_memory": 250})[0]
