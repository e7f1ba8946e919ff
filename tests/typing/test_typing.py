"""What mypy and pyright, both strict, say of programs that use the bus: examples.txt holds the answers.

Each checker runs once. `examples.txt` is no `.py`, since its wrong lines are wrong on purpose.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = (HERE / "examples.txt").read_text()
EXPECTED = re.compile(r"  # (?:error: (?P<mypy>[\w-]+) \| (?P<pyright>[\w-]+)|(?P<type>[^#]+))$")
CHECKERS = ("mypy", "pyright")


class Said(NamedTuple):
    """What one checker said of each line: the types revealed, the codes of errors."""

    types: dict[int, str]
    errors: dict[int, str]


def normal(text: str) -> str:
    """A type without modules and quotes, and with its alternatives in alphabetic order."""
    text = re.sub(r"\b(?:\w+\.)+(\w)", r"\1", text)
    if text.startswith("Literal["):
        # mypy: Literal['A'] | Literal['B'], pyright: Literal['A', 'B'].
        values = ", ".join(sorted(re.findall(r"'\w+'", text)))
        return f"Literal[{values}]"
    inner = re.fullmatch(r"(\w+)\[(.*)\]", text)
    if inner and "|" in inner[2]:
        return f"{inner[1]}[{normal(inner[2])}]"
    return " | ".join(sorted(text.split(" | ")))


def run(command: list[str], folder: Path) -> str:
    env = {**os.environ, "MYPYPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=50)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(path: Path) -> Said:
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary", "--no-pretty"]
    said = Said({}, {})
    for line in run([sys.executable, "-m", "mypy", *options, str(path)], path.parent).splitlines():
        if not (found := re.match(rf".*{path.name}:(\d+)(?::\d+)?: (\w+): (.*)", line)):
            continue
        number, kind, text = int(found[1]), found[2], found[3]
        if revealed := re.fullmatch(r'Revealed type is "(.*)"', text):
            said.types[number] = normal(revealed[1])
        elif kind == "error":
            said.errors[number] = text.rpartition("[")[2].rstrip("]")
    return said


def pyright(path: Path) -> Said:
    if shutil.which("node") is None:
        pytest.skip("pyright needs node, and would download it")
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": [path.name],
        "extraPaths": [str(ROOT), str(ROOT / "backends")],
    }
    (path.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = ["-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(path.parent)]
    said = Said({}, {})
    for item in json.loads(run([sys.executable, *command], path.parent))["generalDiagnostics"]:
        number = item["range"]["start"]["line"] + 1
        if item["severity"] == "information":
            said.types[number] = normal(re.search(r'is "(.*)"', item["message"])[1])  # type: ignore[index]  # it says so
        elif item["severity"] == "error":
            said.errors[number] = item["rule"]
    return said


@pytest.fixture(scope="module", params=CHECKERS)
def checker(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def said(checker: str, tmp_path_factory: pytest.TempPathFactory) -> Said:
    path = tmp_path_factory.mktemp(checker) / "examples.py"
    path.write_text(EXAMPLES)
    return {"mypy": mypy, "pyright": pyright}[checker](path)


def expected() -> Iterator[tuple[int, re.Match[str]]]:
    for number, line in enumerate(EXAMPLES.splitlines(), start=1):
        if not line.startswith("#") and (found := EXPECTED.search(line)):
            yield number, found


def test_every_type_is_revealed_as_promised(said: Said) -> None:
    wanted = {number: normal(found["type"]) for number, found in expected() if found["type"]}
    assert len(wanted) > 35
    assert said.types == wanted


def test_what_is_wrong_is_an_error_and_nothing_else_is(said: Said, checker: str) -> None:
    wanted = {n: found[checker] for n, found in expected() if found[checker] not in (None, "-")}
    assert len(wanted) > 8
    assert said.errors == wanted
