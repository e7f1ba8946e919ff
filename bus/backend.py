"""THE CONTRACT between the bus and one messaging system.

A backend moves bytes and classifies errors. It has no intelligence: it never retries, backs off,
queues, counts, decodes, reorders, deduplicates, logs per message, or names another backend. All of
that is the core's, once for everybody. What a backend may lose, repeat or delay, the core repairs;
what it must never do is change the bytes of a frame, or mix two channels.

Who calls what, and when
    Backend(config, context)   once per configuration, from `Bus.open`, before any I/O
    await connect()            from the supervisor, bounded by `Limits.connect`, cancelled when late
    await link.run()           once per link, at once after connect; its end or exception = link
    lost await link.send(frame)     one task at a time, concurrently with `run`
    await link.close()         once, bounded by 1 s; then always `abort()`
    link.abort()               any number of times, also while `send`, `run` or `close` hang
    classify(exc)              for whatever connect, run or send raised

The template to copy is `backends/bus_memory`; the suite to pass is `bus.testing.conformance`.
How to write, package and test a backend: docs/new-backend.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from bus.config import Coordinator  # noqa: TC001  # part of the contract at run time, too
from bus.errors import Fault, LinkError

__all__ = ["Backend", "Context", "Fault", "Features", "Link", "LinkError", "ThreadDoor"]

# The way a link proves that it is alive (rule 10). A server's confirm of one frame is never proof.
#   "echo"    frames that we send come back to us through the server: our own heartbeat is the proof
#   "server"  the server answers a ping sent after the subscription on the same connection; the
# backend
#             calls `context.proven()` for each answer, and for the first before `connect` returns
#   "peers"   only another node's heartbeat that lists us proves anything (brokerless systems)
ProofKind = Literal["echo", "server", "peers"]


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What the core must know of a backend, as data. Every field has the harmless default."""

    proof: ProofKind = "echo"
    # True: the backend calls `context.confirmed()` once per frame, in order of `send`, when the
    # server has it; the core then keeps at most two frames unconfirmed. False: the return of `send`
    # counts.
    confirms: bool = False
    # Bytes of a frame: where the size starts, and what it never grows above (one event larger than
    # that travels alone). NATS, Redis, Memory 64 KiB and 256 KiB; Zenoh 60,000 for both; Kafka 256
    # KiB.
    frame: int = 65_536
    max_frame: int = 262_144
    # Bytes of the largest frame that the link can carry at all; a larger event becomes a Gap
    # "too_large_for_link" at the receivers instead of killing the link over and over (rule 16).
    max_message: int = 1 << 20
    # True: the client library needs asyncio; on trio `Bus.open` raises ConfigError before any I/O.
    asyncio_only: bool = False
    # True: `deliver` gets the broker's timestamp of each frame (seconds since the epoch), and
    # frames from before our link are told from live ones by it (rule 14).
    broker_time: bool = False


class ThreadDoor(Protocol):
    """The door for the thread of a client library: a batch with one wake-up of the loop."""

    def __call__(self, frames: Sequence[bytes], /, *, wait: bool = True) -> bool:
        """Hand over a batch; keep it small (32 frames or 1 MiB), the loop decodes it in one go.

        While two batches wait, it blocks that thread, so that its own bounded queue drops and not
        our memory grows; with `wait=False` (the caller is another event loop) it drops the batch
        instead: repair fetches it again. False = not taken; with `wait=True` that means the bus is
        gone: the thread should end.
        """
        ...


class Context(msgspec.Struct, kw_only=True):
    """What the core gives to a backend: names, and the doors for what comes in.

    All doors are valid from construction on, also during `connect`, and harmless after the link's
    end.
    """

    # This node's name and epoch, for client names in the server's own tools. Never for filtering.
    node: str
    epoch: int
    # The one channel of this bus: subject, topic, key expression. The same text on every system.
    channel: str
    # Event loop thread only. One whole frame as it was sent; `bytes`, not to be changed afterwards.
    # Synchronous and short (decode and offer to the inboxes); it never raises.
    deliver: Callable[[bytes], None]
    # The same with the broker's timestamp in seconds; only with `Features.broker_time`.
    deliver_stamped: Callable[[bytes, float], None]
    # For threads of the client library; see `ThreadDoor`.
    deliver_from_thread: ThreadDoor
    # One more frame is confirmed by the server. Loop thread only; only with `Features.confirms`.
    confirmed: Callable[[], None]
    # The server answered on the connection that carries our subscription. Loop thread only; only
    # with `Features.proof == "server"`.
    proven: Callable[[], None]
    # Client-side limits that a backend may need: seconds to connect, events of the inbox default.
    connect_timeout: float
    log: logging.Logger


@runtime_checkable
class Link(Protocol):
    """One established, positioned connection. It is never revived: after a loss comes a new one.

    Optional: `max_message: int`, bytes of the largest frame that this connection carries, where a
    server may carry less than `Features.max_message`.
    """

    async def run(self) -> None:
        """Receive until the link is lost, then raise (a return counts as lost, too).

        Watches what only the library sees: the death of its reading task, its "closed" callback.
        May be cancelled at any await. Frames may instead come from library callbacks; then it only
        waits.
        """
        ...

    async def send(self, frame: bytes) -> None:
        """Hand one frame to the system; return when the library has taken it.

        Called by one task at a time, never again before it returned. May raise, may hang (the core
        watches from outside and rebuilds), must not retry, must not wait for the confirm.
        """
        ...

    async def close(self) -> None:
        """End politely: what `send` took should still leave. The caller bounds it and then aborts."""
        ...

    def abort(self) -> None:
        """Drop sockets, threads and tasks now. Synchronous, never raises, may be called repeatedly."""
        ...


@runtime_checkable
class Backend(Protocol):
    """One messaging system with one configuration. Built by `Bus.open`, used by the supervisor.

    Optional: `max_reconnects: int | None`, how many reconnects in a row may fail; with one more the
    bus gives up (FATAL). 0: it never tries again. None: no limit. And a static
    `configuration_of(client)`, the configuration that a live client of the application stands for
    (None: not one of ours), for the variant Default.
    """

    features: ClassVar[Features]
    # The configuration variant (a `bus.config.Coordinator` subclass) whose `@type` selects this
    # backend.
    Config: ClassVar[type[Coordinator]]

    def __init__(self, config: Coordinator, context: Context) -> None:
        """Validate and import the client library; no I/O. Raises ConfigError (missing package: say
        which extra to install)."""
        ...

    async def connect(self) -> Link:
        """Make a NEW client and return when *positioned*: whatever is sent to the channel from now
        on reaches `deliver`. Secrets are resolved here, on every call, so that rotated ones are
        picked up. Raises what the library raises. When cancelled it leaves nothing behind."""
        ...

    def classify(self, exc: BaseException) -> Fault | None:
        """What kind of trouble is it? None = neither the network nor the configuration: our bug."""
        ...
