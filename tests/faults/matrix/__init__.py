"""The fault matrix as data: 80 cases, and for each backend how it is proven or why it is not run.

A cell is one of

    lab(SCENARIO)                   run under load by `make faults`, judged from the histories of its nodes
    proven("tests/x.py::test_y")    these pytest nodes; `make faults` runs them and notes how they went
    same("17 nats")                 the same mechanism is shown in that cell, which ran
    absent("why"), root(), kernel("what")      not run, for one of the four reasons that are allowed

`CASES` is all of it; a cell is named by its case and its system, "17 nats", and one of a variant by its word
as well: "26 nats shared".
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# As the notes abbreviate them -> the name of the system in the lab, in the order of the rows.
SYSTEMS = {
    "M": "memory",
    "N": "nats",
    "K": "kafka",
    "R": "redis",
    "C": "redis-cluster",
    "S": "redis-sentinel",
    "Z": "zenoh",
}


class Reason(enum.Enum):
    """Why a cell was not run; there is no other."""

    ROOT = "needs root"
    KERNEL = "needs a missing kernel feature"
    ABSENT = "mechanism absent in this backend"
    SAME = "same mechanism shown in cell"


class LabCell(NamedTuple):
    """Run by the lab: the name of a scenario."""

    scenario: str


class ProvenCell(NamedTuple):
    """Proven by pytest nodes, with parameters if they have some: the ids as pytest prints them."""

    nodes: tuple[str, ...]


class NotRun(NamedTuple):
    """Not run. `detail`: the cell that shows the same, or in a few words what is absent or missing."""

    reason: Reason
    detail: str


Cell = LabCell | ProvenCell | NotRun


class Variant(NamedTuple):
    """The fault of a case in another shape, told apart by one word."""

    word: str
    title: str
    accepted: str
    cells: Mapping[str, Cell]


class Case(NamedTuple):
    """One line of the matrix."""

    title: str
    # What is acceptable, in a few words.
    accepted: str
    # By the letters of SYSTEMS.
    cells: Mapping[str, Cell]
    variants: tuple[Variant, ...] = ()


def lab(scenario: str) -> LabCell:
    """Run under load."""
    return LabCell(scenario)


def proven(*nodes: str) -> ProvenCell:
    """Shown by these tests."""
    return ProvenCell(nodes)


def same(cell: str) -> NotRun:
    """Shown there: the mechanism is the same code."""
    return NotRun(Reason.SAME, cell)


def absent(why: str) -> NotRun:
    """There is no such thing in this backend."""
    return NotRun(Reason.ABSENT, why)


def root() -> NotRun:
    """Not without root."""
    return NotRun(Reason.ROOT, "")


def kernel(what: str) -> NotRun:
    """Not without that feature of the kernel."""
    return NotRun(Reason.KERNEL, what)


def every(letters: str, cell: Cell) -> dict[str, Cell]:
    """The same cell for several systems."""
    return dict.fromkeys(letters, cell)


def cases() -> dict[int, Case]:
    """All, by their numbers."""
    from tests.faults.matrix import load, malformed, network, process, runtime, security

    found: dict[int, Case] = {}
    for part in (process, network, load, malformed, security, runtime):
        found |= part.CASES
    return dict(sorted(found.items()))


def cells() -> Iterator[tuple[str, Case, Cell]]:
    """All cells with their names, in order."""
    for number, case in cases().items():
        for letter, system in SYSTEMS.items():
            if letter in case.cells:
                yield f"{number} {system}", case, case.cells[letter]
        for variant in case.variants:
            for letter, system in SYSTEMS.items():
                if letter in variant.cells:
                    yield f"{number} {system} {variant.word}", case, variant.cells[letter]
