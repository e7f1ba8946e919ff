"""The brokers as pytest fixtures; an application gets them with `bus.testing.plugin`.

    def test_it(nats_server: Broker): ...                   # one for the session, started when first wanted

    def test_more(broker_of: BrokerFactory):
        server = broker_of("redis")                         # one for this test
        secured = broker_of(NatsServer, auth="token")       # with options

Where a broker is not to be had the test is skipped with the reason; where the variable CI is set it fails,
since nobody reads there what was skipped. Each xdist worker has its own brokers. Those of the session may be
killed and frozen: they are mended at the end of each test that used them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar, overload

import pytest

from bus.testing.brokers import start, start_own
from bus.testing.brokers.broker import Broker, Unavailable
from bus.testing.brokers.containers import ContainerBroker
from bus.testing.brokers.local import LocalBroker

P = ParamSpec("P")
B = TypeVar("B", bound=Broker)

# Fixture name -> what runs for the session.
_of_session: dict[str, Broker] = {}


def _session(kind: str, fixture: str) -> Iterator[Broker]:
    with to_be_had():
        broker = start(kind)
    if isinstance(broker, LocalBroker | ContainerBroker):
        broker.keep()
    _of_session[fixture] = broker
    yield broker
    del _of_session[fixture]
    broker.stop()


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Broker]:
    """A NATS server."""
    yield from _session("nats", "nats_server")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Broker]:
    """A Redis server."""
    yield from _session("redis", "redis_server")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Broker]:
    """A Valkey server."""
    yield from _session("valkey", "valkey_server")


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Broker]:
    """A Redis cluster of three masters and three replicas."""
    yield from _session("redis-cluster", "redis_cluster")


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[Broker]:
    """A Redis master, two replicas and three sentinels."""
    yield from _session("redis-sentinel", "redis_sentinel")


@pytest.fixture(scope="session")
def zenoh_router() -> Iterator[Broker]:
    """A Zenoh router; the URL is for its clients."""
    yield from _session("zenoh", "zenoh_router")


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[Broker]:
    """An Apache Kafka of one node."""
    yield from _session("kafka", "kafka_server")


class BrokerFactory:
    """Makes brokers for one test, by kind or by class; never those of the environment: they can be killed."""

    def __init__(self) -> None:
        self._made = ExitStack()

    @overload
    def __call__(self, what: str, /) -> Broker: ...
    @overload
    def __call__(self, what: Callable[P, B], /, *args: P.args, **options: P.kwargs) -> B: ...
    def __call__(self, what: str | Callable[..., Broker], /, *args: object, **options: object) -> Broker:
        """A broker that runs, stopped at the end of the test; without one the test is skipped or fails."""
        with to_be_had():
            broker = start_own(what) if isinstance(what, str) else what(*args, **options)
        self._made.callback(broker.stop)
        return broker

    def stop(self) -> None:
        """Stop all that were made."""
        self._made.close()


@pytest.fixture
def broker_of() -> Iterator[BrokerFactory]:
    """`broker_of("redis")`, `broker_of(RedisServer, password="secret")`: for this test alone."""
    factory = BrokerFactory()
    yield factory
    factory.stop()


@contextmanager
def to_be_had() -> Generator[None]:
    """What is Unavailable skips the test, and fails it in CI."""
    try:
        yield
    except Unavailable as error:
        reason = str(error)
    else:
        return
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Mend what the test has used, after its own fixtures have done with it."""
    try:
        return (yield)
    finally:
        for name in getattr(item, "fixturenames", ()):
            if broker := _of_session.get(name):
                broker.mend()
