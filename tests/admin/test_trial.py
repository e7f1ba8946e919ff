"""The trial connection: it proves what a link would prove, says how far it came, and leaves nothing."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from bus import Bus
from bus.backend import Fault, Features
from bus.config import (
    Coordinator,
    Disabled,
    EnvironmentVariable,
    File,
    Kafka,
    Memory,
    Nats,
    Redis,
    RedisCluster,
    Text,
    Uri,
    Value,
    Zenoh,
    decode,
)
from bus.errors import AuthError, ConfigError, LinkError, TlsError
from bus.isolation import current_loop
from bus.testing.brokers import Broker, Certificates, NatsServer, RedisServer, free_port
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.conformance.footprint import descriptors
from bus.testing.fake import FakeSystem, hangs, ignores_cancel, raises
from bus.trial import Stage, TrialFailed, budget, scrubbed, trial
from tests.admin.kit import until
from tests.bus.cluster import cluster_name

CHANNEL = "bus.trial"
ECHO, SERVER, PEERS = Features(proof="echo"), Features(proof="server"), Features(proof="peers")
CONFIRMING = Features(proof="server", confirms=True)


async def prove(coordinator: Coordinator, timeout: float = 5.0) -> None:
    await trial(current_loop(), coordinator, node="n", channel=CHANNEL, timeout=timeout)


async def failing(coordinator: Coordinator, timeout: float = 5.0) -> TrialFailed:
    with pytest.raises(TrialFailed) as caught:
        await prove(coordinator, timeout)
    assert caught.value.__context__ is None  # the library's exception may quote anything
    return caught.value


@pytest.mark.parametrize("features", [ECHO, SERVER, PEERS, CONFIRMING], ids=str)
async def test_a_system_that_works_passes(features: Features) -> None:
    with FakeSystem(features=features) as system:
        await prove(system.coordinator)
        (attempt,) = system.attempts
        assert attempt.link.calls[-2:] == ["close", "abort"]
        assert not system.links
        # Only what echoes, or says whether it took something, is sent anything.
        assert bool(attempt.link.sent) == (features in (ECHO, CONFIRMING))


async def test_disabled_and_memory_pass() -> None:
    await prove(Disabled())
    await prove(Memory())


@pytest.mark.parametrize("features", [ECHO, SERVER, CONFIRMING], ids=str)
async def test_a_silent_system_fails_at_the_probe_in_time(features: Features) -> None:
    with FakeSystem(features=features, is_silent=True) as system:
        before = asyncio.get_running_loop().time()
        error = await failing(system.coordinator, 0.7)
        assert 0.7 <= asyncio.get_running_loop().time() - before < 2
        assert (error.stage, error.fault) == ("probe", Fault.TIMEOUT)
        assert error.hint
        assert not system.links


FAULTS: list[tuple[Exception, Stage, Fault | None]] = [
    (OSError("refused"), "connect", Fault.UNREACHABLE),
    (LinkError("gone"), "connect", Fault.UNREACHABLE),
    (AuthError("wrong password"), "auth", Fault.AUTH),
    (AuthError(f"may not subscribe to {CHANNEL}"), "subscribe", Fault.AUTH),
    (ConfigError(f"the topic {CHANNEL} is missing"), "subscribe", Fault.CONFIG),
    (ConfigError("nothing works"), "connect", Fault.CONFIG),
    (TlsError("expired"), "connect", Fault.TLS),
    (PermissionError("who are you"), "auth", Fault.AUTH),
    (RuntimeError("a bug of the library"), "connect", None),
]


@pytest.mark.parametrize(("error", "stage", "fault"), FAULTS, ids=str)
async def test_what_connect_raises_says_the_stage(
    error: Exception, stage: Stage, fault: Fault | None
) -> None:
    with FakeSystem(connect=[raises(error)], faults={PermissionError: Fault.AUTH}) as system:
        failed = await failing(system.coordinator)
    assert (failed.stage, failed.fault) == (stage, fault)
    assert str(error) in str(failed)


async def test_a_link_that_breaks_while_it_is_tried() -> None:
    lost = [raises(LinkError("closed by the server"))]
    with FakeSystem(run=lost, is_silent=True) as system:
        error = await failing(system.coordinator)
        assert (error.stage, str(error)) == ("probe", "closed by the server")
    with FakeSystem(send=[raises(AuthError(f"may not publish on {CHANNEL}"))]) as system:
        assert (await failing(system.coordinator)).stage == "subscribe"
        assert not system.links


@pytest.mark.parametrize("step", [hangs, ignores_cancel])
async def test_a_call_that_hangs_is_given_up(step: Any) -> None:
    scripts: list[dict[str, Any]] = [{"connect": [step]}, {"send": [step]}, {"close": [step], "run": [step]}]
    for script in scripts:
        with FakeSystem(**script) as system:
            before = asyncio.get_running_loop().time()
            if "close" in script:
                await prove(system.coordinator, 0.5)
            else:
                assert (await failing(system.coordinator, 0.5)).fault is Fault.TIMEOUT
            assert asyncio.get_running_loop().time() - before < 5
            assert not system.links


async def test_a_cancelled_trial_leaves_nothing() -> None:
    scripts: list[dict[str, Any]] = [{"connect": [hangs]}, {"send": [hangs]}]
    for script in scripts:
        with FakeSystem(**script) as system:
            task = asyncio.create_task(prove(system.coordinator))
            await until(lambda: system.attempts)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert not system.links


async def test_peers_do_not_take_the_trial_for_a_node() -> None:
    """It uses the channel of the bus; who is there neither meets it nor counts it as garbage."""
    cluster = cluster_name()
    async with (
        Bus.open("memory://", node="a", cluster=cluster) as a,
        Bus.open("memory://", node="b", cluster=cluster) as b,
    ):
        await a.ready(peers=1)
        for _ in range(3):
            await trial(current_loop(), Memory(), node="a", channel=f"bus.{cluster}", timeout=2)
        await asyncio.sleep(0.1)
        for bus in (a, b):
            assert len(bus.status().peers) == 1
            refused = bus._node.engine.refused  # pyright: ignore[reportPrivateUsage]  # what doctor will show
            assert {reason for reason, count in refused.items() if count} <= {"own"}


async def test_secrets_are_resolved_first(tmp_path: Path) -> None:
    for secret, said in (
        (EnvironmentVariable("BUS_NO_SUCH_VARIABLE"), "not set"),
        (File(str(tmp_path / "nothing")), "No such file"),
        (File(str(tmp_path)), "directory"),
    ):
        error = await failing(Nats(addresses=("127.0.0.1:1",), auth_secret=secret))
        assert error.stage == "resolve"
        assert said in str(error)
        assert error.hint


async def test_what_the_backend_refuses_is_said_at_resolve() -> None:
    error = await failing(Zenoh(config='{mode: "pear"}'))
    assert (error.stage, error.fault) == ("resolve", Fault.CONFIG)


# -- real servers ----------------------------------------------------------------------------------


async def test_nobody_listens_there() -> None:
    port = free_port()
    for config in (
        Nats(addresses=(f"127.0.0.1:{port}",)),
        Redis(url=f"redis://127.0.0.1:{port}"),
        RedisCluster(urls=(Uri(f"redis://127.0.0.1:{port}"),)),
        Zenoh(config=f'{{mode:"client",connect:{{endpoints:["tcp/127.0.0.1:{port}"],timeout_ms:500}}}}'),
    ):
        error = await failing(config)
        assert error.stage == "connect", config
        assert error.fault in (Fault.UNREACHABLE, Fault.TIMEOUT)


async def test_something_else_listens_there() -> None:
    """The system accepts the connection, and nobody says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for config in (Nats(addresses=(f"127.0.0.1:{port}",)), Redis(url=f"redis://127.0.0.1:{port}")):
            before = asyncio.get_running_loop().time()
            error = await failing(config, 1.0)
            assert asyncio.get_running_loop().time() - before < 3
            assert error.stage == "connect"
            assert error.fault in (Fault.TIMEOUT, Fault.UNREACHABLE)


