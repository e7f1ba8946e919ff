"""The fault matrix is whole, names only what exists, and the document shows what was measured."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests.faults import document, matrix
from tests.faults.matrix import LabCell, NotRun, ProvenCell, Reason
from tests.faults.results import Result, append, results
from tests.faults.run import reported
from tests.faults.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
ALL = "MNKRCZ"
SERVERS = "NKRC"
# Which backends each case is about, as the fault notes have it; case 15 is about Sentinel alone.
WANTED = {
    **dict.fromkeys((1, 4, 5, 6, 7, 9, 10, 11, 17, 18, 19, 20, 21, 25, 26, 27, 33), SERVERS + "Z"),
    **dict.fromkeys((2, 3, 8, 22, 23, 24, 28, 29, 31), SERVERS),
    **dict.fromkeys((12, 36, 37, 40, 41, 42, 43, 45, 47, 49, 50, 51, 52, 53, 54, 55), ALL),
    **dict.fromkeys((69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80), ALL),
    **dict.fromkeys((16, 32, 57, 58, 59), "K"),
    **dict.fromkeys((13, 14), "C"),
    **dict.fromkeys((30, 39, 68), "Z"),
    **dict.fromkeys((35, 67), "N"),
    **dict.fromkeys((38, 61, 62), "NRC"),
    **dict.fromkeys((34, 48), "R"),
    **dict.fromkeys((63, 64, 65, 66), "NRKZ"),
    15: "S",
    44: "NK",
    46: "RK",
    56: "NRK",
    60: "NRCK",
}
CELLS = {name: cell for name, _, cell in matrix.cells()}


def test_all_80_cases_have_a_row_for_each_backend_that_they_are_about() -> None:
    cases = matrix.cases()
    assert list(cases) == list(range(1, 81))
    assert {number for number, case in cases.items() if set(WANTED[number]) - set(case.cells)} == set()
    assert set().union(*(case.cells for case in cases.values())) <= set(matrix.SYSTEMS)


def test_what_was_not_run_says_why() -> None:
    for name, cell in CELLS.items():
        if isinstance(cell, NotRun) and cell.reason is Reason.SAME:
            assert isinstance(CELLS.get(cell.detail), LabCell | ProvenCell), (
                f"{name}: {cell.detail} is not run"
            )
        elif isinstance(cell, NotRun) and cell.reason is not Reason.ROOT:
            assert cell.detail, f"{name} does not say what is absent"


def test_scenarios_exist_and_each_is_used() -> None:
    used = {cell.scenario for cell in CELLS.values() if isinstance(cell, LabCell)}
    assert used == set(SCENARIOS)


@functools.cache
def names(path: Path) -> frozenset[str]:
    """Of the functions and classes of a file."""
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )


def exists(node: str) -> bool:
    """Whether there is such a test; a class may have it from the conformance suite."""
    file, *path = node.partition("[")[0].split("::")
    if not path or not (ROOT / file).is_file():
        return False
    suite = (ROOT / "bus" / "testing" / "conformance").glob("*.py") if len(path) > 1 else ()
    return set(path) <= names(ROOT / file).union(*(names(one) for one in suite))


def test_the_tests_that_prove_a_cell_exist() -> None:
    proofs = {name: cell.nodes for name, cell in CELLS.items() if isinstance(cell, ProvenCell)}
    assert len(proofs) > 100
    assert {name: nodes for name, nodes in proofs.items() if not all(map(exists, nodes))} == {}
    assert not exists("tests/faults/test_matrix.py::test_that_is_not_there")
    assert not exists("tests/no_such_file.py::test_that_is_not_there")


def test_nothing_is_unexplained_and_nothing_failed() -> None:
    found = results()
    wrong = {
        name: (found[name].unexplained, found[name].problems)
        for name, cell in CELLS.items()
        if not isinstance(cell, NotRun)
        and name in found
        and (found[name].unexplained or found[name].problems)
    }
    assert wrong == {}


def test_the_document_is_current() -> None:
    assert document.DOCUMENT.read_text() == document.text(), "run `python -m tests.faults --document`"


def test_a_report_of_pytest_becomes_a_result() -> None:
    case = '<testcase name="t"><properties><property name="{}" value="{}"/></properties></testcase>'
    cases = case.format("repaired", 7) + case.format("close", 0.25)
    found = reported("1 nats", f"<testsuites>{cases}</testsuites>", 2.5)
    assert (found.repaired, found.close, found.seconds, found.problems) == (7, 0.25, 2.5, ())


@pytest.mark.parametrize(
    ("inside", "said"),
    [("", "no test was found"), ('<testcase name="t"><skipped/></testcase>', "t was skipped")],
)
def test_what_did_not_run_is_no_proof(inside: str, said: str) -> None:
    found = reported("1 nats", f"<testsuites>{inside}</testsuites>", 1)
    assert found.problems == (said,)


def test_a_row_shows_what_was_measured(tmp_path: Path) -> None:
    result = Result(
        cell="17 nats", detected=3.1, recovered=0.25, repaired=5, told=1, resynced=1, unexplained=0,
        publish_cpu=0.0001, publish_wall=0.002, publish_usual=0.0003, close=0.01,
    )  # fmt: skip
    append(result, tmp_path / "results.jsonl")
    figures = "3.10 s | 0.25 s | 5 | 2 | 0 | 0.1 ms | 2.0 ms | 0.01 s"
    row = f"| 17 | NATS | {figures} | lab `cut-idle`, publish p99.9 0.3 ms |"
    assert row in document.text(tmp_path / "results.jsonl").splitlines()
