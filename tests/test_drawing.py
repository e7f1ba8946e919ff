"""docs/architecture.md is drawn from the source, and true."""

from __future__ import annotations

from tests.drawing import PAGE, page


def test_the_drawing_of_the_architecture_is_current() -> None:
    assert PAGE.read_text() == page(), "draw it anew: python -m tests.drawing"
