"""`bus run`: a node and its admin server, until SIGTERM or SIGINT; SIGHUP reads certificate and tokens again.

With `--app module:function` the function runs with the bus, and the node ends with it when it fails: an
application with an admin server, and no main program of its own.

The settings, and which of them wins: `bus.cli.settings`. A node that cannot reach its messaging system goes
on trying; one whose configuration is refused stays, too, so that the admin server can mend it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from bus.cli import output, settings
from bus.cli.failure import CONNECTION, OTHER, Failure

if TYPE_CHECKING:
    import argparse
    import asyncio
    from collections.abc import Awaitable, Callable

    from bus import Bus
    from bus.admin import AdminServer
    from bus.config import Coordinator

# Longer than any node needs that gets there at all; it goes on trying after that.
SLOW = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Run a node with the admin server until SIGTERM or SIGINT."
    settings.configure(parser)
    output.configure(parser)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Run it."""
    from bus.cli import logs
    from bus.cli.loops import TERMINATED, run_until_signalled
    from bus.opening import name_of

    found = settings.load(arguments)
    node = name_of(found.text("node"))
    level = "debug" if arguments.debug else found.text("logLevel") or "info"
    logs.set_up(found.text("logFormat") or "auto", level, node, _scrub(found.coordinator))
    code = run_until_signalled(_run(found, node))
    # To be told to end, and to end, is what a service is for.
    return 0 if code == TERMINATED else code


def _scrub(coordinator: Coordinator) -> Callable[[str], str]:
    from bus.trial import scrubbed

    return lambda text: scrubbed(text, coordinator)


async def _run(found: settings.Settings, name: str) -> int:
    import asyncio
    from contextlib import AsyncExitStack

    from bus import Bus
    from bus.cli.modules import application, event_types

    app = found.text("app")
    work = application(app) if app else None
    types = [cls for tag, cls in event_types(found.texts("import")).items() if tag != 0]
    bus = Bus.open(
        found.coordinator, node=name, cluster=found.text("cluster") or "default", events=types,
        store=found.text("store"), key=found.cluster_key(),
    )  # fmt: skip
    has_admin = found.text("listen") != "off"
    tasks: set[asyncio.Task[None]] = set()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bus)
        if has_admin:
            hangups = _hangups()
            admin = await stack.enter_async_context(_admin(bus, found))
            tasks.add(asyncio.create_task(_reload(admin, hangups)))
        tasks.add(asyncio.create_task(_tell_ready(bus, has_admin=has_admin)))
        if app and work is not None:
            tasks.add(asyncio.create_task(_work(app, work, bus)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            await asyncio.Event().wait()
        finally:
            for task in tasks:
                task.cancel()
            # The application may use its bus while it ends.
            await asyncio.wait(tasks)
    return 0


async def _work(app: str, work: Callable[[Bus], Awaitable[object]], bus: Bus) -> None:
    """The application. Raises Failure when it does; a node whose application has returned goes on."""
    import logging

    try:
        await work(bus)
    except Exception as error:
        logging.getLogger("bus").exception("%s has failed", app)
        raise Failure(OTHER, "applicationFailed", f"{app}: {type(error).__name__}: {error}") from None


def _admin(bus: Bus, found: settings.Settings) -> AdminServer:
    from bus.admin import AdminServer, Tls

    cert = found.text("tlsCert")
    return AdminServer(
        bus,
        state_dir=found.text("stateDir"),
        listen=found.text("listen") or "127.0.0.1:8080",
        tls=Tls(cert, found.text("tlsKey"), found.text("tlsClientCa")) if cert else None,
        insecure_http=found.is_on("insecureHttp"),
        token_file=found.text("tokenFile"),
        hosts=found.texts("hosts"),
        store=found.text("store"),
        managed=cast("Literal['admin', 'file']", found.text("managed") or "admin"),
    )


def _hangups() -> asyncio.Event:
    """Set by each SIGHUP from now on: one that comes before the admin server is there must end nothing."""
    import asyncio
    import signal
    from contextlib import suppress

    hangups = asyncio.Event()
    # Windows has no such handlers, and no SIGHUP.
    with suppress(NotImplementedError, AttributeError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangups.set)
    return hangups


async def _reload(admin: AdminServer, hangups: asyncio.Event) -> None:
    import logging

    log = logging.getLogger("bus.admin")
    while await hangups.wait():
        hangups.clear()
        try:
            await admin.reload()
        except Exception as error:  # noqa: BLE001  # the old certificate stays in use
            log.error("not everything could be read again: %s", error)
        else:
            log.info("certificate and tokens were read again")


async def _tell_ready(bus: Bus, *, has_admin: bool) -> None:
    """Log it once. Raises Failure when the node is of no use to anybody."""
    import logging

    from bus.errors import Closed, ConfigError

    log = logging.getLogger("bus")
    try:
        await bus.ready(SLOW)
    except TimeoutError as error:
        log.warning("%s; it goes on trying", error)
    except ConfigError as error:
        if not has_admin:
            raise Failure(CONNECTION, "connectionFailed", str(error), "bus doctor says more") from None
        log.error("%s; mend it with bus update, or start again", error)
    except Closed:
        return
    else:
        status = bus.status()
        links = ", ".join(link.type for link in status.links) or "Disabled: no link is wanted"
        log.info("%s is ready (%s)", status.node, links)
