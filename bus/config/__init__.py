"""The Coordinator configuration: its variants, and how they are read, checked, shown and stored.

    decode("nats://127.0.0.1:4222")     or a dict, JSON, a path (TOML, JSON, YAML), a variant
    encode(config)                      a JSON-able dict, secrets masked; reveal=True for storing
    config.auth_secret.resolve()        the secret itself, at connect time; None if there is none
    config.url.reveal()                 the real text of what is masked everywhere else

All problems of a source come at once, as `ConfigError.problems`. No network, no client library.
"""

from bus.config.base import Coordinator, Url, type_of
from bus.config.decode import VARIANTS, decode
from bus.config.duration import Duration
from bus.config.encode import encode, to_json
from bus.config.problem import Problem
from bus.config.redacted import Json5, SecretText, Uri
from bus.config.redis import Redis, RedisCluster, RedisSentinel
from bus.config.secret import (
    EnvironmentVariable,
    File,
    NoSecret,
    Secret,
    SecretKeyOptional,
    SecretTextOptional,
    Text,
    Value,
)
from bus.config.uri import Format
from bus.config.variants import Default, Disabled, Kafka, Memory, Nats, Zenoh

__all__ = [
    "VARIANTS",
    "Coordinator",
    "Default",
    "Disabled",
    "Duration",
    "EnvironmentVariable",
    "File",
    "Format",
    "Json5",
    "Kafka",
    "Memory",
    "Nats",
    "NoSecret",
    "Problem",
    "Redis",
    "RedisCluster",
    "RedisSentinel",
    "Secret",
    "SecretKeyOptional",
    "SecretText",
    "SecretTextOptional",
    "Text",
    "Uri",
    "Url",
    "Value",
    "Zenoh",
    "decode",
    "encode",
    "to_json",
    "type_of",
]
