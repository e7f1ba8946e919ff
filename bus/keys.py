"""The cluster key: from what `Bus.open(key=...)` is given to the bytes that seal frames (rule 18).

It is given as text, bytes, a secret (`bus.config.File`, `EnvironmentVariable`, `Value`, or one of these as a
dict), or a list of them: the first key seals, all of them open. A text may hold several keys, one a line; so
one file can take a cluster from key to key. Variables and files are read again when a key is renewed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from bus.config.redacted import SecretText
from bus.config.secret import EnvironmentVariable, File, NoSecret, Secret, Text, Value
from bus.errors import ConfigError

# Bytes. Frames of the bus can be tried against guesses: a key that a person thought up is none.
SHORTEST = 16
ALLOWED = (
    "text or bytes, a secret such as {'@type': 'File', 'filePath': '/run/secrets/bus'}, or a list of these"
)

_Form = NoSecret | Value | Text | EnvironmentVariable | File
_Stamps = dict[str, tuple[int, ...] | None]


class _Raw(Secret, frozen=True):
    """Given as bytes: taken as they are, and never shown."""

    content: SecretText

    def bytes(self) -> bytes:
        """The key."""
        return self.content.reveal().encode("latin-1")


class ClusterKey:
    """Where the keys of a cluster come from. Neither shows nor keeps them."""

    def __init__(self, sources: tuple[Secret, ...]) -> None:
        self._sources = sources
        self._stamps = self._look()
        self._seen = self._stamps

    def read(self) -> list[bytes]:
        """The keys now, the one that seals first; reads variables and files. Raises ConfigError."""
        found: list[bytes] = []
        for source in self._sources:
            # Out here: nothing that holds a key is a variable of what is raised.
            lines, trouble = _lines(source)
            short = [number for number, line in enumerate(lines, 1) if len(line) < SHORTEST]
            found += lines
            if trouble or short:
                del lines, found
                raise ConfigError(
                    f"key: {trouble}" if trouble else
                    f"key: {_place(source)}: key {short[0]} of it has fewer than {SHORTEST} bytes and could "
                    "be guessed; 32 random bytes are right: openssl rand -hex 32"
                )  # fmt: skip
        return found

    @property
    def files(self) -> list[str]:
        """The paths of the files among the sources."""
        return [one.file_path.strip() for one in self._sources if isinstance(one, File)]

    def renewed(self) -> list[bytes] | None:
        """The keys, once when a file is another one and no longer being written. Raises ConfigError."""
        now, before = self._look(), self._seen
        self._seen = now
        if now == self._stamps or now != before:
            return None
        self._stamps = now
        return self.read()

    def _look(self) -> _Stamps:
        return {path: _stamp(path) for path in self.files}

    def __repr__(self) -> str:
        return f"ClusterKey({', '.join(map(_place, self._sources))})"


def cluster_key(given: object) -> ClusterKey | None:
    """What the user gave, checked as far as that needs no reading. Raises ConfigError."""
    if given is None or isinstance(given, ClusterKey):
        return given
    if isinstance(given, list | tuple):
        each = cast("Sequence[object]", given)
        sources = [_source(one) for one in each]
        if not sources or any(isinstance(one, NoSecret) for one in sources):
            raise ConfigError("key: the list holds no key; give None for a cluster without one")
        return ClusterKey(tuple(sources))
    source = _source(given)
    return None if isinstance(source, NoSecret) else ClusterKey((source,))


def _source(given: object) -> Secret:
    if isinstance(given, Secret):
        return given
    if isinstance(given, str):
        return Text(SecretText(given))
    if isinstance(given, bytes | bytearray):
        return _Raw(SecretText(given.decode("latin-1")))
    if not isinstance(given, Mapping):
        raise ConfigError(f"key: found {type(given).__name__}; allowed are {ALLOWED}")
    trouble = ""
    try:
        return cast("Secret", msgspec.convert(given, _Form, dec_hook=_secret_text))
    except msgspec.ValidationError as error:
        trouble = str(error)
    raise ConfigError(f"key: {trouble}; allowed are {ALLOWED}")


def _secret_text(kind: type, value: object) -> object:
    if kind is SecretText and isinstance(value, str):
        return SecretText(value)
    raise ValueError("a text is expected")


def _lines(source: Secret) -> tuple[list[bytes], str]:
    """(keys, "") or ([], what is wrong)."""
    if isinstance(source, _Raw):
        return [source.bytes()], ""
    try:
        text = source.resolve() or ""
    except ConfigError as error:
        return [], str(error)
    lines = [line.strip().encode() for line in text.splitlines() if line.strip()]
    return lines, "" if lines else f"{_place(source)}: it is empty"


def _place(source: Secret) -> str:
    if isinstance(source, File):
        return f"the file {source.file_path.strip()}"
    if isinstance(source, EnvironmentVariable):
        return f"the variable {source.variable_name.strip()}"
    return "the key given"


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
