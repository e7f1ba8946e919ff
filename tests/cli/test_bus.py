"""watch, publish, nodes, top, doctor against nodes on NATS and on Zenoh, and on Memory, where nobody is."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from bus import Bus, Message
from bus.cli import watch
from bus.cli.census import census, row
from bus.cli.failure import Failure
from bus.cli.findings import examine, judged
from bus.cli.observer import Observer
from bus.cli.output import Output
from bus.cli.watch import described
from bus.isolation import current_loop
from bus.protocol import control, frame as wire
from bus.protocol.control import Entry, Heartbeat
from bus.protocol.outlet import Sizes
from bus.signals import Gap, Overflow, Resync
from bus.testing import MemoryFaults, run_sim
from bus.testing.brokers import Broker, Certificates, NatsServer, free_port
from bus.testing.brokers.fixtures import BrokerFactory
from bus.testing.brokers.process import own_path
from tests.cli.conftest import Cli
from tests.cli.kit import BUS, Node, clean, until


@pytest.fixture(scope="session")
def zenoh_nodes(zenoh_router: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Two nodes at one Zenoh router."""
    folder = tmp_path_factory.mktemp("zenoh")
    nodes: list[Node] = []
    try:
        for name in ("z-1", "z-2"):
            nodes.append(Node(folder, name, ["--url", zenoh_router.url, "--cluster", "steady"]))
            nodes[-1].process.keep()
        yield nodes
    finally:
        for node in nodes:
            node.process.stop()


@pytest.fixture(params=["nats", "zenoh"])
def place(request: pytest.FixtureRequest) -> tuple[list[str], list[str]]:
    """The arguments that lead to two nodes, and their names."""
    kind: str = request.param
    nodes: list[Node] = request.getfixturevalue(f"{kind}_nodes")
    broker: Broker = request.getfixturevalue("nats_server" if kind == "nats" else "zenoh_router")
    return ["--url", broker.url, "--cluster", "steady"], [node.name for node in nodes]


