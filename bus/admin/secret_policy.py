"""Which environment variables and files a secret may name when it is set over the network.

Whoever may update the Coordinator could otherwise have the node read any file it can read, and send it as a
password to a server of his own. What the node was started with is the operator's, and not judged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bus.admin.masks import destinations
from bus.config import EnvironmentVariable, File, Problem
from bus.config.problem import listing, problem

if TYPE_CHECKING:
    from bus.config import Coordinator

# The tokens of this very server are no passwords for another one.
_NEVER = ("BUS_TOKEN", "BUS_ADMIN_TOKEN")


class SecretPolicy(NamedTuple):
    """Prefixes of variable names, and directories; links are followed before a path is judged."""

    variables: tuple[str, ...] = ("BUS_", "KAFKA_", "NATS_", "REDIS_", "VALKEY_", "ZENOH_")
    directories: tuple[str, ...] = ("/run/secrets", "/etc/bus")

    def problems(self, new: Coordinator, stored: Coordinator) -> list[Problem]:
        """What is not allowed in `new`. What is kept from `stored` is not asked about, on the same hosts."""
        moved = type(new) is not type(stored) or not destinations(new) <= destinations(stored)
        return [
            found
            for attribute, name in zip(new.__struct_fields__, new.__struct_encode_fields__, strict=True)
            if moved or getattr(new, attribute) != getattr(stored, attribute)
            for found in self._judge(name, getattr(new, attribute), getattr(stored, attribute, None))
        ]

    def _judge(self, name: str, secret: object, former: object) -> Iterator[Problem]:
        # Else who has changed the address only would not know what is wrong with the secret.
        use = "sent to another server" if secret == former else "used"
        if isinstance(secret, EnvironmentVariable):
            variable = secret.variable_name.strip()
            if not variable.startswith(self.variables) or variable.startswith(_NEVER):
                yield problem(
                    f"{name}/variableName",
                    "format",
                    f"this variable must not be {use} over the network",
                    allowed=listing(f"{prefix}*" for prefix in self.variables),
                )
        elif isinstance(secret, File):
            path = Path(os.path.realpath(secret.file_path.strip()))
            if not any(path.is_relative_to(os.path.realpath(one)) for one in self.directories):
                yield problem(
                    f"{name}/filePath",
                    "format",
                    f"this file must not be {use} over the network",
                    allowed=f"files in {listing(self.directories)}",
                )
