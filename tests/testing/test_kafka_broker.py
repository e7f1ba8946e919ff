"""The Kafka of the tests: it starts, dies and comes back as asked, and its jars are fetched once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.testing.brokers import Broker, StartError, Unavailable
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.kafka import KafkaServer, Listener
from bus.testing.brokers.kafka_home import kafka_home, new_id
from bus.testing.brokers.process import accepts, until
from tests.backends.kafka_admin import Admin

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(kafka_server: Broker) -> KafkaServer:
    if not isinstance(kafka_server, KafkaServer):
        pytest.skip("needs a Kafka of our own")
    return kafka_server


async def test_restart_keeps_ports_and_data(server: KafkaServer) -> None:
    admin = Admin(server.port)
    topic = f"kept-{new_id()}"
    await admin.create(topic)
    await admin.append(topic, b"one", b"two")
    url, pid = server.url, server.processes[0].pid
    server.restart()
    assert (server.url, server.processes[0].pid == pid) == (url, False)
    assert await admin.end(topic) == 2
    assert "Kafka Server started" in server.logs()


def test_killed_server_refuses_and_comes_back(server: KafkaServer) -> None:
    server.kill()
    server.kill()
    assert not accepts("127.0.0.1", server.port)
    server.restart()
    assert accepts("127.0.0.1", server.port)


def test_frozen_server_does_not_answer_until_it_goes_on(server: KafkaServer) -> None:
    server.pause()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as one:
            # API 18, version 0, number 7, no name: what do you speak?
            one.sendall(bytes.fromhex("0000000a 0012 0000 00000007 ffff"))
            one.settimeout(0.3)
            with pytest.raises(TimeoutError):
                one.recv(4)
            server.resume()
            one.settimeout(5)
            assert len(one.recv(4)) == 4
            assert one.recv(4) == bytes.fromhex("00000007")
    finally:
        server.resume()


def test_server_that_does_not_start_says_why(broker_of: BrokerFactory, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"num\.io\.threads"):
        broker_of(KafkaServer, tmp_path, options={"num.io.threads": 0})
    assert list(tmp_path.iterdir()) == []


def test_server_whose_port_is_taken_is_not_taken_for_the_one_that_has_it(broker_of: BrokerFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port: int = other.getsockname()[1]
        taken = {"PLAINTEXT": Listener("PLAINTEXT", port=port)}
        with pytest.raises(StartError, match="Address already in use"):
            broker_of(KafkaServer, listeners=taken)


# A Maven that takes its time and writes one jar where it is told to.
MAVEN = """#!/bin/sh
echo run >>{log}
for word; do case $word in -DoutputDirectory=*) out=${{word#*=}};; esac; done
mkdir -p $out; {then}
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A PATH with nothing but what the test puts there, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "sleep", "touch"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BUS_TEST_KAFKA_HOME", raising=False)
    kafka_home.cache_clear()
    yield folder
    kafka_home.cache_clear()


def put(tools: Path, name: str, script: str) -> None:
    (tools / name).write_text(script)
    (tools / name).chmod(0o755)


def maven(tools: Path, then: str) -> Path:
    """Put a Maven into the PATH; gives the file where it counts its runs."""
    log = tools.parent / "maven.log"
    put(tools, "mvn", MAVEN.format(log=log, then=then))
    # It only has to be there: no broker is started with it.
    put(tools, "java", "#!/bin/sh\nexit 1\n")
    return log


def cached(tools: Path) -> list[str]:
    return sorted(path.name for path in (tools.parent / "cache" / "coordinator-bus").iterdir())


def test_without_java_it_says_what_to_install(tools: Path) -> None:
    with pytest.raises(Unavailable, match=r"BUS_TEST_KAFKA_URL.*BUS_TEST_KAFKA_HOME.*apt-get install.*maven"):
        kafka_home()


def test_home_of_the_environment_needs_no_maven(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools.parent / "kafka" / "libs").mkdir(parents=True)
    (tools.parent / "kafka" / "libs" / "kafka_2.13-4.9.9.jar").touch()
    put(tools, "java", "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("BUS_TEST_KAFKA_HOME", str(tools.parent / "kafka"))
    command = kafka_home().command("kafka.Kafka", "x.properties")
    assert str(tools.parent / "kafka/libs/kafka_2.13-4.9.9.jar") in map(str, command)
    assert command[-2:] == ["kafka.Kafka", "x.properties"]


def test_maven_that_fails_leaves_nothing_and_is_told(tools: Path) -> None:
    maven(tools, "echo no route to the repository; exit 1")
    with pytest.raises(Unavailable, match="no route to the repository"):
        kafka_home()
    assert cached(tools) == ["kafka-4.3.1.lock"]


FETCH = "from bus.testing.brokers.kafka_home import kafka_home; print(kafka_home().folder)"


def fetching() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_two_workers_fetch_once(tools: Path) -> None:
    log = maven(tools, "sleep 0.5; touch $out/kafka_2.13.jar")
    folder = tools.parent / "cache" / "coordinator-bus" / "kafka-4.3.1"
    workers = [fetching() for _ in range(2)]
    assert [worker.communicate(timeout=30)[0].strip() for worker in workers] == [str(folder)] * 2
    assert log.read_text() == "run\n"
    assert cached(tools) == ["kafka-4.3.1", "kafka-4.3.1.lock"]


def test_fetch_that_was_killed_half_way_is_done_again(tools: Path) -> None:
    log = maven(tools, "touch $out/kafka_2.13.jar; sleep 60")
    worker = fetching()
    until(log.exists, 20, lambda: "Maven was not run")
    time.sleep(0.2)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate(timeout=30)
    maven(tools, "touch $out/kafka_2.13.jar $out/whole.jar")
    assert (kafka_home().folder / "libs" / "whole.jar").exists()
