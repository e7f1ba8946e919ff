"""For tests of applications and of backends; nothing of the runtime imports this.

    SimNetwork      the protocol itself: N engines on a virtual clock, with scripted and seeded faults
    SimLoop         asyncio with virtual time: your own handlers on Memory, hours in milliseconds
    MemoryFaults    drop, delay, duplicate, cut between named nodes of the Memory backend
    FakeSystem      a messaging system whose every call does what a script says (`bus.testing.fake`)
    Proxy, Toxics   a bad network in front of a real server
    inject          put a Gap, an Overflow or a Resync into the streams of a bus
    no_leaks        nothing is left behind: tasks, threads, processes

`bus.testing.conformance` is the suite for backends, `bus.testing.brokers` has real servers,
`bus.testing.plugin` the pytest fixtures.
"""

from bus.testing.fake import FakeSystem
from bus.testing.faults import MemoryFaults
from bus.testing.leaks import Leaked, no_leaks
from bus.testing.losses import Losses, inject
from bus.testing.network import SimNetwork
from bus.testing.proxy import Proxy, Toxics
from bus.testing.simloop import SimLoop, run_sim

__all__ = [
    "FakeSystem",
    "Leaked",
    "Losses",
    "MemoryFaults",
    "Proxy",
    "SimLoop",
    "SimNetwork",
    "Toxics",
    "inject",
    "no_leaks",
    "run_sim",
]
