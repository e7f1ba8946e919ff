"""Settings of many processes in one file: whoever changes it tells the others, who read it again.

    python -m examples.settings_reload settings.toml                  runs, and shows what it has
    python -m examples.settings_reload settings.toml level=debug      changes one setting

An event says only that something has changed, so one rule is enough for every loss: read it all again. That
is what `Resync` asks for, when a process died that may have changed the file without having been heard.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from bus import Bus, Event, Gap, Loss, Overflow, Resync

CLUSTER = "settings"


class SettingChanged(Event, tag="setting.changed"):
    """The file has a new value for this name."""

    name: str


def read(file: Path) -> dict[str, object]:
    return tomllib.loads(file.read_text()) if file.exists() else {}


def change(file: Path, name: str, text: str) -> None:
    """Whoever reads meanwhile sees the old file or the new one."""
    values = {**read(file), name: text}
    new = file.with_suffix(".new")
    new.write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
    new.replace(file)


async def follow(bus: Bus, file: Path, show: Callable[[str, dict[str, object]], None]) -> None:
    """Read at the start, after each change and after each loss."""
    async with bus.subscribe(SettingChanged) as inbox:
        # Subscribed before the first look: nothing can fall between the two.
        await bus.ready()
        show("start", await asyncio.to_thread(read, file))
        async for item in inbox:
            show(reason(item), await asyncio.to_thread(read, file))


def reason(item: SettingChanged | Loss) -> str:
    match item:
        case SettingChanged(name=name):
            return f"{name} has changed"
        case Gap() | Overflow():
            return f"{item.count} changes were missed"
        case Resync(node=node):
            return f"{node or 'somebody'} may have changed anything"
        case _:
            return str(item)


async def main(file: Path, wanted: str | None) -> None:
    async with Bus.open(os.environ.get("BUS_COORDINATOR", "zenoh://"), cluster=CLUSTER) as bus:
        if wanted is None:
            await follow(bus, file, lambda why, values: print(f"{why}: {values}", flush=True))
        else:
            name, _, text = wanted.partition("=")
            await bus.ready()
            await asyncio.to_thread(change, file, name, text)
            await bus.confirm(bus.publish(SettingChanged(name)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
