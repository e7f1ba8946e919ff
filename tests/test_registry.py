"""Plug-ins by entry point: a broken one is left out, and breaks nobody who did not ask for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import Bus, ConfigError, registry

METADATA = "Metadata-Version: 2.1\nName: broken-plugins\nVersion: 1.0\n"
POINTS = "[bus.backends]\nBad = no_such_module:X\nWorse = random:Random\nWorst = raises_when_imported:X\n"


@pytest.fixture
def broken_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    info = tmp_path / "broken_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "raises_when_imported.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    sys.modules.pop("raises_when_imported", None)


@pytest.mark.usefixtures("broken_plugins")
def test_a_broken_plug_in_breaks_nobody_who_did_not_ask_for_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "bus"):
        Bus.open("memory://")
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert all(f"backend {name} is left out" in told for name in ("Bad", "Worse", "Worst"))


@pytest.mark.usefixtures("broken_plugins")
@pytest.mark.parametrize("name", ["Bad", "Worst"])
def test_a_broken_plug_in_that_is_asked_for_says_why(name: str) -> None:
    with pytest.raises(ConfigError, match=f"backend {name} .* cannot be imported"):
        registry.load(name)


def test_a_type_without_a_backend_lists_those_that_have_one() -> None:
    with pytest.raises(ConfigError, match=r"no backend for @type 'Pigeon'.*Memory, .*Zenoh"):
        registry.load("Pigeon")
