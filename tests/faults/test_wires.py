"""A network of its own does what the lab believes it does, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.wires import Wires, beside, missing, run

ROOT = Path(__file__).parents[2]
# Runs beside the broker: a server that says its name, what a node gets of it, under each fault.
INSIDE = """
import socket, subprocess, sys, threading
from tests.faults.cables import Cables
from tests.faults.wires import beside
base = sys.argv[1]
server = socket.create_server(("127.0.0.1", 12345))
def serve():
    while True:
        one, _ = server.accept()
        one.sendall(b"hello")
        one.close()
threading.Thread(target=serve, daemon=True).start()
CLIENT = '''
import socket
try:
    with socket.create_connection(("127.0.0.1", 12345), timeout=0.7) as one:
        one.settimeout(0.7)
        print(one.recv(5).decode())
except OSError as error:
    print(type(error).__name__)
'''
def asks(node):
    argv = [*beside(base, node), sys.executable, "-c", CLIENT]
    return subprocess.run(argv, capture_output=True, text=True).stdout.strip()
cables = Cables()
print("whole", asks("a"), asks("b"))
cables.drop("in", "out", node="a")
print("a is cut off", asks("a"), asks("b"))
cables.drop("out")
print("deaf", asks("a"))
cables.reject()
print("refused", asks("a"))
cables.down()
print("down", asks("a"))
cables.heal()
print("healed", asks("a"))
"""


def ours() -> set[str]:
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {name for name in names.split() if name.startswith(f"bus-faults-{os.getpid()}-")}


@pytest.mark.skipif(
    bool(missing()) and not os.environ.get("CI"), reason=f"NETWORK FAULTS ARE NOT TESTED: needs {missing()}"
)
def test_a_network_of_its_own_can_be_cut_refuse_be_down_and_heal() -> None:
    with Wires("ab") as wires:
        done = subprocess.run(
            [*wires.inside, sys.executable, "-c", INSIDE, wires.base],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        assert done.stdout.splitlines() == [
            "whole hello hello",
            "a is cut off TimeoutError hello",
            "deaf TimeoutError",
            "refused ConnectionRefusedError",
            "down TimeoutError",
            "healed hello",
        ]
        assert ours()
    assert not ours()


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no-such-thing"):
        run("ls", "/no-such-thing")


def test_a_node_runs_in_its_own_namespace() -> None:
    assert beside("bus-faults-1-0", "a") == ["ip", "netns", "exec", "bus-faults-1-0-a"]
