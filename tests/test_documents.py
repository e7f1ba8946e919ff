"""Every fenced ```python block of README.md and docs/ is run: what we show works.

The blocks of one document run in order, in one namespace and one event loop, so that a later block
may use what an earlier one made; `await`, `async with` and `async for` work at the top level. Each
document is a process of its own, with warnings as errors, and ends within 20 seconds. What is no
program (a sketch, output, another language) is fenced with another word or none.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    "README.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
]
SECONDS = 20


def blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """(line of the first code line, word of the fence, code) of every fenced block."""
    fence, word, first, code = "", "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if not fence:
            if opened := re.fullmatch(r"(```+|~~~+)\s*(\S*).*", line):
                fence, word, first, code = opened[1], opened[2], number + 1, []
        elif line.rstrip() == fence:
            yield first, word, "\n".join(code) + "\n"
            fence = ""
        else:
            code.append(line)
    if fence:
        raise ValueError(f"the block that opens in line {first - 1} is never closed")


def run(path: str, text: str) -> None:
    """Run the python blocks of one document in this process."""
    module = ModuleType("document")
    sys.modules["document"] = module  # annotations are looked up there
    with asyncio.Runner() as runner:
        for first, word, source in blocks(text):
            if word == "python":
                # Empty lines in front: a traceback then names the line of the document.
                code = compile(
                    "\n" * (first - 1) + source,
                    str(ROOT / path),
                    "exec",
                    flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                    dont_inherit=True,
                )
                if code.co_flags & inspect.CO_COROUTINE:
                    runner.run(cast("Coroutine[Any, Any, None]", eval(code, vars(module))))
                else:
                    exec(code, vars(module))


def run_apart(path: str, text: str, seconds: float = SECONDS) -> str | None:
    """Run one document in a process of its own; what went wrong, or None."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", __file__, path],
            input=text,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=seconds,
            # The folder of this script is searched first, and `tests/bus` is no package that hides `bus`.
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])},
        )
    except subprocess.TimeoutExpired:
        return f"{path} still ran after {seconds} s: let its loops end"
    return f"{path} failed:\n{done.stderr}" if done.returncode or done.stderr else None


@pytest.mark.parametrize("path", DOCUMENTS)
def test_code_in_the_document_works(path: str) -> None:
    assert run_apart(path, (ROOT / path).read_text()) is None


@pytest.mark.parametrize("path", DOCUMENTS)
def test_no_code_hides_behind_another_spelling(path: str) -> None:
    words = {word for _, word, _ in blocks((ROOT / path).read_text())}
    assert not {word for word in words if re.match(r"(?i)\{?\.?py", word)} - {"python", "pycon"}


def test_the_readme_shows_code() -> None:
    assert "python" in {word for _, word, _ in blocks((ROOT / "README.md").read_text())}


def test_blocks_share_names_and_one_loop() -> None:
    text = (
        "```python\nimport asyncio\nqueue = asyncio.Queue()\nawait queue.put(1)\n```\n"
        "```text\nthis is no code\n```\n"
        "````python\nassert await queue.get() == 1\n````\n"
    )
    assert run_apart("x.md", text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# Title\n```python\n\nassert 1 == 2\n```\n", 'x.md", line 4'),
        ("```python\nimport warnings\nwarnings.warn('old')\n```\n", "UserWarning: old"),
        ("```python\nimport asyncio\nasyncio.get_running_loop()\n```\n", "no running event loop"),
        ("```python\n1\n", "never closed"),
    ],
)
def test_a_document_that_fails_is_told_with_its_line(text: str, said: str) -> None:
    assert said in (run_apart("x.md", text) or "")


def test_a_document_that_does_not_end_is_told() -> None:
    text = "```python\nimport asyncio\nawait asyncio.Event().wait()\n```\n"
    assert "let its loops end" in (run_apart("x.md", text, seconds=1) or "")


if __name__ == "__main__":
    run(sys.argv[1], sys.stdin.read())
