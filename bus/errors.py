"""Every exception of the bus, sorted by who must act.

    BusError
      ConfigError             the operator, now: a bad field, a missing package, the wrong event
      loop
        AuthError             ... wrong or missing credentials or permissions
        TlsError              ... certificate, host name, plain-text server
      LinkError               nobody: the supervisor is on it (status and log only, never raised to
      users) UsageError              the caller: a bug in the calling code
        Closed                ... the bus or the subscription is closed
        TooLarge              ... the encoded event is over the limit
        UnknownEventType      ... no tag, an inherited tag, a tag used twice, a reserved tag
        WrongThread           ... publish() outside the thread of the bus
        Forked                ... the bus was opened before os.fork()

Loss is not an exception: it is a value in the stream (`bus.signals`).
"""

from __future__ import annotations

import enum


class BusError(Exception):
    """Base of everything that the bus raises, but for the builtin `TimeoutError` of `ready` and `flush`."""


class ConfigError(BusError):
    """The configuration cannot work; the text says what was found, what is allowed and how to fix
    it.

    `problems` holds one entry per wrong field (`bus.config.Problem`) when the object itself is
    wrong.
    """

    def __init__(self, text: str, problems: tuple[object, ...] = ()) -> None:
        super().__init__(text)
        self.problems = problems


class AuthError(ConfigError):
    """The server refused our credentials, or they do not permit our channel."""


class TlsError(ConfigError):
    """The TLS handshake failed: unknown CA, wrong host name, expired, or a plain-text server."""


class LinkError(BusError):
    """A link was lost or could not be made; backends raise it, the supervisor handles it."""


class UsageError(BusError):
    """The calling code did something that can never work."""


class Closed(UsageError):
    """The bus or the subscription is closed."""


class TooLarge(UsageError):
    """The encoded event is larger than `Limits.event`; nothing was published."""


class UnknownEventType(UsageError):
    """The class is no usable event type: its tag is missing, inherited, reserved or taken."""


class WrongThread(UsageError):
    """Called outside the thread that runs the bus; use `publish_from_thread()`."""


class Forked(UsageError):
    """The bus was opened in the parent process; open a new one after the fork."""


class Fault(enum.Enum):
    """What a backend makes of an exception (`Backend.classify`): decides between FATAL and trying again."""

    CONFIG = "config"
    AUTH = "auth"
    TLS = "tls"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"

    @property
    def is_fatal(self) -> bool:
        """Only an operator can mend it (rule 17)."""
        return self in (Fault.CONFIG, Fault.AUTH, Fault.TLS)
