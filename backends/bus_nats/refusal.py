"""What went wrong: in words for an operator, and as the error that says whether it may pass (rule 17)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable

from bus.errors import AuthError, BusError, LinkError, TlsError

# OpenSSL's numbers for what is wrong with a certificate.
_DATES = {9: "is not valid yet", 10: "has expired"}
_NAMES = (62, 64)
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
    """Why `address` gave no connection, with the field to change; our own bugs as they are."""
    from nats.errors import Error

    kind: type[Exception] = LinkError
    if isinstance(error, BusError):
        kind, text = type(error), str(error)
    elif isinstance(error, ssl.SSLCertVerificationError):
        kind, text = TlsError, _certificate(error)
    elif isinstance(error, ssl.SSLError) and not isinstance(error, _BROKEN):
        kind, text = TlsError, f"TLS: {error.reason}; a certificate may be wanted: tlsCert, tlsKey"
    elif isinstance(error, TimeoutError):
        kind, text = (
            TimeoutError,
            (
                f"no answer within {seconds:g} s: no NATS server (check addresses), or a slow one "
                "(raise timeoutConnection)"
            ),
        )
    elif isinstance(error, OSError):
        text = f"{error}: is it the right one of addresses, and is the server up?"
    elif isinstance(error, Error) and "INFO" not in str(error).upper():
        refused = refuse(str(error).removeprefix("nats: ").strip("' "))
        kind, text = type(refused), str(refused)
    elif isinstance(error, Error | ValueError | TypeError | AttributeError | LookupError):
        text = "what answers there is no NATS server: check the port in addresses"
    else:
        return error
    return kind(f"{address}: {text}")


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    code, said = error.verify_code, error.verify_message
    if code in _DATES:
        return f"the certificate of the server {_DATES[code]}"
    if code in _NAMES:
        return f"the certificate of the server is for another name: set tlsHostname ({said})"
    return f"the certificate of the server is signed by none that we trust: set tlsCa (and useTls) ({said})"
