"""Three node processes under load, each with its admin server, and the one who changes them over HTTP.

with LiveCluster(coordinator, folder) as cluster:
    cluster.go()
    cluster.move(other)                 all of them; at once, or one after the other
    verdict = judge(cluster.finish())
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from bus.config import decode, encode
from tests.faults.history import History, histories

ROOT = Path(__file__).parents[2]
OURS = "urn:coordinator-bus:jmap"
# Seconds: to start on a busy machine, or to settle; a trial, a switch and its way back.
ANSWER, CHANGE = 60.0, 120.0
END = 5.0

Json = dict[str, Any]


def patch_of(url: str) -> Json:
    """The whole object that an URL stands for."""
    return encode(decode(url), reveal=True)


class LiveNode:
    """One life of one node: `<name>-<life>.jsonl` is its history, `<name>.log` its log."""

    def __init__(self, setup: Json, folder: Path, life: int) -> None:
        self.name = str(setup["name"])
        self.setup = setup
        self.life = life
        self.epoch = 0
        self._url = ""
        self._log = folder / f"{self.name}.log"
        self._token = (folder / "token").read_text().strip()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.live.node"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))},
            )
        history = folder / f"{self.name}-{life}.jsonl"
        self.tell(json.dumps({**setup, "folder": str(folder), "history": str(history)}))

    @property
    def url(self) -> str:
        """Of its admin server."""
        return self._url

    def begin(self) -> None:
        """Wait until it hears the others."""
        found = self.answer()
        self.epoch, self._url = found["epoch"], found["url"]

    def tell(self, line: str) -> None:
        """One word; its answer is read apart, so that all nodes work at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> Json:
        """The answer that is due. Raises AssertionError, with the end of the log, when there is none."""
        stdout = self._process.stdout
        assert stdout is not None
        line = stdout.readline() if select.select([stdout], [], [], ANSWER)[0] else b""
        assert line, f"node {self.name} does not answer; its log ends with\n{self._log.read_text()[-3000:]}"
        return cast("Json", json.loads(line))

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def wait_dead(self) -> None:
        """Until it has killed itself."""
        assert self._process.wait(CHANGE) < 0

    def end(self, *, patient: bool = True) -> None:
        """Let it close its bus and end; kill it when it is late."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(END if patient else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    # -- over HTTP ---------------------------------------------------------------------------------

    def call(self, method: str, arguments: Json) -> Json:
        """The response of one JMAP method."""
        body = {"using": ["urn:ietf:params:jmap:core", OURS], "methodCalls": [[method, arguments, "c"]]}
        ((_, response, _),) = self._ask("POST", "/api", json.dumps(body).encode())["methodResponses"]
        return cast("Json", response)

    def update(self, patch: Json, **arguments: Any) -> Json:
        """Change the object: {} when it was done, else the error."""
        response = self.call("x:Coordinator/set", {"update": {"singleton": patch}, **arguments})
        if "type" in response:
            return response
        refused: Json = response["notUpdated"] or {}
        return cast("Json", refused.get("singleton", {}))

    def object(self) -> Json:
        """What is stored."""
        return cast("Json", self.call("x:Coordinator/get", {"ids": ["singleton"]})["list"][0])

    def links(self) -> list[str]:
        """The types of its links."""
        checks = self.health()["checks"]
        return [link["type"] for link in checks["backend"]["links"]]

    def health(self) -> Json:
        """What it says about itself."""
        return self._ask("GET", "/health/ready")

    def _ask(self, verb: str, path: str, body: bytes | None = None) -> Json:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        made = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=CHANGE)
        try:
            made.request(verb, path, body=body, headers=headers)
            return cast("Json", json.loads(made.getresponse().read()))
        finally:
            made.close()


class LiveCluster:
    """Nodes a, b, c on one coordinator. Entered, all of them hear each other."""

    def __init__(
        self, coordinator: Json, folder: Path, *, rate: int = 200, switch: float = 60.0, **deaths: str
    ) -> None:
        """`deaths`: which node is killed at which moment of its change, as `tests.live.node` says."""
        self._folder = folder
        (folder / "token").write_text(secrets.token_urlsafe(32))
        (folder / "token").chmod(0o600)
        cluster = f"live-{secrets.token_hex(4)}"
        setup: Json = {
            "coordinator": coordinator, "cluster": cluster, "peers": 2, "rate": rate, "switch": switch
        }  # fmt: skip
        self._setups = [{**setup, "name": name, "death": deaths.get(name, "")} for name in "abc"]
        self.nodes: list[LiveNode] = []

    def __enter__(self) -> Self:
        try:
            self.nodes += [LiveNode(setup, self._folder, 1) for setup in self._setups]
            for node in self.nodes:
                node.begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __getitem__(self, name: str) -> LiveNode:
        """The node that lives under this name now."""
        return next(node for node in self.nodes if node.name == name)

    def go(self) -> None:
        """All begin to publish."""
        self._ask("go")

    def move(self, patch: Json, names: Iterable[str] = "abc", *, after: float = 0.0) -> dict[str, Json]:
        """Change these nodes, each `after` seconds after the one before; what each answered."""
        nodes = [self[name] for name in names]

        def change(place: int) -> Json:
            pause(place * after)
            return nodes[place].update(patch)

        with ThreadPoolExecutor(len(nodes)) as pool:
            return dict(zip([node.name for node in nodes], pool.map(change, range(len(nodes))), strict=True))

    def restart(self, name: str, *, peers: int = 2) -> LiveNode:
        """One more life for a node that is dead; it dies no more."""
        dead = self[name]
        dead.end(patient=False)
        born = LiveNode({**dead.setup, "death": "", "peers": peers}, self._folder, dead.life + 1)
        self.nodes[self.nodes.index(dead)] = born
        born.begin()
        return born

    def finish(self) -> list[History]:
        """Stop the load, wait until all of it is delivered or told, end the nodes; what they wrote."""
        published = {node.epoch: answer["published"] for node, answer in self._ask("stop")}
        for node in self.nodes:
            others = {str(epoch): count for epoch, count in published.items() if epoch != node.epoch}
            node.tell(f"settle {json.dumps(others)}")
        for node in self.nodes:
            node.answer()
        self._end()
        return histories(self._folder)

    def _ask(self, word: str) -> Sequence[tuple[LiveNode, Json]]:
        for node in self.nodes:
            node.tell(word)
        return [(node, node.answer()) for node in self.nodes]

    def _end(self) -> None:
        ends = [threading.Thread(target=node.end) for node in self.nodes]
        for one in ends:
            one.start()
        for one in ends:
            one.join()
        self.nodes.clear()


def pause(seconds: float) -> None:
    """Let real time pass: when a thing is done is what is tested."""
    threading.Event().wait(seconds)


def until(is_so: Any, what: str, seconds: float = 30.0) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        pause(0.1)
