"""The variants without Redis: Disabled, Default, Memory, Kafka, Nats, Zenoh.

Names, defaults and limits of the fields are a contract with existing configurations, also where
they surprise (NATS at port 4444). Fields that are ours (security of Kafka, TLS files, `local` of
Zenoh) are optional and change nothing unless set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from bus.config.base import Coordinator, Url
from bus.config.duration import Duration
from bus.config.fields import (
    AuthUsername,
    Count,
    Limit,
    TlsCa,
    TlsCert,
    TlsHostname,
    TlsKey,
    is_set,
    tls_conflicts,
    user_and_secret,
)
from bus.config.problem import Problem, problem
from bus.config.redacted import Json5, hide
from bus.config.secret import NO_SECRET, SecretKeyOptional, SecretTextOptional
from bus.config.uri import Format, hosts_format, split_scheme, wrong_host
from bus.errors import ConfigError

BROKER = hosts_format("kafka-1:9092")
NATS_ADDRESS = hosts_format("nats-1:4222", ("nats", "tls"))


def _wrong_json5(text: str) -> str | None:
    from bus.config.json5 import starts_object  # its patterns take a while to compile

    return None if starts_object(text) else "it does not start with {"


JSON5_OBJECT = Format("an object in JSON5 syntax, for example \"{mode: 'peer'}\"", _wrong_json5)


class Disabled(Coordinator, frozen=True, kw_only=True):
    """No coordination: the bus runs, and has no peers."""


class Default(Coordinator, frozen=True, kw_only=True):
    """Reuse the Redis store that the application already has (`Bus.open(store=...)`)."""


class Memory(Coordinator, frozen=True, kw_only=True):
    """Joins the buses of one process that have the same cluster name; no server, no network."""

    url_schemes: ClassVar[tuple[str, ...]] = ("memory",)

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        if url.hosts or url.path or url.user is not None:
            raise ConfigError("memory:// takes no host, user or path: buses join by their cluster name")
        return {}


class Kafka(Coordinator, frozen=True, kw_only=True):
    """Apache Kafka, or what speaks its protocol. Every node hears every event."""

    url_schemes: ClassVar[tuple[str, ...]] = ("kafka",)
    # A URL is for a quick start.
    url_defaults: ClassVar[Mapping[str, object]] = {"groupId": "bus"}

    brokers: Annotated[
        tuple[Annotated[str, Meta(extra={"format": BROKER})], ...],
        Meta(min_length=1, description="Brokers to ask for the rest of the cluster."),
    ]
    group_id: Annotated[
        str,
        Meta(description="Prefix of the client names; there is no consumer group."),
    ]
    timeout_message: Annotated[
        Duration, Meta(description="How long one message may take to be acknowledged.")
    ] = Duration("5s")
    timeout_session: Annotated[
        Duration, Meta(description="Silence of a broker after which its link counts as dead.")
    ] = Duration("5s")
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
        Meta(description="Whether the listener wants TLS (SSL), a login (SASL), or both."),
    ] = "PLAINTEXT"
    sasl_mechanism: (
        Annotated[
            Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"],
            Meta(description="How to log in when securityProtocol is SASL_*."),
        ]
        | None
    ) = None
    auth_username: AuthUsername | None = None
    auth_secret: Annotated[SecretKeyOptional, Meta(description="Password, or the token of OAUTHBEARER.")] = (
        NO_SECRET
    )
    tls_ca: TlsCa | None = None
    tls_cert: TlsCert | None = None
    tls_key: TlsKey | None = None
    tls_hostname: TlsHostname | None = None

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        url.refuse_path()
        return {"brokers": list(url.hosts), **user_and_secret(url)}

    def conflicts(self) -> Iterable[Problem]:
        sasl = self.security_protocol.startswith("SASL_")
        by = ("securityProtocol",)
        if sasl and self.sasl_mechanism is None:
            yield problem(
                "saslMechanism",
                "conflict",
                f"is needed by securityProtocol {self.security_protocol}",
                allowed="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
                others=by,
            )
        if sasl and not is_set(self.auth_secret):
            yield problem(
                "authSecret",
                "conflict",
                f"is needed by securityProtocol {self.security_protocol}",
                allowed="Value, EnvironmentVariable, File",
                others=by,
            )
        if sasl and self.sasl_mechanism not in (None, "OAUTHBEARER") and not self.auth_username:
            yield problem(
                "authUsername",
                "conflict",
                f"is needed by {self.sasl_mechanism}",
                others=("saslMechanism", *by),
            )
        for name, given in (
            ("saslMechanism", self.sasl_mechanism is not None),
            ("authUsername", self.auth_username is not None),
            ("authSecret", is_set(self.auth_secret)),
        ):
            if given and not sasl:
                yield problem(
                    name,
                    "conflict",
                    f"has no effect with securityProtocol {self.security_protocol}",
                    hint="set securityProtocol to SASL_SSL or SASL_PLAINTEXT, and saslMechanism",
                    others=by,
                )
        yield from tls_conflicts(
            self,
            uses_tls=self.security_protocol.endswith("SSL"),
            how="securityProtocol SSL or SASL_SSL",
            by=by,
        )


class Nats(Coordinator, frozen=True, kw_only=True):
    """NATS (core, without JetStream)."""

    url_schemes: ClassVar[tuple[str, ...]] = ("nats", "tls")

    addresses: Annotated[
        tuple[Annotated[str, Meta(extra={"format": NATS_ADDRESS})], ...],
        Meta(min_length=1, description="Servers to try, in this order."),
    ] = ("127.0.0.1:4444",)
    max_reconnects: (
        Annotated[
            Count,
            Meta(description="Reconnects in a row that may fail before giving up; 0: none; null: no limit."),
        ]
        | None
    ) = None
    timeout_connection: Annotated[Duration, Meta(description="How long one attempt to connect may take.")] = (
        Duration("5s")
    )
    timeout_request: Annotated[Duration, Meta(description="How long an answer of the server may take.")] = (
        Duration("10s")
    )
    ping_interval: Annotated[Duration, Meta(description="Time between two pings on a quiet connection.")] = (
        Duration("1m")
    )
    capacity_client: Annotated[
        Limit, Meta(description="Outgoing operations that may wait in the client.")
    ] = 2048
    capacity_read_buffer: Annotated[
        Limit, Meta(description="Bytes of the buffer for incoming protocol messages.")
    ] = 65_535
    capacity_subscription: Annotated[
        Limit, Meta(description="Events that may wait for one subscriber before some are dropped.")
    ] = 65_536
    no_echo: Annotated[bool, Meta(description="The server does not send our own messages back to us.")] = True
    use_tls: Annotated[bool, Meta(description="Refuse a connection without TLS.")] = False
    auth_username: AuthUsername | None = "stalwart"
    auth_secret: Annotated[SecretKeyOptional, Meta(description="Password of authUsername.")] = NO_SECRET
    credentials: Annotated[
        SecretTextOptional,
        Meta(description="A token, or a JWT with its key, in place of a password."),
    ] = NO_SECRET
    tls_ca: TlsCa | None = None
    tls_cert: TlsCert | None = None
    tls_key: TlsKey | None = None
    tls_hostname: TlsHostname | None = None

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        url.refuse_path()
        fields: dict[str, object] = {"addresses": list(url.hosts)}
        if url.scheme == "tls":
            fields["useTls"] = True
        if url.user is not None and url.password is None:
            return {**fields, "credentials": {"@type": "Text", "secret": url.user}}
        return {**fields, **user_and_secret(url)}

    def conflicts(self) -> Iterable[Problem]:
        if is_set(self.credentials) and is_set(self.auth_secret):
            yield problem(
                "credentials",
                "conflict",
                "excludes authSecret: a server takes a token or a password, not both",
                hint="keep one of the two",
                others=("authSecret",),
            )
        elif is_set(self.auth_secret) and self.auth_username is None:
            yield problem("authUsername", "conflict", "is needed by authSecret", others=("authSecret",))
        uses_tls = self.use_tls or any(split_scheme(text)[0] == "tls" for text in self.addresses)
        yield from tls_conflicts(
            self, uses_tls=uses_tls, how="useTls or a tls:// address", by=("useTls", "addresses")
        )


class Zenoh(Coordinator, frozen=True, kw_only=True):
    """Eclipse Zenoh: peer to peer, or through routers."""

    url_schemes: ClassVar[tuple[str, ...]] = ("zenoh",)
    url_options: ClassVar[tuple[str, ...]] = ("mode",)

    config: Annotated[
        Json5,
        Meta(
            description="Configuration of the Zenoh session, in JSON5 as Zenoh defines it.",
            extra={"format": JSON5_OBJECT},
        ),
    ]
    local: Annotated[
        bool,
        Meta(description="Find the other processes of this user on this machine; no network."),
    ] = False

    def __post_init__(self) -> None:
        hide(self, "config", Json5)

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        url.refuse_path()
        mode = url.options.get("mode", "peer")
        if mode not in ("peer", "client"):
            raise ConfigError("mode is not valid; allowed: peer, client")
        if url.hosts:
            return {"config": _zenoh_config(mode, url)}
        if mode == "client" or url.user is not None:
            raise ConfigError("a client, and a login, need the router: zenoh://host:port")
        return {"config": '{mode:"peer"}', "local": True}


def _zenoh_config(mode: str, url: Url) -> str:
    """The JSON5 text that connects to the hosts of a URL, port 7447 where it has none."""
    import json

    for host in url.hosts:
        if trouble := wrong_host(host):
            raise ConfigError(f"a host is not valid: {trouble}")
    endpoints = [f"tcp/{host if _has_port(host) else host + ':7447'}" for host in url.hosts]
    text = f'mode:"{mode}",connect:{{endpoints:{json.dumps(endpoints)}}}'
    if url.user is None:
        return f"{{{text}}}"
    if not url.user or not url.password:
        raise ConfigError("a login for Zenoh needs both: zenoh://user:password@host:port")
    login = f"user:{json.dumps(url.user)},password:{json.dumps(url.password)}"
    return f"{{{text},transport:{{auth:{{usrpwd:{{{login}}}}}}}}}"


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
