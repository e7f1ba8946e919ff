"""A threaded application on the bus: Flask answers in threads, the bus has an event loop in another one.

    python -m examples.threaded_flask 8000
    curl -X POST http://127.0.0.1:8000/orders/7        curl http://127.0.0.1:8000/orders

Any thread may call `publish_from_thread`. It never blocks, and raises in the thread that calls it. All other
methods belong to the thread of the event loop: `portal.call` takes them there.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

from anyio.from_thread import start_blocking_portal
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

from bus import Bus, Event, Loss


class OrderPlaced(Event, tag="order.placed"):
    """A customer has ordered something."""

    order: int


# Added to in the thread of the bus, read in those of Flask: appending and copying a list are atomic.
heard: list[str] = []


def note(item: OrderPlaced | Loss) -> None:
    heard.append(f"order {item.order}" if isinstance(item, OrderPlaced) else "something was lost")


@contextmanager
def bus_in_a_thread(url: str) -> Generator[Bus]:
    """An open bus; its event loop runs in a thread of its own until the block ends."""
    bus = Bus.open(url, cluster="orders")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(bus):
        portal.call(bus.on, OrderPlaced, note, note)
        portal.call(bus.ready)
        yield bus


def application(bus: Bus) -> Flask:
    app = Flask(__name__)

    @app.post("/orders/<int:order>")
    def place(order: int) -> ResponseReturnValue:
        bus.publish_from_thread(OrderPlaced(order))
        return "", 204

    @app.get("/orders")
    def show() -> ResponseReturnValue:
        return jsonify(heard)

    return app


def main(port: int) -> None:
    # SIGTERM ends it as Ctrl-C does: the bus says goodbye, and what it has is sent.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with bus_in_a_thread(os.environ.get("BUS_COORDINATOR", "zenoh://")) as bus:
        server = make_server("127.0.0.1", port, application(bus), threaded=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            server.server_close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
