"""The Apache Kafka of this machine: its jars, and how to run their programs.

It lies in the folder that `BUS_TEST_KAFKA_HOME` names (an unpacked Kafka, with its jars in `libs`), else in
the user's cache. When there are none, Maven fetches them, once; then one throwaway broker teaches the JVM
which classes it will need (class data sharing: a start takes two thirds of the time, and half of the work).
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from bus.testing.brokers.broker import Unavailable
from bus.testing.brokers.process import Process, StartError, accepts, free_port, until

VERSION = "4.3.1"
VARIABLE = "BUS_TEST_KAFKA_HOME"
HOW = (
    f"set BUS_TEST_KAFKA_URL to a server, or {VARIABLE} to an unpacked Kafka, or install Java 17 and Maven "
    "(apt-get install openjdk-17-jre-headless maven), which fetches it"
)

_HERE = Path(__file__).parent
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.11.0:copy-dependencies"
_FETCH_TIMEOUT = 300.0
# Quick to start, small, and content with one core.
_FLAGS = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Xlog:disable",
)
_ARCHIVE = "classes.jsa"


class KafkaHome:
    """A folder with Kafka's jars. Raises Unavailable when there is no Java."""

    def __init__(self, folder: Path) -> None:
        java = shutil.which("java")
        if java is None:
            raise Unavailable(f"kafka: there is no java: {HOW}")
        self.folder = folder
        self._java = java
        # Spelled out and sorted: the archive of classes holds for exactly this list.
        self._classes = ":".join(str(jar) for jar in sorted((folder / "libs").glob("*.jar")))

    def command(self, program: str, *words: str | Path, flags: Sequence[str] = ()) -> list[str | Path]:
        """The command line of one of Kafka's programs, a Java class."""
        archive = self.folder / _ARCHIVE
        shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() and not flags else flags
        logging = f"-Dlog4j2.configurationFile={_HERE / 'kafka_log4j2.xml'}"
        return [self._java, *_FLAGS, *shared, logging, "-cp", self._classes, program, *words]

    def format(self, config: Path, cluster: str, users: Mapping[str, str]) -> None:
        """Make the data folder of a server, with the SCRAM credentials of its users. Raises StartError."""
        scram = [
            f"--add-scram={mechanism}=[name={user},password={password}]"
            for user, password in users.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        words: list[str | Path] = ["format", "--cluster-id", cluster, "--config", config, *scram]
        done = subprocess.run(
            self.command("kafka.tools.StorageTool", *words),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise StartError(
                f"the Kafka data folder could not be made:\n{done.stdout[-1000:]}{done.stderr[-1000:]}"
            )


@cache
def kafka_home() -> KafkaHome:
    """Where Kafka is; fetched first if need be (half a minute, and 60 MB, once per machine and user).

    Raises Unavailable, which says what to install.
    """
    folder = Path(os.environ.get(VARIABLE) or _cache() / f"kafka-{VERSION}").absolute()
    if not _has_jars(folder):
        with _lock(folder):
            if not _has_jars(folder):
                _fetch(folder)
    return KafkaHome(folder)


def new_id() -> str:
    """An identifier in Kafka's own form; its command line takes none that begins with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coordinator-bus"


def _has_jars(folder: Path) -> bool:
    return any((folder / "libs").glob("kafka_*.jar"))


@contextmanager
def _lock(folder: Path) -> Generator[None]:
    """One process at a time fetches: Maven's own cache bears no more, and once is enough."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        raise Unavailable(f"kafka: {folder}/libs has no Kafka, and there is no Java with Maven: {HOW}")
    # Under its own name only when complete: whoever is killed half-way leaves nothing that looks whole.
    new = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        words = ["-q", "-B", "-f", str(_HERE / "kafka_pom.xml"), _COPY]
        done = subprocess.run(
            [maven, *words, "-DincludeScope=runtime", f"-DoutputDirectory={new / 'libs'}"],
            capture_output=True, text=True, timeout=_FETCH_TIMEOUT, check=False, cwd=new,
        )  # fmt: skip
        if done.returncode or not _has_jars(new):
            raise Unavailable(
                f"kafka: Maven could not fetch it: {(done.stdout + done.stderr)[-1000:]}\n{HOW}"
            )
        folder.mkdir(exist_ok=True)
        (new / "libs").rename(folder / "libs")
    except subprocess.TimeoutExpired:
        raise Unavailable(f"kafka: Maven did not fetch it within {_FETCH_TIMEOUT:g} s: {HOW}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _learn(KafkaHome(folder))


def _learn(home: KafkaHome) -> None:
    """Run one broker and let its JVM write down at its end which classes it loaded; it only saves time."""
    with tempfile.TemporaryDirectory(prefix="bus-kafka-") as name:
        scratch = Path(name)
        port, control = free_port(), free_port()
        config, archive = scratch / "server.properties", scratch / _ARCHIVE
        config.write_text(
            f"process.roles=broker,controller\nnode.id=1\nlog.dirs={scratch / 'data'}\n"
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}\n"
            f"controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:{control}\n"
        )
        command = home.command("kafka.Kafka", config, flags=[f"-XX:ArchiveClassesAtExit={archive}"])
        broker = Process("learn", command, scratch)
        with suppress(StartError, OSError, subprocess.TimeoutExpired):
            home.format(config, new_id(), {})
            broker.start(lambda: accepts("127.0.0.1", port), 60.0)
            broker.signal(signal.SIGTERM)
            until(lambda: not broker.is_running, 60.0, broker.logs)
            # The name last: others may be looking.
            shutil.copy(archive, home.folder / f"{_ARCHIVE}.new")
            (home.folder / f"{_ARCHIVE}.new").replace(home.folder / _ARCHIVE)
        broker.kill()
