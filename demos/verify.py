"""Play the story of the compose demo, and end with the ledger: `python -m demos.verify [--backend nats]`.

    steady    every node publishes, every other one takes all of it
    kill      the broker gets SIGKILL under load and is started again
    freeze    one node stands still for some seconds, and goes on
    cut       one node is cut off the network of the bus, and comes back
    switch    under load: a broker that is not there is refused, then all nodes move to another system
    observe   Prometheus sees three nodes that are ready, and no alert fires

Needs Docker with Compose, and Python 3.11; nothing else. Exit code 0: every event was delivered once or told
lost, and each act ended as it should; 1: not so; 2: usage, or the stage could not be set.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from demos import ledger
from demos.stage import BUS, NODES, ROOT, Stage, StageError

RATE = 200
ACTS = ("steady", "kill", "freeze", "cut", "switch", "observe")
BACKENDS = ("nats", "redis", "zenoh", "kafka", "redis-cluster", "redis-sentinel")
# The service that is killed: the one broker, or one whose part the others must take.
BROKER = {"redis-cluster": "redis-cluster-1", "redis-sentinel": "redis-primary"}
# Where the last act moves to, and what is typed for it.
OTHER = {"nats": "redis", "kafka": "redis"}
FIELDS = {
    "redis": ("@type=Redis", "url=redis://redis:6379"),
    "nats": (
        "@type=Nats", "addresses=nats:4222", "authUsername=bus",
        "authSecret/filePath=/run/secrets/nats_password",
    ),
}  # fmt: skip
# Nothing answers there: the network of the bus has no such name.
NOWHERE = ("@type=Redis", "url=redis://nowhere:6379")
REFUSED = 7
SETTLE = 60.0
READY = 60.0


@dataclass
class Act:
    """What came of one."""

    name: str
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])


class Story:
    """One play on one stage."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._say = say
        self._broker = BROKER.get(stage.backend, stage.backend)
        self._other = OTHER.get(stage.backend, "nats")
        self.acts: list[Act] = []

    def play(self, names: Sequence[str]) -> None:
        """Act after act. Raises StageError."""
        acts = {
            "steady": self._steady, "kill": self._kill, "freeze": self._freeze, "cut": self._cut,
            "switch": self._switch, "observe": self._observe,
        }  # fmt: skip
        for name in names:
            act = Act(name)
            self.acts.append(act)
            self._say(f"-- {name}")
            start = time.monotonic()
            acts[name](act)
            self._settle(act)
            act.seconds = round(time.monotonic() - start, 1)

    def _steady(self, act: Act) -> None:
        self._stage.burst(RATE, 4)

    def _kill(self, act: Act) -> None:
        stage = self._stage
        stage.burst(RATE, 8)
        time.sleep(1)
        stage.compose("kill", "--signal", "SIGKILL", self._broker)
        if self._broker == stage.backend:
            took = stage.until(lambda: not any(map(stage.is_ready, NODES)), "no node is ready", 30)
            self._note(act, f"{self._broker} gets SIGKILL; no node is ready {took:.1f} s later")
        else:
            self._note(act, f"{self._broker} gets SIGKILL; the others take its part")
        time.sleep(2)
        stage.compose("start", self._broker)
        took = stage.until(lambda: all(map(stage.is_ready, NODES)), "all nodes are ready again", READY)
        self._note(act, f"started again; all nodes are ready {took:.1f} s later")

    def _freeze(self, act: Act) -> None:
        stage = self._stage
        stage.burst(RATE, 7)
        time.sleep(1)
        stage.compose("pause", "node-3")
        time.sleep(4)
        others = [stage.is_ready(node) for node in NODES[:2]]
        stage.compose("unpause", "node-3")
        if not all(others):
            raise StageError("a frozen node took the others with it")
        self._note(act, "node-3 stood still for 4 s, the others were ready")

    def _cut(self, act: Act) -> None:
        stage = self._stage
        container = stage.container("node-3")
        stage.burst(RATE, 8)
        time.sleep(1)
        stage.docker("network", "disconnect", BUS, container)
        try:
            took = stage.until(lambda: not stage.is_ready("node-3"), "node-3 is not ready", 30)
            if not all(map(stage.is_ready, NODES[:2])):
                raise StageError("a node that was cut off took the others with it")
            time.sleep(1)
        finally:
            stage.docker("network", "connect", "--alias", "node-3", BUS, container)
        self._note(act, f"node-3 is cut off, and says so {took:.1f} s later; the others are ready")
        took = stage.until(lambda: stage.is_ready("node-3"), "node-3 is ready again", READY)
        self._note(act, f"connected again; node-3 is ready {took:.1f} s later")

    def _switch(self, act: Act) -> None:
        stage = self._stage
        stage.compose("up", "--detach", "--wait", "--no-recreate", self._other)
        stage.burst(RATE, 12)
        code, said = self._update(NOWHERE)
        if code != REFUSED or self._links() != {self._type(stage.backend)}:
            raise StageError(f"a broker that is not there was not refused ({code}): {said}")
        self._note(act, "a broker that is not there is refused, and nothing has changed")
        code, said = self._update(FIELDS[self._other])
        if code:
            raise StageError(f"bus update ended with {code}: {said}")
        wanted = self._type(self._other)
        took = stage.until(lambda: self._links() == {wanted}, f"all nodes are on {wanted} alone", READY)
        self._note(act, f"all nodes move to {wanted} while they publish, and are there {took:.1f} s later")
        for node in NODES:
            if not stage.is_ready(node):
                raise StageError(f"{node} is not ready after the change")

    def _observe(self, act: Act) -> None:
        stage = self._stage
        stage.compose("up", "--detach", "--wait", "prometheus", seconds=120)
        stage.burst(RATE, 2)
        stage.until(lambda: self._asked("bus_ready") == ["1"] * 3, "Prometheus sees three ready nodes", 30)
        stage.until(
            lambda: all(float(count) > 0 for count in self._asked("bus_published_events_total")),
            "Prometheus sees what they publish", 30,
        )  # fmt: skip
        if firing := self._asked('ALERTS{alertstate="firing"}'):
            raise StageError(f"{len(firing)} alerts fire")
        self._note(act, "Prometheus sees three nodes that are ready, and no alert fires")

    def _asked(self, query: str) -> list[str]:
        """The values of one query to Prometheus."""
        url = f"http://127.0.0.1:9090/api/v1/query?query={quote(query)}"
        code, said = self._stage.inside("prometheus", "wget", "-q", "-O", "-", url)
        if code:
            raise StageError(f"Prometheus does not answer: {said}")
        return [one["value"][1] for one in json.loads(said)["data"]["result"]]

    def _update(self, fields: Sequence[str]) -> tuple[int, str]:
        words = [word for text in fields for word in ("--field", text)]
        nodes = ",".join(f"http://{node}:8080" for node in NODES)
        return self._stage.inside("node-1", "bus", "update", "Coordinator", "--nodes", nodes, *words)

    def _links(self) -> set[str]:
        return {str(one["link"]) for one in self._latest()}

    def _latest(self) -> list[ledger.Document]:
        return list({one["node"]: one for one in self._stage.tallies()}.values())

    def _type(self, backend: str) -> str:
        return "".join(map(str.capitalize, backend.split("-")))

    def _settle(self, act: Act) -> None:
        stage = self._stage
        stage.until(lambda: ledger.settled(stage.tallies()), "everything has come or was told", SETTLE)
        latest = self._latest()
        for one in latest:
            self._note(
                act,
                f"{one['node']}: p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms, "
                f"slowest {one['slowest_ms']:.0f} ms",
            )
        found = ledger.rows(stage.tallies())
        self._note(
            act,
            f"so far: published {sum(one['published'] for one in latest):,}, "
            f"delivered {sum(row.delivered for row in found):,} of {sum(row.due for row in found):,}, "
            f"told lost {sum(row.told for row in found):,}",
        )

    def _note(self, act: Act, text: str) -> None:
        act.notes.append(text)
        self._say(f"   {text}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.verify", description="Play the story of the compose demo."
    )
    parser.add_argument("--backend", choices=BACKENDS, default="nats")
    parser.add_argument("--acts", default=",".join(ACTS), help="which, in order")
    parser.add_argument("--keep", action="store_true", help="leave the containers running")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON on stdout")
    parser.add_argument("--project-directory", type=Path, default=ROOT, help="where docker-compose.yml is")
    given = parser.parse_args(arguments)
    acts = given.acts.split(",")
    if unknown := set(acts).difference(ACTS):
        parser.error(f"no such act: {', '.join(sorted(unknown))}")
    # Whoever ends it finds no containers left.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    out = sys.stderr if given.json else sys.stdout

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    stage = Stage(given.backend, given.project_directory)
    story = Story(stage, say)
    try:
        return _run(stage, story, acts, say, as_json=given.json)
    finally:
        if not given.keep:
            try:
                stage.down()
            except StageError as error:
                say(f"the containers may still be there: {error}")