def watching(*words: str) -> subprocess.Popen[str]:
    """A watcher that hears from now on."""
    process = subprocess.Popen(
        [*BUS, "watch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean(own_path()),
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("watching bus.")
    # Its link is proven; the senders of this test come after it.
    return process


def test_nodes_are_listed_with_whom_they_hear(place: tuple[list[str], list[str]], cli: Cli) -> None:
    where, names = place
    found = cli("nodes", *where, "--for", "1.2", "--json").json()
    assert [one["node"] for one in found] == names
    assert [one["hears"] for one in found] == [names[1:], names[:1]]
    assert all(one["state"] == "UP" and one["deafTo"] == [] for one in found)
    text = cli("nodes", *where, "--for", "1.2").out
    assert text.splitlines()[0].split() == ["node", "state", "uptime", "published", "hears", "lost", "behind"]


def test_what_is_published_is_heard_and_watched(place: tuple[list[str], list[str]], cli: Cli) -> None:
    where, names = place
    with watching(*where, "--count", "3", "--json", "demo.>") as watcher:
        ran = cli("publish", "other.topic", "no", *where)
        assert ran.code == 0
        ran = cli("publish", "demo.hello", "hi", "--count", "3", "--node", "sender", "--json", *where)
        told = ran.lines()[0]
        assert (told["first"], told["last"]) == (1, 3)
        assert set(names) <= set(told["heard"])
        out, err = watcher.communicate(timeout=15)
    assert (watcher.returncode, err) == (0, "")
    seen = [json.loads(line) for line in out.splitlines()]
    assert [(one["node"], one["seq"], one["topic"], one["body"]) for one in seen] == [
        ("sender", seq, "demo.hello", "hi") for seq in (1, 2, 3)
    ]


def test_a_sender_does_not_take_the_name_of_the_node_of_its_machine(
    nats_nodes: list[Node], nats_server: Broker, cli: Cli, tmp_path: Path
) -> None:
    settings = tmp_path / "bus.toml"
    name = nats_nodes[0].name
    settings.write_text(f'node = "{name}"\ncluster = "steady"\ncoordinator = "{nats_server.url}"\n')
    told = cli("publish", "demo.hello", "hi", "--config", str(settings), "--json").lines()[0]
    assert told["node"] != name
    assert name in told["heard"]


def test_a_node_whose_secret_others_can_read_warns_once_and_runs(nats_server: Broker, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("as-mounted-by-docker")
    secret.chmod(0o644)
    system = {
        "BUS_COORDINATOR__TYPE": "Nats",
        "BUS_COORDINATOR__ADDRESSES": nats_server.url.removeprefix("nats://"),
        "BUS_COORDINATOR__AUTH_SECRET_FILE": str(secret),
    }
    node = Node(tmp_path, "mounted", [], env=system)
    try:
        until(lambda: "is ready" in node.process.logs())
        told = [line["msg"] for line in node.logged() if line["level"] not in ("info", "debug")]
    finally:
        node.process.kill()
    assert told == [f"secret file {secret} can be read by others; chmod 600 it"]


def test_a_watcher_is_no_node(place: tuple[list[str], list[str]], cli: Cli) -> None:
    where, names = place
    with watching(*where, "--node", "spy") as watcher:
        time.sleep(1.2)  # longer than a heartbeat
        found = cli("nodes", *where, "--for", "1.2", "--json").json()
        assert [one["node"] for one in found if one["state"] == "UP"] == names
        assert "spy" not in cli("publish", "demo.x", *where).out
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=15)
    assert (watcher.returncode, err) == (130, "")
    assert re.search(r"#1 demo\.x $", out, re.MULTILINE)


def test_a_watcher_stays_on_its_link(
    nats_nodes: list[Node], nats_server: Broker, zenoh_nodes: list[Node], zenoh_router: Broker
) -> None:
    # Nobody lists an observer: taken for deafness, its link would be rebuilt after six seconds.
    urls = (nats_server.url, zenoh_router.url)
    watchers = [watching("--url", url, "--cluster", "steady", "--for", "7", "--json") for url in urls]
    for watcher in watchers:
        with watcher:
            out, err = watcher.communicate(timeout=20)
        assert (watcher.returncode, out, err) == (0, "", "")


def test_events_of_an_application_have_their_names(place: tuple[list[str], list[str]], cli: Cli) -> None:
    where, _ = place
    known = [*where, "--import", "tests.cli.applications"]
    with watching(*known, "--count", "2", "--json") as watcher, watching(*where, "--count", "2") as other:
        ran = cli("publish", "--type", "cli.moved", '{"account": 7}', "--node", "s", *known)
        assert ran.code == 0, ran.err
        ran = cli("publish", "--type", "77", '["seven"]', "--node", "t", *known)
        assert ran.code == 0, ran.err
        named, _ = watcher.communicate(timeout=15)
        plain, _ = other.communicate(timeout=15)
    first, second = [json.loads(line) for line in named.splitlines()]
    assert (first["type"], first["fields"]) == ("cli.moved", {"account": 7, "keys": []})
    assert (second["type"], second["fields"]) == (77, {"text": "seven"})
    assert plain.splitlines() == ["s #1 cli.moved [7, []]", 't #1 77 ["seven"]']


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--type", "cli.moved", '{"account": "x"}'], 4, "Expected `int`"),
        (["--type", "cli.moved", "{}"], 4, "the field account is required"),
        (["--type", "cli.moved", '{"account": 1, "acount": 2}'], 4, "there is no field acount"),
        (["--type", "cli.moved", "{"], 4, "its fields: account, keys"),
        (["--type", "cli.gone", "{}"], 2, "known: cli.moved, 77"),
        (["demo.x", "@/nowhere"], 1, "/nowhere: No such file or directory"),
        (["demo.x", "--count", "0"], 2, "--count is 0"),
        (["demo.x", "--rate", "0"], 2, "--rate is 0"),
    ],
)
def test_what_cannot_be_published_is_explained(words: list[str], code: int, text: str, cli: Cli) -> None:
    ran = cli("publish", *words, "--import", "tests.cli.applications", "--url", "memory://")
    assert (ran.code, ran.out) == (code, "")
    assert text in ran.err


