"""Field types and rules that several variants share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Protocol

from msgspec import Meta

from bus.config.problem import Problem, problem
from bus.config.secret import NoSecret, Secret
from bus.config.uri import FILE_PATH

if TYPE_CHECKING:
    from bus.config.base import Url

# Whole numbers stay exact in the JSON of every language.
_MOST = 2**53 - 1
Count = Annotated[int, Meta(ge=0, le=_MOST)]
Limit = Annotated[int, Meta(ge=1, le=_MOST)]

AuthUsername = Annotated[str, Meta(description="User name; used only together with a secret. null: none.")]
TlsCa = Annotated[
    str,
    Meta(
        description="File (PEM) with the authorities to trust; null: those of the machine.",
        extra={"format": FILE_PATH},
    ),
]
TlsCert = Annotated[
    str,
    Meta(
        description="File (PEM) with our certificate, if the server wants one.",
        extra={"format": FILE_PATH},
    ),
]
TlsKey = Annotated[
    str,
    Meta(
        description="File (PEM) with the key of tlsCert; null: it is in the file of tlsCert.",
        extra={"format": FILE_PATH},
    ),
]
TlsHostname = Annotated[
    str, Meta(description="Name to expect in the server's certificate; null: the host's name.")
]


class _Tls(Protocol):
    @property
    def tls_ca(self) -> str | None: ...
    @property
    def tls_cert(self) -> str | None: ...
    @property
    def tls_key(self) -> str | None: ...
    @property
    def tls_hostname(self) -> str | None: ...


def tls_conflicts(config: _Tls, *, uses_tls: bool, how: str, by: tuple[str, ...]) -> Iterator[Problem]:
    """TLS settings need TLS, and a key its certificate; `how` and `by` say what switches TLS on."""
    for name, value in (
        ("tlsCa", config.tls_ca),
        ("tlsCert", config.tls_cert),
        ("tlsKey", config.tls_key),
        ("tlsHostname", config.tls_hostname),
    ):
        # Silence would let an operator believe that the connection is encrypted.
        if value is not None and not uses_tls:
            yield problem(name, "conflict", "has no effect without TLS", hint=f"set {how}", others=by)
    if config.tls_key is not None and config.tls_cert is None:
        yield problem("tlsCert", "conflict", "is needed by tlsKey", others=("tlsKey",))


def is_set(secret: Secret) -> bool:
    """Whether there is a secret at all."""
    return not isinstance(secret, NoSecret)


def user_and_secret(url: Url) -> dict[str, object]:
    """authUsername and authSecret of a URL's userinfo; nothing if it has none."""
    if url.user is None:
        return {}
    fields: dict[str, object] = {"authUsername": url.user or None}
    if url.password is not None:
        fields["authSecret"] = {"@type": "Value", "secret": url.password}
    return fields
