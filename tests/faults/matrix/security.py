"""Cases 60-68: security."""

from __future__ import annotations

from tests.faults.matrix import Case, pending

CASES = {
    60: Case("wrong password, token, SASL at the start", "AuthError without the secret", pending("NRCK")),
    61: Case("password changed while connected", "recovers with the new one", pending("NRC")),
    62: Case("no permission for our channel", "AuthError that names it", pending("NRC")),
    63: Case("we demand TLS, the server is plain", "no byte of a credential leaves", pending("NRKZ")),
    64: Case("certificates that are not to be trusted", "TlsError with the reason", pending("NRKZ")),
    65: Case("certificate expires while connected", "TlsError at the reconnect", pending("NRKZ")),
    66: Case("close over TLS while the broker is frozen", "<= 2 s", pending("NRKZ")),
    67: Case("malformed credentials text", "ConfigError at once", pending("N")),
    68: Case("foreign Zenoh peer, wrong namespace, ACL", "no cross-talk", pending("Z")),
}