def test_a_module_that_cannot_be_imported_is_named(cli: Cli, home: Path) -> None:
    ran = cli("watch", "--import", "no.such.module", "--url", "memory://")
    assert ran.code == 2
    assert "--import no.such.module: ModuleNotFoundError" in ran.err


def test_data_comes_from_stdin_or_a_file(cli: Cli, home: Path) -> None:
    (home / "data").write_bytes(b"\xff\x00")
    for words, stdin in ((["-"], "hi"), (["@data"], "")):
        ran = cli("publish", "demo.x", *words, "--url", "memory://", "--peers", "0", stdin=stdin)
        assert ran.code == 0, ran.err
        assert ran.out == "published demo.x #1; heard by nobody: no other node is on the bus\n"


def test_others_that_do_not_come_are_exit_code_8(cli: Cli) -> None:
    ran = cli("publish", "demo.x", "--url", "memory://", "--peers", "1", "--timeout", "0.3", "--json")
    assert (ran.code, ran.out, ran.error()["type"]) == (8, "", "timeout")
    ran = cli("watch", "--url", "memory://", "--for", "0.1", "--count", "1", "--json")
    assert (ran.code, ran.error()["type"]) == (8, "timeout")


@pytest.mark.parametrize("command", [["nodes"], ["watch"], ["publish", "x"], ["top"], ["doctor"]])
def test_without_a_system_they_say_how_to_name_one(command: list[str], cli: Cli) -> None:
    ran = cli(*command)
    assert (ran.code, ran.out) == (4, "")
    assert "no messaging system is configured" in ran.err
    assert "--url nats://host:4222" in ran.err


def test_a_system_that_is_not_there_is_told_with_the_doctor(cli: Cli) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    ran = cli("nodes", "--url", url, "--timeout", "0.5", "--json")
    assert (ran.code, ran.error()["type"]) == (8, "timeout")
    assert "bus doctor" in ran.error()["hint"]


def test_nobody_on_the_bus_is_said(cli: Cli) -> None:
    ran = cli("nodes", "--url", "memory://", "--for", "0.1")
    assert (ran.code, ran.out, ran.err) == (0, "", "nobody is on bus.default\n")


# -- top -------------------------------------------------------------------------------------------


def test_top_once(nats_nodes: list[Node], nats_server: Broker, cli: Cli) -> None:
    ran = cli("top", "--once", "--json", "--url", nats_server.url, "--cluster", "steady")
    assert (ran.code, ran.err) == (0, "")
    (frame,) = ran.lines()
    assert frame["channel"] == "bus.steady"
    assert [one["node"] for one in frame["nodes"] if one["state"] == "UP"] == ["node-1", "node-2"]
    assert {"eventsPerSecond", "published", "lost", "behind"} <= frame["nodes"][0].keys()


def test_top_without_a_terminal_prints_lines_and_no_codes(
    nats_nodes: list[Node], nats_server: Broker, cli: Cli
) -> None:
    ran = cli("top", "--count", "2", "--interval", "0.3", "--url", nats_server.url, "--cluster", "steady")
    assert ran.code == 0
    assert ran.out.count("bus.steady: 2 nodes, 0 events/s\n") == 2
    assert "\x1b" not in ran.out


def on_a_terminal(
    words: list[str], env: dict[str, str], enough: str = "never", times: int = 1
) -> tuple[int, str]:
    """Run on a terminal of 80 x 24; Ctrl-C when it has said `enough` so many times."""
    pid, terminal = pty.fork()
    if not pid:
        size = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        os.execve(BUS[0], [*BUS, *words], clean(own_path()) | size | env)
    said = bytearray()
    end = time.monotonic() + 20
    is_told = False
    os.set_blocking(terminal, False)
    while True:
        try:
            said += os.read(terminal, 65_536)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the other end is closed
            break
        if said.count(enough.encode()) >= times and not is_told:
            is_told = True
            os.write(terminal, b"\x03")
        assert time.monotonic() < end, said
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.decode()


