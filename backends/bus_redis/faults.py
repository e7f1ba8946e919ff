"""What an error of Redis, of TLS or of the network means in the words of our configuration.

Only an operator can mend an AuthError, a TlsError, a ConfigError: they are fatal before the first READY
(rule 17). A server that is down, loading, full, or a replica for now is a LinkError, and tried again.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from bus.errors import AuthError, BusError, ConfigError, LinkError, TlsError

if TYPE_CHECKING:
    from bus_redis.access import Access
    from bus_redis.connection import Address


class Refusal(Exception):
    """An error as the server wrote it: a code, a blank, a sentence."""


class Late(LinkError):
    """No answer in time."""


def graver(one: BusError | None, other: BusError) -> BusError:
    """Of the errors of several servers: what an operator must mend says more than that one is down."""
    return other if one is None or isinstance(one, LinkError) else one


def explain(error: Exception, access: Access, address: Address) -> BusError:
    """What to raise instead of an error; itself if it is ours."""
    if isinstance(error, BusError):
        return error
    if isinstance(error, Refusal):
        return _of_server(str(error), access, address)
    if isinstance(error, ssl.SSLError):
        return _of_tls(error, access, address)
    # Without a number: TLS was cut off in its handshake.
    if isinstance(error, EOFError | ConnectionError) and not error.args:
        return LinkError(f"{address} closed the connection ({access.url_field})")
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, TimeoutError) and number is None:
        return Late(f"{address} does not answer in time (timeout, poolTimeoutCreate)")
    # asyncio words it differently; numbers below 0 are those of name resolution.
    reason = os.strerror(number) if number and number > 0 else getattr(error, "strerror", None) or str(error)
    return LinkError(f"{address}: {reason}. Is the server there, and {access.url_field} right?")


def plain_text(access: Access, address: Address) -> TlsError:
    """The server does not speak TLS."""
    return TlsError(
        f"{address} speaks plain text and {access.url_field} wants TLS: name the TLS port, or write redis://"
    )


def _of_tls(error: ssl.SSLError, access: Access, address: Address) -> BusError:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, how = error.verify_message, "tlsCa: the authority that signed it"
        if "mismatch" in reason:
            how = "tlsHostname: the name in it"
        elif "expired" in reason or "not yet valid" in reason:
            how = "renew it at the server, or mend the clock"
        return TlsError(f"the certificate of {address} is refused: {reason} ({how})")
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return plain_text(access, address)
    if "ALERT" in reason:
        return TlsError(f"{address} does not accept our side of TLS: {reason} (tlsCert, tlsKey)")
    return LinkError(f"{address}: TLS: {reason}")


def _of_server(text: str, access: Access, address: Address) -> BusError:
    said, user, code = f"{address} says: {text}", access.username, text.partition(" ")[0]
    if code == "NOPERM":
        return AuthError(
            f"{said}. User {user!r} ({access.login_fields}) needs our channel and some commands: "
            f"ACL SETUSER {user} &{access.context.channel} +@pubsub +ping (in a cluster +cluster)"
        )
    if code in ("WRONGPASS", "NOAUTH", "DENIED"):
        return AuthError(f"{said} ({access.login_fields})")
    if "cluster support disabled" in text:
        return ConfigError(f'{said}. Name nodes of a cluster in urls, or use "@type": "Redis"')
    if "DB index" in text or "SELECT" in text:
        return ConfigError(f"{said}: the path of {access.url_field} is the number of a database")
    if code == "NOPROTO" or "unknown command" in text.lower():
        return ConfigError(f"{said}: Redis 6, or any Valkey, is needed ({access.url_field})")
    return LinkError(said)
