"""What went wrong: in words for an operator, and as the error that says whether it may pass (rule 17)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable

from bus.errors import AuthError, BusError, LinkError, TlsError

# The connection broke during the handshake: that is no verdict.
_BROKEN = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def refusal(text: str, channel: str, words: str) -> BusError:
    """What the server means by -ERR; `words` say who we said that we are."""
    low = text.lower()
    if "permissions violation" in low:
        verb = "publish" if "for publish" in low else "subscribe"
        return AuthError(
            f"the server does not let us {verb} to {channel!r}: permit this user to {verb} to it"
        )
    if re.search("authorization|expired|revoked", low):
        return AuthError(f"the server refuses {words} ({text[:100]})")
    if "tls required" in low:
        return TlsError("the server wants TLS: set useTls")
    return LinkError(f"the server says: {text[:100]}")


def explained(error: Exception, address: str, seconds: float, refuse: Callable[[str], BusError]) -> Exception:
    """Why `address` gave no connection, with the field to change; a bug of ours as it is."""
    found = _meaning(error, seconds, refuse)
    return error if found is None else type(found)(f"{address}: {found}")


def _meaning(error: Exception, seconds: float, refuse: Callable[[str], BusError]) -> Exception | None:
    from nats.errors import Error

    if isinstance(error, BusError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        field = "tlsHostname" if "mismatch" in error.verify_message else "tlsCa (and useTls)"
        return TlsError(f"the certificate of the server: {error.verify_message}; see {field}")
    if isinstance(error, ssl.SSLError) and not isinstance(error, _BROKEN):
        return TlsError(f"TLS: {error.reason}; does the server want another tlsCert?")
    if isinstance(error, TimeoutError):
        late = f"no answer within {seconds:g} s"
        return TimeoutError(
            f"{late}: no NATS server (check addresses), or a slow one (raise timeoutConnection)"
        )
    if isinstance(error, OSError):
        return LinkError(f"{error}: is it the right one of addresses, and is the server up?")
    if isinstance(error, Error) and "INFO" not in str(error).upper():
        return refuse(str(error).removeprefix("nats: ").strip("' "))
    if isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError):
        return LinkError(f"that cannot be a name of the network (addresses): {error}")
    if isinstance(error, Error | ValueError | TypeError | AttributeError | LookupError):
        return LinkError("what answers there is no NATS server: check the port in addresses")
    return None