SERVERS = ["nats_server", "redis_cluster", "redis_sentinel", "zenoh_router", "kafka_server"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("server", SERVERS)
async def test_a_real_server_passes_and_nothing_is_left(server: str, request: pytest.FixtureRequest) -> None:
    broker: Broker = await asyncio.to_thread(request.getfixturevalue, server)
    await prove(decode(broker.url), 15)
    before = descriptors()
    await prove(decode(broker.url), 15)
    await until(lambda: not descriptors() - before, "closing")


async def test_nats(broker_of: BrokerFactory, nats_server: Broker) -> None:
    before = descriptors()
    for echo in (True, False):
        await prove(decode({"@type": "Nats", "addresses": [nats_server.url], "noEcho": echo}))
    await until(lambda: not descriptors() - before)
    server = await asyncio.to_thread(
        broker_of, NatsServer, auth="password", permissions={"publish": ["bus.>"], "subscribe": ["bus.t.>"]}
    )
    host = server.address.rpartition("/")[2]
    error = await failing(Nats(addresses=(host,), auth_username="bus", auth_secret=Value("wr0ng")))
    assert (error.stage, error.fault) == ("auth", Fault.AUTH)
    assert "wr0ng" not in str(error)
    assert (await failing(Nats(addresses=(host,)))).stage == "auth"
    error = await failing(Nats(addresses=(host,), auth_username="bus", auth_secret=Value(server.password)))
    assert (error.stage, error.fault) == ("subscribe", Fault.AUTH)
    assert CHANNEL in str(error)


async def test_nats_may_listen_but_not_speak(broker_of: BrokerFactory) -> None:
    server = await asyncio.to_thread(
        broker_of, NatsServer, auth="password", permissions={"publish": ["other"], "subscribe": ["bus.>"]}
    )
    host = server.address.rpartition("/")[2]
    error = await failing(Nats(addresses=(host,), auth_username="bus", auth_secret=Value(server.password)))
    assert (error.stage, error.fault) == ("subscribe", Fault.AUTH)


async def test_nats_tls(broker_of: BrokerFactory, certificates: Certificates) -> None:
    server = await asyncio.to_thread(broker_of, NatsServer, tls=certificates.server)
    await prove(Nats(addresses=(server.url,), tls_ca=str(certificates.ca)))
    error = await failing(Nats(addresses=(server.url,), tls_ca=str(certificates.other_ca)))
    assert (error.stage, error.fault) == ("connect", Fault.TLS)
    assert "tlsCa" in error.hint


async def test_redis(broker_of: BrokerFactory, redis_server: Broker) -> None:
    before = descriptors()
    await prove(Redis(url=redis_server.url))
    await until(lambda: not descriptors() - before)
    server = await asyncio.to_thread(
        broker_of, RedisServer, password="s3cr3t", users={"mute": "on >pw1234 &other +@all"}
    )
    await prove(Redis(url=server.url))
    error = await failing(Redis(url=server.url.replace("s3cr3t", "wr0ng")))
    assert (error.stage, error.fault) == ("auth", Fault.AUTH)
    assert "wr0ng" not in str(error)
    error = await failing(Redis(url=server.url_of("mute", "pw1234")))
    assert (error.stage, error.fault) == ("subscribe", Fault.AUTH)
    assert "pw1234" not in str(error)


# -- budget and secrets in texts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        (Nats(), 15.0),
        (decode("nats://h?timeoutConnection=1s&timeoutRequest=2s"), 3.0),
        (Redis(), 10.0),
        (decode("redis://h?timeout=250ms"), 0.25),
        (decode("redis://h?timeout=1h"), 15.0),
        (Kafka(brokers=("h:1",), group_id="g"), 10.0),
        (Memory(), 10.0),
    ],
    ids=str,
)
def test_the_budget_is_what_the_configuration_says(config: Coordinator, seconds: float) -> None:
    assert budget(config) == seconds


def test_a_text_about_a_configuration_has_none_of_its_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pw").write_text("c4n4ry\n")
    monkeypatch.setenv("NATS_CANARY", "c4n4ry")
    for config in (
        Nats(auth_secret=Value("c4n4ry")),
        Nats(credentials=Text("c4n4ry")),
        Nats(auth_secret=EnvironmentVariable("NATS_CANARY")),
        Nats(auth_secret=File(str(tmp_path / "pw"))),
        Redis(url="redis://u:c4n4ry@h"),
        Redis(url="redis://u:%63%34n4ry@h"),
        Redis(url="redis://h?password=c4n4ry"),
        Redis(url="redis://c4n4ry@h"),
        RedisCluster(urls=(Uri("redis://h"), Uri("redis://:c4n4ry@i"))),
        Zenoh(config="{transport:{auth:{usrpwd:{user:'u',password:'c4n4ry'}}}}"),
    ):
        text = scrubbed("login of u at h with c4n4ry failed", config)
        assert text == "login of u at h with **** failed", config
    gone = Nats(auth_secret=File(str(tmp_path / "nothing")))
    assert scrubbed("h: refused", gone) == "h: refused"
