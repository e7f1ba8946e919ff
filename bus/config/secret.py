"""Where a secret comes from: given directly, from an environment variable, or from a file.

A secret is resolved when a link connects, each time anew, so that a rotated password or a remounted
file is picked up (rule 17). Error texts name the variable or the path, never the content.
"""

from __future__ import annotations

import os
import stat
from typing import Annotated

import msgspec

from bus.config.redacted import MASK, SecretText, hide
from bus.config.uri import FILE_PATH, VARIABLE_NAME
from bus.errors import ConfigError

MAX_SECRET = 65_536


class Secret(msgspec.Struct, frozen=True, tag_field="@type", rename="camel", forbid_unknown_fields=True):
    """Base of the forms of a secret."""

    def resolve(self) -> str | None:
        """The secret now; None if there is none. Raises ConfigError when it cannot be had.

        Reads a variable or a file of at most 64 KiB; never talks to a network.
        """
        return None


class NoSecret(Secret, frozen=True, tag="None"):
    """There is no secret; resolves to None."""


class _GivenSecret(Secret, frozen=True):
    secret: Annotated[SecretText, msgspec.Meta(description="The secret itself.")]

    def __post_init__(self) -> None:
        hide(self, "secret", SecretText)

    def resolve(self) -> str:
        """The secret as it was given."""
        secret = self.secret.reveal()
        if not secret:
            raise ConfigError("the secret is empty")
        if secret == MASK:
            # Whoever stores a masked object and reads it back would log in with four asterisks.
            raise ConfigError(f'the secret is "{MASK}", the mask that hides one; give the real one')
        return secret


class Value(_GivenSecret, frozen=True, tag="Value"):
    """A password or key given in the configuration itself."""


class Text(_GivenSecret, frozen=True, tag="Text"):
    """A longer secret, possibly of several lines, given in the configuration itself."""


class EnvironmentVariable(Secret, frozen=True, tag="EnvironmentVariable"):
    """A secret in an environment variable of this process."""

    variable_name: Annotated[
        str, msgspec.Meta(description="Name of the variable.", extra={"format": VARIABLE_NAME})
    ]

    def resolve(self) -> str:
        """The variable's value now, unchanged. A missing or empty variable raises ConfigError."""
        name = self.variable_name.strip()
        value = os.environ.get(name, "")
        if value:
            return value
        state = "empty" if name in os.environ else "not set"
        raise ConfigError(f"secret from environment variable {name}: it is {state}; set it")


class File(Secret, frozen=True, tag="File"):
    """A secret in a file; one newline at its end is not part of it."""

    file_path: Annotated[str, msgspec.Meta(description="Path of the file.", extra={"format": FILE_PATH})]

    def resolve(self) -> str:
        """The file's UTF-8 text now. Missing, unreadable, empty or over 64 KiB: ConfigError."""
        path = self.file_path.strip()
        secret, trouble = _read_secret(path)
        # Raised out here: the exception of a decoder holds the content, and would be its context.
        if trouble:
            raise ConfigError(f"secret from file {path}: {trouble}")
        return secret


SecretKeyOptional = NoSecret | Value | EnvironmentVariable | File
SecretTextOptional = NoSecret | Text | EnvironmentVariable | File

NO_SECRET = NoSecret()


def _read_secret(path: str) -> tuple[str, str]:
    """(secret, "") or ("", what is wrong)."""
    try:
        content, mode = read_regular(path, MAX_SECRET)
    except OSError as exc:
        return "", exc.strerror or type(exc).__name__
    except ValueError as exc:
        return "", str(exc)
    try:
        secret = content.decode()
    except UnicodeDecodeError:
        return "", "it is not UTF-8 text"
    # Editors and `echo` end a file with one newline; any other blank may belong to the secret.
    secret = secret.removesuffix("\n").removesuffix("\r") if secret[-1:] == "\n" else secret
    if mode & 0o077:
        _warn_readable(path)
    return (secret, "") if secret else ("", "it is empty")


def read_regular(path: str, limit: int) -> tuple[bytes, int]:
    """Content and mode of a regular file. Raises OSError, or ValueError saying what is wrong.

    Not of anything else: opening a pipe or a terminal would wait for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("it is not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    return content, mode


_warned: set[str] = set()


def _warn_readable(path: str) -> None:
    """Once per path: a link that reconnects every second must not fill the log."""
    import logging

    if path in _warned:
        return
    # Before the line is written: a formatter that hides secrets reads them, and would come here for ever.
    _warned.add(path)
    logging.getLogger("bus.config").warning("secret file %s can be read by others; chmod 600 it", path)
