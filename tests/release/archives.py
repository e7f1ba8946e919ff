"""Wheel and sdist as files, and what is in them."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Archives:
    """The two files of a release."""

    wheel: Path
    sdist: Path

    @classmethod
    def of(cls, folder: Path) -> Archives:
        """The only ones in a folder."""
        (wheel,) = folder.glob("*.whl")
        (sdist,) = folder.glob("*.tar.gz")
        return cls(wheel, sdist)

    def in_wheel(self) -> set[str]:
        """Names of its files."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def in_sdist(self) -> set[str]:
        """Names of its files, without the folder that all are in."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}

    def read(self, ending: str) -> str:
        """The text of the one file of the wheel with this ending."""
        (name,) = (name for name in self.in_wheel() if name.endswith(ending))
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.read(name).decode()

    def metadata(self) -> Message:
        """Of the wheel."""
        return Parser().parsestr(self.read(".dist-info/METADATA"))
