"""`python -m demos.verify` where there is no engine, or a wrong word: it says so, and ends with 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.stage import ROOT


def verify(*words: str, docker: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demos.verify", *words], cwd=ROOT, capture_output=True, text=True, timeout=30,
        env={**os.environ, "DEMO_DOCKER": docker}, check=False,
    )  # fmt: skip


def test_without_docker_it_says_what_to_install() -> None:
    done = verify(docker="/nowhere/docker")
    assert done.returncode == 2
    assert "there is no /nowhere/docker: install Docker with Compose 2.24 or newer" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_docker_says_is_shown(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'no engine answers' >&2\nexit 1\n")
    docker.chmod(0o755)
    done = verify("--json", docker=str(docker))
    assert done.returncode == 2
    assert "no engine answers" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--acts", "steady,sing"), "no such act: sing"), (("--backend", "amqp"), "invalid choice: 'amqp'")],
)
def test_a_wrong_word_is_usage(words: tuple[str, ...], says: str) -> None:
    done = verify(*words, docker="/nowhere/docker")
    assert done.returncode == 2
    assert says in done.stderr
