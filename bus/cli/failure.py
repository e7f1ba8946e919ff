"""What went wrong, for people and for programs: one exception, and what each exit code means.

0 good · 1 something else · 2 usage · 3 the server cannot be reached · 4 refused by validation
5 not logged in, or not permitted · 6 somebody else changed it first · 7 the messaging system cannot be
used · 8 it took too long · 9 events were lost (`watch --fail-on-gap`) · 130 interrupted
"""

from __future__ import annotations

from collections.abc import Mapping

OTHER = 1
USAGE = 2
UNREACHABLE = 3
INVALID = 4
DENIED = 5
CONFLICT = 6
CONNECTION = 7
TIMEOUT = 8
LOST = 9
INTERRUPTED = 130
BROKEN_PIPE = 141


class Failure(Exception):
    """Ends the command. `kind` is the word for programs; no text holds a secret."""

    def __init__(
        self,
        code: int,
        kind: str,
        message: str,
        hint: str = "",
        properties: tuple[str, ...] = (),
        **more: object,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.message = message
        self.hint = hint
        self.properties = properties
        self.more = more

    def as_text(self) -> str:
        """For people."""
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def as_json(self) -> Mapping[str, object]:
        """For programs."""
        return {
            "type": self.kind,
            "message": self.message,
            "hint": self.hint,
            "properties": list(self.properties),
            **self.more,
        }


def usage(message: str, hint: str = "") -> Failure:
    """The command line itself is wrong."""
    return Failure(USAGE, "usage", message, hint)


def from_config_error(error: Exception) -> Failure:
    """Of a `bus.errors.ConfigError`: its problems become the properties."""
    problems: tuple[object, ...] = getattr(error, "problems", ())
    paths = [str(getattr(one, "path", "")) or "@type" for one in problems]
    return Failure(INVALID, "invalidConfiguration", str(error), properties=tuple(dict.fromkeys(paths)))