def _run(
    stage: Stage, story: Story, acts: Sequence[str], say: Callable[[str], None], *, as_json: bool
) -> int:
    say(f"== three nodes on {stage.backend}")
    trouble = ""
    try:
        _open(stage)
    except StageError as error:
        say(f"the stage could not be set: {error}")
        return 2
    try:
        story.play(acts)
    except StageError as error:
        trouble = str(error)
        say(f"FAILED: {trouble}")
        say(stage.compose("logs", "--no-color", "--tail", "15", *NODES))
    found = ledger.rows(stage.tallies())
    for line in ledger.lines(found):
        say(line)
    is_balanced = all(row.is_balanced for row in found)
    say(
        "balanced: every event was delivered once, or its loss was told"
        if is_balanced
        else "NOT balanced: not every event is accounted for"
    )
    if as_json:
        result = {
            "backend": stage.backend,
            "acts": [asdict(act) for act in story.acts],
            "rows": [asdict(row) for row in found],
            "balanced": is_balanced,
            "trouble": trouble,
        }
        print(json.dumps(result))
    return 0 if is_balanced and not trouble else 1


def _open(stage: Stage) -> None:
    # Nothing of an earlier play: its tallies would be counted.
    stage.down()
    stage.compose("up", "--build", "--detach", seconds=900)
    stage.until(lambda: all(map(stage.is_ready, NODES)), "all nodes are ready", 120)


if __name__ == "__main__":
    sys.exit(main())
