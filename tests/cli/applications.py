"""The event classes of an application, for `--import tests.cli.applications`."""

from __future__ import annotations

from bus import Event


class Moved(Event, tag="cli.moved"):
    """One with a default."""

    account: int
    keys: tuple[str, ...] = ()


class Numbered(Event, tag=77):
    """One whose tag is a number."""

    text: str
