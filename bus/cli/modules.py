"""What an application brings along: `--import module`, its events; `--app module:function`, its work."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING, cast

from bus.cli.failure import Failure, usage
from bus.event import Event, EventTypes, Message, tag_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from bus.bus import Bus


def event_types(modules: Iterable[str]) -> dict[int | str, type[Event]]:
    """Tag -> class, of everything that these modules have, and `Message`. Raises Failure."""
    _look_here()
    found: dict[int | str, type[Event]] = {0: Message}
    for name in modules:
        values = cast("dict[str, object]", vars(_module(name, f"--import {name}"))).values()
        classes = [cast("type[object]", value) for value in values if isinstance(value, type)]
        for cls in classes:
            if issubclass(cls, Event) and cls is not Message and (tag := tag_of(cls)) is not None:
                found[tag] = cls
    _check(found)
    return found


def application(text: str) -> Callable[[Bus], Awaitable[object]]:
    """The async function that `--app` names; it is called with the open bus. Raises Failure."""
    _look_here()
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise usage(f"--app {text}: it is no module:function", "for example --app myapp.node:main")
    found = getattr(_module(module, f"--app {text}"), name, None)
    if not inspect.iscoroutinefunction(found):
        raise usage(f"--app {text}: {module} has no async function {name}", "async def main(bus: Bus)")
    return cast("Callable[[Bus], Awaitable[object]]", found)


def _look_here() -> None:
    if os.getcwd() not in sys.path:
        # As with `python -m`; a console script has its own directory there.
        sys.path.insert(0, os.getcwd())


def _module(name: str, asked: str) -> object:
    try:
        return importlib.import_module(name)
    except Exception as error:  # noqa: BLE001  # whatever a foreign module does
        is_away = isinstance(error, ModuleNotFoundError)
        hint = f"looked for in {os.getcwd()}, PYTHONPATH and what is installed" if is_away else ""
        raise usage(f"{asked}: {type(error).__name__}: {error}", hint) from None


def _check(found: dict[int | str, type[Event]]) -> None:
    from bus.errors import UnknownEventType

    try:
        EventTypes().add([cls for cls in found.values() if cls is not Message])
    except UnknownEventType as error:
        raise Failure(2, "unknownEventType", str(error)) from None
