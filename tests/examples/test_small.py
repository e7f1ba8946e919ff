"""What an example is: short, explained, listed with the others, and run by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.examples.program import EXAMPLES, ROOT

LONGEST = 80
PROGRAMS = sorted(EXAMPLES.rglob("*.py"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_an_example_is_short_and_says_what_it_shows(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < LONGEST
    assert ast.get_docstring(ast.parse(text))


def test_the_readme_lists_every_example_and_nothing_else() -> None:
    listed = set(re.findall(r"\]\(([\w/]+\.py)\)", (EXAMPLES / "README.md").read_text()))
    programs = {path.relative_to(EXAMPLES).as_posix() for path in PROGRAMS}
    assert listed == programs - {"folder_backend/test_folder.py"}


def test_every_example_is_run_by_a_test() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests/examples").glob("test_*.py"))
    names = [path.parent.name if path.parent != EXAMPLES else path.stem for path in PROGRAMS]
    assert [name for name in names if name not in tests] == []
