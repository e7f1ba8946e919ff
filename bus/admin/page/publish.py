"""POST /publish: one `Message` from a form or from curl, and which nodes have it.

{"topic": "demo.hello", "body": "text"}  ->  {"node", "epoch", "seq", "heard": [...], "missing": [...]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.admin.jmap import ijson
from bus.admin.jmap.request import Refused
from bus.admin.page import shown
from bus.errors import Closed, UsageError
from bus.event import Message

if TYPE_CHECKING:
    from bus.admin.jmap.ijson import JsonObject
    from bus.bus import Bus

# Bytes of the request, characters of a topic; seconds that the other nodes have.
MAX_BODY, MAX_TOPIC = 1_000_000, 500
CONFIRM = 2.0
_FORM = 'send {"topic": "a.b", "body": "text"}'


def read(body: bytes) -> Message:
    """The event that a request means. Raises Refused 400."""
    trouble = ""
    found: object = None
    try:
        found = ijson.read(body)
    except ValueError:
        trouble = f"not JSON: {_FORM}"
    if not trouble and not ijson.is_object(found):
        trouble = f"not an object: {_FORM}"
    fields: JsonObject = found if ijson.is_object(found) else {}
    topic, text = fields.get("topic"), fields.get("body", "")
    if unknown := sorted(fields.keys() - {"topic", "body"}):
        trouble = trouble or f'there is no field "{shown.name(unknown[0])}": {_FORM}'
    if not isinstance(topic, str) or not topic or len(topic) > MAX_TOPIC:
        trouble = trouble or f"topic must be a text of 1 to {MAX_TOPIC} characters, its words joined by dots"
    if not isinstance(text, str):
        trouble = trouble or "body must be a text"
    if trouble or not isinstance(topic, str) or not isinstance(text, str):
        raise Refused(400, "about:blank", trouble)
    return Message(topic, text.encode())


async def publish(bus: Bus, event: Message) -> JsonObject:
    """Publish it, and wait a moment for the others. Raises Refused 400, 503."""
    trouble = ""
    is_closed = False
    seq = 0
    try:
        seq = bus.publish(event)
    except Closed as error:
        trouble, is_closed = str(error), True
    except UsageError as error:
        trouble = str(error)
    if trouble:
        raise Refused(503 if is_closed else 400, "about:blank", trouble)
    confirmed = await bus.confirm(seq, CONFIRM)
    status = bus.status()
    return {
        "node": shown.name(status.node),
        "epoch": f"{status.epoch:016x}",
        "seq": seq,
        "heard": sorted(map(shown.name, confirmed.heard)),
        "missing": sorted(map(shown.name, confirmed.missing)),
    }