@pytest.mark.parametrize("has_rich", [True, False])
def test_top_on_a_terminal_is_drawn_anew_until_ctrl_c(
    has_rich: bool, nats_nodes: list[Node], nats_server: Broker, tmp_path: Path
) -> None:
    env: dict[str, str] = {}
    if not has_rich:
        (tmp_path / "rich.py").write_text("raise ImportError\n")
        env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), own_path()["PYTHONPATH"]])
    words = ["top", "--interval", "0.3", "--url", nats_server.url, "--cluster", "steady"]
    code, said = on_a_terminal(words, env, "bus.steady: 2 nodes", 2)
    assert code == 130, said
    assert "Traceback" not in said
    assert "\x1b[" in said
    assert ("\x1b[H\x1b[2J" in said) is not has_rich


@pytest.mark.parametrize(
    ("env", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colour_on_a_terminal(env: dict[str, str], is_coloured: bool) -> None:
    code, said = on_a_terminal(["describe", "Nats"], env)
    assert code == 0
    assert ("\x1b[1m" in said) is is_coloured


# -- doctor ----------------------------------------------------------------------------------------


def test_the_doctor_finds_nothing_wrong(place: tuple[list[str], list[str]], cli: Cli) -> None:
    where, names = place
    ran = cli("doctor", *where, "--for", "1.2", "--json")
    assert ran.code == 0, ran.out
    told = ran.json()
    assert told["healthy"] is True
    layers = [one["layer"] for one in told["checks"]]
    assert layers[:6] == ["name", "tcp", "secret", "login", "permission", "proof"]
    assert [one["node"] for one in told["nodes"] if one["state"] == "UP"] == names


def test_the_doctor_speaks_to_people(nats_nodes: list[Node], nats_server: Broker, cli: Cli) -> None:
    ran = cli("doctor", "--url", nats_server.url, "--no-nodes")
    place = nats_server.url.removeprefix("nats://")
    assert (ran.code, ran.err) == (0, "")
    assert re.sub(r"\d+ ms", "N ms", ran.out) == (
        "ok        name       127.0.0.1: 127.0.0.1\n"
        f"ok        tcp        {place}: connected\n"
        "ok        secret     Nats: good\n"
        "ok        login      Nats: good\n"
        "ok        permission Nats: good\n"
        "ok        proof      Nats: in N ms, all told\n"
        "healthy\n"
    )


def failing(cli: Cli, *words: str) -> dict[str, str]:
    """The one layer that fails."""
    ran = cli("doctor", *words, "--json")
    assert ran.code == 7, ran.out
    (bad,) = [one for one in ran.json()["checks"] if one["status"] == "fail"]
    return cast("dict[str, str]", bad)


def test_the_doctor_names_a_host_that_nobody_knows(cli: Cli) -> None:
    assert failing(cli, "--url", "nats://no-such-host.invalid")["layer"] == "name"


def test_the_doctor_knows_the_port_of_the_reference(cli: Cli, home: Path) -> None:
    (home / "bus.toml").write_text('[coordinator]\n"@type" = "Nats"\n')
    bad = failing(cli)
    assert bad["layer"] == "tcp"
    assert "4222" in bad["fix"]


def test_one_server_of_several_that_is_not_there_is_a_warning(nats_server: Broker, cli: Cli) -> None:
    url = f"{nats_server.url},127.0.0.1:{free_port()}"
    ran = cli("doctor", "--url", url, "--no-nodes", "--json")
    assert ran.code == 0, ran.out
    assert [one["layer"] for one in ran.json()["checks"] if one["status"] == "warn"] == ["tcp"]


LOGIN = {"authUsername": "bus", "authSecret": {"@type": "Value", "secret": "bus-secret"}}


@pytest.mark.parametrize(
    ("options", "fields", "layer", "fix"),
    [
        ({"auth": "password"}, LOGIN | {"authSecret": {"@type": "Value", "secret": "wrong-one"}},
         "login", "check the user name and the secret"),
        ({"auth": "password"}, {"authSecret": {"@type": "File", "filePath": "/nowhere/pw"}},
         "secret", "set the variable, or make the file readable for this process"),
        ({"auth": "password", "permissions": {"publish": "none", "subscribe": "none"}}, LOGIN,
         "permission", "permit this user to publish and to subscribe on that channel"),
        ({"tls": "server"}, {"useTls": True}, "tls", "set tlsCa to its authority"),
        ({"tls": "wrong_host"}, {"useTls": True, "tlsCa": "ca"},
         "tls", "set tlsHostname to a name in the certificate"),
        ({"tls": "expired"}, {"useTls": True, "tlsCa": "ca"}, "tls", "renew the certificate of the server"),
        ({"tls": "server"}, {"useTls": True, "tlsCa": "none"}, "tls", "name a file that is there, in PEM"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_doctor_names_the_layer_and_how_to_mend_it(
    options: dict[str, Any], fields: dict[str, Any], layer: str, fix: str,
    broker_of: BrokerFactory, cli: Cli, home: Path,
) -> None:  # fmt: skip
    made = Certificates(home)
    if "tls" in options:
        options = options | {"tls": getattr(made, options["tls"])}
    if "tlsCa" in fields:
        fields = fields | {"tlsCa": str(made.ca) if fields["tlsCa"] == "ca" else "/nowhere.pem"}
    server = broker_of(NatsServer, **options)
    config = {"@type": "Nats", "addresses": [server.address], **fields}
    (home / "bus.json").write_text(json.dumps(config))
    bad = failing(cli, "--config", "bus.json")
    assert (bad["layer"], bad["fix"]) == (layer, fix), bad
    assert "wrong-one" not in json.dumps(bad)


def test_the_doctor_says_how_long_a_certificate_is_good(
    broker_of: BrokerFactory, cli: Cli, home: Path
) -> None:
    made = Certificates(home)
    for identity, status in ((made.server, "ok"), (made.short_lived(86_400), "warn")):
        server = broker_of(NatsServer, tls=identity)
        config = {"@type": "Nats", "addresses": [server.address], "useTls": True, "tlsCa": str(made.ca)}
        (home / "bus.json").write_text(json.dumps(config))
        ran = cli("doctor", "--config", "bus.json", "--no-nodes", "--json")
        assert ran.code == 0, ran.out
        (tls,) = [one for one in ran.json()["checks"] if one["layer"] == "tls"]
        assert tls["status"] == status
        assert re.search(r"certificate good for \d+ days", tls["detail"])


def heard(node: Observer, hears: dict[str, list[str]], silent: tuple[str, ...] = ()) -> None:
    """As if each of these nodes had sent a heartbeat just now that names whom it hears."""
    epochs = {name: number for number, name in enumerate(hears, 1)}
    outlet = node.engine.attach(Sizes())
    node.engine.up(outlet)
    for name, others in hears.items():
        entries = [Entry(epochs[other], 7, 2, 10_000_000, 0) for other in others]
        beat = Heartbeat(
            name=name, counter=1, uptime_us=3_600_000_000, last=10, held=4, sent=10, entries=entries
        )
        stamp = 10_000_000
        node.receive(outlet, wire.pack(wire.HEARTBEAT, 0, epochs[name], stamp, control.encode(beat)), None)
        if name in silent:
            node.engine.peers[epochs[name]].unheard = 5.0


@pytest.fixture
async def spy() -> AsyncGenerator[Observer, None]:
    """An observer on no link."""
    node = Observer("x", "spy")
    node.start(current_loop())
    yield node
    await node.close(0.5)


async def test_who_does_not_hear_whom_is_found_in_the_heartbeats(spy: Observer) -> None:
    heard(spy, {"a": ["b", "c"], "b": ["a"], "c": ["a", "b"], "d": ["a"]}, silent=("d",))
    views = {view.node: view for view in census(spy)}
    assert {name: view.deaf_to for name, view in views.items()} == {"a": [], "b": ["c"], "c": [], "d": None}
    assert views["d"].state == "SILENT"
    assert (views["a"].published, views["a"].held, views["a"].lost, views["a"].behind) == (10, 7, 4, 6)
    assert row(views["b"]) == ("b", "UP", "1h00", "10", "1 not c", "2", "3")


async def test_a_heartbeat_has_no_room_for_nine_others_so_silence_about_one_means_nothing(
    spy: Observer,
) -> None:
    heard(spy, {f"n{number}": [] for number in range(10)})
    assert [view.deaf_to for view in census(spy)] == [None] * 10


async def test_the_doctor_blames_who_does_not_hear(spy: Observer) -> None:
    heard(spy, {"a": ["b"], "b": []})
    checks = list(judged(examine(spy)))
    assert [(one.place, one.status, one.detail) for one in checks if one.status != "warn"] == [
        ("a", "ok", "hears b"),
        ("b", "fail", "hears nobody, and does not answer: it can send, and does not receive"),
    ]


async def test_the_doctor_finds_nobody(spy: Observer) -> None:
    assert [one.detail for one in judged(examine(spy))] == [f"nobody else is on {spy.channel}"]


def test_a_loss_is_an_object_of_its_own() -> None:
    told = described(Gap("n", 5, ((3, 4),), "gone"), {})
    assert told == {"loss": "Gap", "node": "n", "epoch": 5, "ranges": [[3, 4]], "reason": "gone"}
    assert described(Overflow(7), {})["count"] == 7
    assert described(Resync(None, None, None, "x"), {})["node"] is None


async def _watch_through_an_outage(*words: str) -> int:
    """A watcher from whom one event of a node is kept: it asks nobody, and tells the gap."""
    parser = argparse.ArgumentParser()
    watch.configure(parser)
    arguments = parser.parse_args(["--url", "memory://", "--node", "spy", *words])
    with MemoryFaults(seed=1) as faults:
        async with Bus.open("memory://", node="a") as bus:
            watching = asyncio.create_task(watch.watch(Output(arguments), arguments))
            await asyncio.sleep(3)
            bus.publish(Message("demo.one", b"1"))
            await asyncio.sleep(1)
            faults.cut("a", "spy")
            bus.publish(Message("demo.two", b"2"))
            await asyncio.sleep(0.5)
            faults.heal()
            bus.publish(Message("demo.three", b"3"))
            return await watching


def test_a_gap_is_shown_in_its_place_and_fails_when_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sim(partial(_watch_through_an_outage, "--count", "2"), seed=1) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a #1 demo.one 1", "GAP a #2..2 (timeout)", "a #3 demo.three 3",
    ]  # fmt: skip
    with pytest.raises(Failure, match=r"GAP a #2\.\.2") as caught:
        run_sim(partial(_watch_through_an_outage, "--fail-on-gap"), seed=1)
    assert caught.value.code == 9


def test_a_cluster_moves_from_nats_to_zenoh_and_back(
    nats_server: Broker, zenoh_router: Broker, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 40)
    token.chmod(0o600)
    nodes = [
        Node(tmp_path, name, ["--url", nats_server.url, "--cluster", "moving", "--token-file", str(token)])
        for name in ("m-1", "m-2")
    ]
    try:
        monkeypatch.setenv("BUS_TOKEN_FILE", str(token))
        urls = ",".join(node.url for node in nodes)
        for url in (zenoh_router.url, nats_server.url):
            ran = cli("config", "show", "--url", url, "--json")
            found = {name.removeprefix("coordinator."): one["value"] for name, one in ran.json().items()
                     if name.startswith("coordinator.")}  # fmt: skip
            ran = cli("update", "--nodes", urls, "--stdin", stdin=json.dumps(found))
            assert ran.code == 0, ran.err + ran.out
            assert [line.split()[1] for line in ran.out.splitlines()[1:]] == ["changed", "changed"]
            for node in nodes:
                assert cli("get", "--url", node.url, "--json").json()["@type"] == found["@type"]
            seen = cli("nodes", "--url", url, "--cluster", "moving", "--for", "1.2", "--json").json()
            assert [one["hears"] for one in seen if one["state"] == "UP"] == [["m-2"], ["m-1"]]
    finally:
        for node in nodes:
            node.process.stop()
