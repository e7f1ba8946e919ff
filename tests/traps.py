"""The traps T1 to T25 of the client libraries, what guards us from each, and the tests that would notice.

A guard is an exact piece of a file, and what would stand there without it; the tests must fail then.
`test_traps.py` sees that the table is up to date. To see each guard fail, in a copy of the tree:

    python -m tests.traps [T9 T12 ...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PATIENCE = 240.0

NATS, REDIS, KAFKA, ZENOH = (f"backends/bus_{name}" for name in ("nats", "redis", "kafka", "zenoh"))
IN_NATS, IN_REDIS, IN_KAFKA, IN_ZENOH = (
    f"tests/backends/test_{name}" for name in ("nats", "redis", "kafka", "zenoh")
)
HOUSE = "tests/test_architecture.py::test_file_keeps_the_rules_of_the_house"


class Guard(NamedTuple):
    """`old` in `file` would be `new` without it; then these tests fail."""

    file: str
    old: str
    new: str
    nodes: tuple[str, ...]


class Trap(NamedTuple):
    """One trap; `what` is what the library does."""

    number: int
    what: str
    guards: tuple[Guard, ...]


TRAPS = (
    Trap(1, "nats-py: a late PONG ends the reading task for ever", (
        Guard(f"{NATS}/opening.py", "async def _flusher(self) -> None: ...",
              "async def _flusher(self) -> None:\n            await self.flush(1)",
              (f"{IN_NATS}_traps.py::test_no_file_makes_a_call_that_is_a_trap[opening.py]",)),
        Guard(f"{NATS}/opening.py", "        async def _ping_interval(self) -> None: ...\n", "",
              (f"{IN_NATS}_traps.py::test_the_library_does_nothing_once_it_has_connected",)),
    )),
    Trap(2, "a stray CancelledError of a library ends our task in silence", (
        Guard("bus/isolation.py", 'raise LibraryCancelled(f"{name} was cancelled by the library itself")',
              "raise asyncio.CancelledError",
              ("tests/bus/test_isolation.py::TestStrayCancel"
               "::test_a_cancel_from_inside_the_library_is_an_error_like_any_other",)),
        Guard("bus/supervisor.py", 'self._lost(link, LinkError("the reader was cancelled"))', "pass",
              ("tests/bus/test_supervisor.py::test_a_call_that_fails_costs_a_rebuild_and_no_event",)),
    )),
    Trap(3, "aiokafka: `stop` raises CancelledError and leaks", (
        Guard(f"{KAFKA}/link.py", "from bus.errors import LinkError\n",
              "from aiokafka import AIOKafkaConsumer\nfrom bus.errors import LinkError\n",
              (f"{IN_KAFKA}_traps.py::test_library_has_one_door[link.py]",)),
    )),
    Trap(4, "redis-py: a dead connection is a quiet one, at full CPU", (
        Guard(f"{REDIS}/connection.py", "        self.fail(exc or EOFError())\n", "        pass\n",
              (f"{IN_REDIS}_link.py::test_the_end_of_either_connection_is_the_end_of_the_link",)),
        Guard(f"{REDIS}/link.py", "                self._judge(self._now())\n",
              "                await self._hearing.get_message()\n", (f"{HOUSE}[{REDIS}/link.py]",)),
        Guard(f"{REDIS}/connection.py", "        import hiredis\n", "        import redis\n",
              (f"{HOUSE}[{REDIS}/connection.py]",)),
    )),
    Trap(5, "redis-py: health checks never see a frozen server", (
        Guard(f"{REDIS}/link.py",
              "elif limit and self._pinged is not None and now - self._pinged > limit:", "elif False:",
              (f"{IN_REDIS}_fields.py::test_a_link_ends_when_answers_are_late",)),
        Guard(f"{REDIS}/connection.py",
              "own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)", "pass",
              (f"{IN_REDIS}_link.py::test_the_system_gives_up_what_is_not_acknowledged",)),
    )),
    Trap(6, "libraries reconnect in silence", (
        Guard(f"{NATS}/opening.py", "allow_reconnect=False", "allow_reconnect=True",
              (f"{IN_NATS}_traps.py::test_no_file_makes_a_call_that_is_a_trap[opening.py]",)),
    )),
    Trap(7, "what is lost on the way is lost in silence", (
        Guard("bus/protocol/peer.py", "self.target = max(self.target, min(beat.sent, self.last))", "pass",
              ("tests/simulation/test_scenarios.py::test_scenario[the_tail_before_a_silence_is_repaired]",)),
    )),
    Trap(8, "nats-py: `publish` swallows a cancel and waits for ever", (
        Guard(f"{NATS}/link.py",
              "while self._error is None and (self._is_full or ", "while False and (self._is_full or ",
              (f"{IN_NATS}_link.py::test_send_to_a_frozen_server_waits_and_can_be_cancelled",
               f"{IN_NATS}_fields.py::test_only_so_many_frames_are_under_way")),
    )),
    Trap(9, "nats-py: TLS that the server does not offer is left out, and the password sent", (
        Guard(f"{NATS}/opening.py",
              'if "tls" in self.options and writer.get_extra_info("ssl_object") is None:', "if False:",
              (f"{IN_NATS}_bad_input.py::test_no_byte_goes_to_a_server_that_offers_no_tls",)),
    )),
    Trap(10, "nats-py: malformed credentials hang the event loop", (
        Guard(f"{NATS}/login.py", "    if found is None:\n", "    if False:\n",
              (f"{IN_NATS}_bad_input.py::test_malformed_credentials_are_told_before_anything_is_sent",)),
    )),
    Trap(11, "nats-py: `drain` and `close` wait for a frozen server", (
        Guard(f"{NATS}/link.py", "        await self._answers()\n        self._transport.close()\n",
              "        await self._connection.owner.drain()\n",
              (f"{IN_NATS}_traps.py::test_no_file_makes_a_call_that_is_a_trap[link.py]",
               f"{HOUSE}[{NATS}/link.py]")),
        Guard("bus/supervisor.py", "CLOSE_LINK = 1.0\n", "CLOSE_LINK = 1000.0\n",
              ("tests/bus/test_supervisor.py"
               "::test_an_old_link_that_cannot_be_closed_is_aborted_and_replaced",)),
    )),
    Trap(12, "aiokafka: without acknowledgement what is lost is a success, and a send never ends", (
        Guard(f"{KAFKA}/link.py", "ProduceRequest(None, 1,", "ProduceRequest(None, 0,",
              (f"{IN_KAFKA}_traps.py::test_each_frame_is_acknowledged_by_the_leader",)),
        Guard(f"{KAFKA}/link.py", "if self._sender.silence() > self._patience:", "if False:",
              (f"{IN_KAFKA}_fields.py::test_frame_that_is_not_acknowledged_ends_the_link",)),
    )),
    Trap(13, "aiokafka: an idempotent producer never gives up", (
        Guard(f"{KAFKA}/link.py", "2, 0, 0, -1, -1, -1, len(frame)", "2, 0, 0, 1, 0, 0, len(frame)",
              (f"{IN_KAFKA}_traps.py::test_batches_are_not_idempotent",)),
    )),
    Trap(14, "aiokafka: the fetching task dies in silence", (
        Guard(f"{KAFKA}/link.py", "if reader.wire.silence() > reader.patience:", "if False:",
              (f"{IN_KAFKA}_fields.py::test_broker_that_says_nothing_ends_the_link",)),
        Guard(f"{KAFKA}/wire.py",
              "        except Exception as error:  # noqa: BLE001  # the event loop would only log it\n"
              "            self.abort(error)\n",
              "        except Exception:\n            pass\n",
              (f"{IN_KAFKA}_link.py::test_deleted_topic_ends_the_link",)),
    )),
    Trap(15, "Kafka: a topic that was made anew is shorter than our position", (
        Guard(f"{KAFKA}/reader.py",
              "elif self._now() - self._moved[partition] > self.patience:", "elif False:",
              (f"{IN_KAFKA}_link.py::test_reader_that_stands_still_is_noticed",)),
        Guard(f"{KAFKA}/reader.py",
              'raise refusal(code, "read", self._context.channel, self._user)', "continue",
              (f"{IN_KAFKA}_link.py::test_position_beyond_the_end_ends_the_link",)),
    )),
    Trap(16, "zenoh: Python callbacks cannot keep up, and the transport is closed", (
        Guard(f"{ZENOH}/link.py", "            zenoh.handlers.RingChannel(RING),\n",
              "            zenoh.handlers.FifoChannel(256),\n",
              (f"{IN_ZENOH}_stall.py::test_loop_that_spins_loses_little_and_keeps_its_peers",)),
    )),
    Trap(17, "zenoh: BLOCK holds `put` for 5 s on one frozen peer", (
        Guard(f"{ZENOH}/link.py", "congestion_control=zenoh.CongestionControl.DROP",
              "congestion_control=zenoh.CongestionControl.BLOCK",
              (f"{HOUSE}[{ZENOH}/link.py]",
               f"{IN_ZENOH}_stall.py::test_send_does_not_wait_for_a_frozen_peer")),
    )),
    Trap(18, "zenoh: shared memory and a short wait lose bursts", (
        Guard(f"{ZENOH}/settings.py", '    "transport/shared_memory/enabled": False,\n', "",
              (f"{IN_ZENOH}_settings.py::test_what_zenoh_would_do_by_itself_is_not_left_to_it",)),
        Guard(f"{ZENOH}/settings.py", '/wait_before_drop": 3000,', '/wait_before_drop": 1000,',
              (f"{IN_ZENOH}_settings.py::test_what_zenoh_would_do_by_itself_is_not_left_to_it",)),
    )),
    Trap(19, "redis-py: pub/sub of a cluster stays at a node that died", (
        Guard(f"{REDIS}/__init__.py", "key=lambda node: (node in tried, node == self._last)",
              "key=lambda node: node != self._last",
              (f"{IN_REDIS}_failover.py"
               "::test_a_link_to_a_node_that_died_is_at_another_one_before_any_failover",)),
    )),
    Trap(20, "redis-py: RESP3 writes each message as text for a log that nobody reads", (
        Guard(f"{REDIS}/link.py", "from bus_redis.connection import command\n",
              "from redis.asyncio import Redis as Client\nfrom bus_redis.connection import command\n",
              (f"{HOUSE}[{REDIS}/link.py]",)),
    )),
    Trap(21, "`connect` may never return", (
        Guard("bus/supervisor.py", "patience = self.lifecycle.patience(self._limits.connect)",
              "patience = 1e6",
              ("tests/bus/test_supervisor.py::test_a_connect_that_hangs_is_given_up_after_its_limit",)),
    )),
    Trap(22, "wrong credentials look like a server that is down", (
        Guard(f"{NATS}/refusal.py", 'if re.search("authorization|expired|revoked", low):', "if False:",
              (f"{IN_NATS}_bad_input.py::test_wrong_logins_are_refused_by_name",)),
        Guard(f"{REDIS}/faults.py", 'if code in ("WRONGPASS", "NOAUTH", "DENIED"):', "if False:",
              (f"{IN_REDIS}_bad_input.py::test_a_wrong_password_names_the_url",)),
    )),
    Trap(23, "in a cancelled scope every await of the cleaning up raises again", (
        Guard("bus/bus.py", "anyio.CancelScope(shield=True)", "anyio.CancelScope()",
              ("tests/bus/test_closing.py::test_closing_works_in_a_cancelled_scope",)),
    )),
    Trap(24, "msgspec raises more than DecodeError", (
        Guard("bus/event.py",
              "        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):  # T24\n",
              "        except msgspec.DecodeError:\n",
              ("tests/bus/test_undecodable.py"
               "::test_an_event_that_cannot_be_decoded_is_a_gap_and_the_next_one_comes",)),
        Guard("bus/protocol/control.py", "(msgspec.MsgspecError, RecursionError, ", "(msgspec.MsgspecError, ",
              ("tests/simulation/test_scenarios.py::test_scenario[deep_nesting_in_a_heartbeat_is_refused]",)),
    )),
    Trap(25, "aiokafka: new partitions are not noticed, or all positions jump", (
        Guard(f"{KAFKA}/link.py",
              "if found.code == 0 and found.leaders != self._layout.leaders:", "if False:",
              (f"{IN_KAFKA}_link.py::test_more_partitions_end_the_link_and_the_next_one_hears_them",)),
    )),
)  # fmt: skip


def copy_of_the_tree(folder: Path) -> Path:
    """What a test run needs of it."""
    tree = folder / "tree"
    leave = shutil.ignore_patterns(".git", ".venv", "__pycache__", "node_modules", "results.jsonl")
    shutil.copytree(ROOT, tree, ignore=leave)
    return tree


def is_missed(guard: Guard, tree: Path) -> str | None:
    """Take one guard out of the copy and run its tests: None when each fails, else what went wrong."""
    path = tree / guard.file
    source = path.read_text()
    path.write_text(source.replace(guard.old, guard.new))
    try:
        for node in guard.nodes:
            ended = subprocess.run(
                [sys.executable, "-m", "pytest", node, "-qx", "-p", "no:cacheprovider", "--timeout", "60"],
                cwd=tree, capture_output=True, text=True, check=False, timeout=PATIENCE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tree), str(tree / "backends")))},
            )  # fmt: skip
            # 1: tests have failed. Anything else is no verdict on the guard.
            if ended.returncode != 1:
                return f"{node} ended with {ended.returncode}\n{ended.stdout[-800:]}"
    finally:
        path.write_text(source)
    return None


def main(words: Sequence[str]) -> int:
    """Each guard in turn; the exit code is 1 when one is not missed."""
    bad = 0
    with tempfile.TemporaryDirectory(prefix="bus-traps-") as folder:
        tree = copy_of_the_tree(Path(folder))
        for trap in TRAPS:
            if words and f"T{trap.number}" not in words:
                continue
            for guard in trap.guards:
                trouble = is_missed(guard, tree)
                bad += trouble is not None
                verdict = "missed" if trouble is None else f"NOT MISSED: {trouble}"
                sys.stdout.write(f"T{trap.number} {guard.file}: {verdict}\n")
                sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
