"""`--import module`: the event classes of an application, so that their fields have names."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, cast

from bus.cli.failure import Failure, usage
from bus.event import Event, EventTypes, Message, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def event_types(modules: Iterable[str]) -> dict[int | str, type[Event]]:
    """Tag -> class, of everything that these modules have, and `Message`. Raises Failure."""
    if os.getcwd() not in sys.path:
        # As with `python -m`; a console script has its own directory there.
        sys.path.insert(0, os.getcwd())
    found: dict[int | str, type[Event]] = {0: Message}
    for name in modules:
        values = cast("dict[str, object]", vars(_module(name))).values()
        classes = [cast("type[object]", value) for value in values if isinstance(value, type)]
        for cls in classes:
            if issubclass(cls, Event) and cls is not Message and (tag := tag_of(cls)) is not None:
                found[tag] = cls
    _check(found)
    return found


def _module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001  # whatever a foreign module does
        raise usage(f"--import {name}: {type(error).__name__}: {error}") from None


def _check(found: dict[int | str, type[Event]]) -> None:
    from bus.errors import UnknownEventType

    try:
        EventTypes().add([cls for cls in found.values() if cls is not Message])
    except UnknownEventType as error:
        raise Failure(2, "unknownEventType", str(error)) from None
