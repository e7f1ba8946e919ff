"""A small certificate authority for tests: good certificates, and each kind of bad one, as PEM files.

    certificates = Certificates(folder)
    NatsServer(tls=certificates.server)         # a server that proves to be 127.0.0.1, ::1 and localhost
    certificates.client.certificate             # what a client shows; `.key` and `.ca` beside it

Keys are elliptic (quick to make) and written as PKCS#8, the one form that Kafka's PEM reader takes too.
Needs the package cryptography. Nothing here is fit for anything but tests: keys have no password.
"""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bus.testing.brokers.broker import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """The files that prove who one party is, and the authority that signed them."""

    certificate: Path
    key: Path
    # Key and certificate in one file, as Kafka's PEM key store wants them.
    both: Path
    # What the other side has to trust.
    ca: Path


class Certificates:
    """Certificates in `folder`, made when first asked for.

    Raises Unavailable when the package cryptography is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("cryptography") is None:
            raise Unavailable("certificates for tests: pip install 'coordinator-bus[testing]'")
        self._folder = folder
        self._authority = _Authority("Tests")

    @cached_property
    def ca(self) -> Path:
        """The authority behind all of these except `foreign`."""
        return self._authority.write(self._folder)

    @cached_property
    def other_ca(self) -> Path:
        """An authority that signed nothing here: whoever trusts only this one trusts no server."""
        return _Authority("Others").write(self._folder)

    @cached_property
    def server(self) -> Identity:
        """Good for 127.0.0.1, ::1 and localhost."""
        return self._identity("server")

    @cached_property
    def client(self) -> Identity:
        """Good for a client; its common name is `client`."""
        return self._identity("client")

    @cached_property
    def expired(self) -> Identity:
        """A server's, good until yesterday."""
        return self._identity("expired", days=-1)

    @cached_property
    def wrong_host(self) -> Identity:
        """A server's, for other.test only."""
        return self._identity("wrong-host", hosts=("other.test",))

    @cached_property
    def foreign(self) -> Identity:
        """A server's or client's, signed by an authority that nobody knows."""
        return self._identity("foreign", authority=_Authority("Foreign"))

    def short_lived(self, seconds: float) -> Identity:
        """A server's, good for so long from now (rounded up to whole seconds)."""
        return self._identity("short-lived", days=seconds / _DAY.total_seconds())

    def _identity(
        self,
        name: str,
        *,
        days: float = 30,
        hosts: tuple[str, ...] = ("127.0.0.1", "::1", "localhost"),
        authority: _Authority | None = None,
    ) -> Identity:
        signed_by = authority or self._authority
        return signed_by.sign(self._folder, name, days=days, hosts=hosts)


class _Authority:
    """One key that signs."""

    def __init__(self, name: str) -> None:
        from cryptography import x509

        self._key = _new_key()
        self._name = _called(f"{name} authority")
        self._file = f"{name.lower()}-ca.pem"
        self._certificate = (
            _builder(self._name, self._name, self._key, days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, _sha256())
        )

    def write(self, folder: Path) -> Path:
        """The certificate of the authority, as a file."""
        return _written(folder / self._file, _pem(self._certificate))

    def sign(self, folder: Path, name: str, *, days: float, hosts: tuple[str, ...]) -> Identity:
        """A new key and its certificate, as files."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = _new_key()
        both_ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = _pem(
            _builder(_called(name), self._name, key, days=days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(both_ends, critical=False)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, _sha256())
        )
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Identity(
            certificate=_written(folder / f"{name}.pem", certificate),
            key=_written(folder / f"{name}.key", secret),
            both=_written(folder / f"{name}-both.pem", secret + certificate),
            ca=self.write(folder),
        )


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _called(name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, *, days: float
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + days * _DAY + datetime.timedelta(seconds=1))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _sha256() -> SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)
    return path
