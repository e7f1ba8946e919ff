"""A short run of each backend: the shape of the JSON, and the exit codes. No timing is judged."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from bus.bench import __main__ as command, machine, plausible, report, run
from bus.bench.crew import Crew
from bus.bench.figures import Figures, Repetition, Result
from bus.bench.load import Delivery
from bus.bench.server import SERVED
from bus.testing import brokers
from bus.testing.brokers import Broker, Unavailable

SIDE = {"rate", "cpu_us_pub", "cpu_us_sub", "lost", "p50_us", "p99_us"}
ROW = {"scenario", "backend", "loop", "params", "ours", "raw", "ratio", "spread", "pairs", "stable"}
QUICK = ("--quick", "--pairs", "1", "--json")


def absent(_name: str) -> None:
    """No package is installed."""


def steady(_events: int) -> float:
    """A yardstick."""
    return 1.0


def counted(
    repetitions: Sequence[Repetition], *, cores: int, tells_loss: bool, **_timing: object
) -> list[str]:
    """The complaints without those about time: beside other tests a core may be away for half a second.

    What time shows is judged in test_plausible.py.
    """
    return plausible.complaints(
        repetitions, cores=cores, seconds=0.0, tells_loss=tells_loss, is_served=True
    )  # fmt: skip


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


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("backend", "loop", "processes"),
    [
        ("memory", "uvloop", 1),
        ("zenoh", "asyncio", 2),
        ("nats", "uvloop", 2),
        ("redis", "asyncio", 2),
        ("kafka", "asyncio", 2),
    ],
)
def test_quick_run_prints_the_promised_shape(
    backend: str,
    loop: str,
    processes: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "complaints", counted)
    try:
        assert command.main(["all", "--backend", backend, "--loop", loop, *QUICK]) == 0
    except SystemExit:
        if backend in SERVED and not os.environ.get("CI"):
            pytest.skip(capsys.readouterr().err)
        raise
    found = last_line(capsys)
    assert found["version"] == 1
    assert found["machine"]["cores"] == machine.cores()
    assert len(found["machine"]["yardstick"]) == 2
    rows = found["results"]
    many = [("throughput", "batch", 10)] if backend == "memory" else []
    kinds = [(one["scenario"], one["params"]["delivery"], one["params"]["subscribers"]) for one in rows]
    assert kinds == [
        ("throughput", "batch", 1), ("throughput", "callback", 1), *many, ("latency", "batch", 1),
    ]  # fmt: skip
    for row in rows:
        assert row.keys() >= ROW
        assert (row["backend"], row["loop"], row["pairs"]) == (backend, loop, 1)
        assert row["spread"] == [row["ratio"], row["ratio"]]
        assert row["ratio"] > 0
        for side in (row["ours"], row["raw"]):
            check_side(side, is_paced=row["scenario"] == "latency", processes=processes)


def test_figures_that_cannot_be_true_are_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = Crew.repetition

    def forged(crew: Crew, count: int, delivery: Delivery, per_second: int = 0) -> Repetition:
        true = measure(crew, count, delivery, per_second)
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


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--pairs", "0"], "at least 1"),
        (["--backend", "pigeon"], "memory"),
        (["speed"], "throughput"),
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


def row(stable: bool = True) -> Result:
    side = Figures(rate=2e6, cpu_us_pub=0.4, cpu_us_sub=None, lost=0, p50_us=None, p99_us=None)
    return Result(
        scenario="throughput", backend="memory", loop="asyncio",
        params={"delivery": "batch", "subscribers": 1},
        ours=side, raw=None, ratio=None, spread=None, pairs=1, stable=stable,
    )  # fmt: skip


def test_table_shows_every_row_and_what_is_missing() -> None:
    about: dict[str, object] = {"cores": 2, "python": "CPython 3.11", "load_before": [0.1, 0.2, 0.3]}
    title, heads, first, second = report.as_text(about, [row(), row(stable=False)]).splitlines()
    assert "CPython 3.11 on 2 cores" in title
    assert heads.split()[:3] == ["bus", "raw", "ratio"]
    assert first.split()[-8:] == ["2,000,000/s", "-", "-", "-", "0.40", "-", "0/-", "yes"]
    assert second.endswith("no")


def test_columns_are_aligned() -> None:
    assert report.columns([("what", "n"), ("a", "100")]) == ["what    n", "a     100"]
