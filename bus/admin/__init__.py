"""The Coordinator object over the network: JMAP, stored, proven before it is saved, changed while running.

    async with Bus.open("nats://127.0.0.1:4222") as bus, AdminServer(bus, state_dir="/var/lib/bus") as admin:
        ...

Needs the extra `admin` (starlette, uvicorn), which is imported when a server starts. How to run it, what it
answers and why: docs/admin.md.

    server      puts all of this together      app, http, gate   paths, connections, who is let in
    jmap/       RFC 8620 by itself             coordinator       the methods of the object
    patch, masks, secret_policy                what a patch may say
    cutover     judge -> trial -> store -> switch, and back
    store, tokens, audit                       the files of the state directory
"""

from bus.admin.listen import Tls
from bus.admin.node import LiveNode, Node
from bus.admin.secret_policy import SecretPolicy
from bus.admin.server import AdminServer, state_directory, stored
from bus.admin.store import Store
from bus.admin.tokens import PERMISSIONS, Token, Tokens

__all__ = [
    "PERMISSIONS",
    "AdminServer",
    "LiveNode",
    "Node",
    "SecretPolicy",
    "Store",
    "Tls",
    "Token",
    "Tokens",
    "state_directory",
    "stored",
]
