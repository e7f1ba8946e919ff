"""The certificates of a variant: read when a link connects, like secrets, so that new ones are picked up."""

from __future__ import annotations

import ssl

from bus.errors import ConfigError


def tls_context(
    tls_ca: str | None, tls_cert: str | None, tls_key: str | None, *, authorities: str | None = None
) -> ssl.SSLContext:
    """A client's context that verifies the server, from the files of these three fields.

    `authorities`: a folder with more authorities to trust. Blocks for up to 50 ms where those of the
    system are read: call it in a thread. Raises ConfigError naming the field and its file.
    """
    field, file = "tlsCa", tls_ca
    try:
        context = ssl.create_default_context(cafile=tls_ca, capath=authorities)
        if tls_cert is not None:
            field, file = "tlsCert, tlsKey", tls_cert
            # Without a password OpenSSL would ask the terminal for the one of an encrypted key.
            context.load_cert_chain(tls_cert, tls_key, password="")
    except OSError as error:
        raise ConfigError(f"{field}: {file}: {error.strerror or error}") from None
    return context
