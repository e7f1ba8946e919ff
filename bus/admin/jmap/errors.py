"""The two errors below the level of a request: one method call fails, or one object of a /set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.admin.jmap.ijson import JsonObject
    from bus.config import Problem

MOST_TOLD = 100

MethodErrorType = Literal[
    "unknownMethod",
    "invalidArguments",
    "invalidResultReference",
    "forbidden",
    "accountNotFound",
    "requestTooLarge",
    "stateMismatch",
    "serverFail",
    "serverUnavailable",
]


class MethodError(Exception):
    """The response to one call is ["error", {type, description}, call id]; the next call goes on."""

    def __init__(self, kind: MethodErrorType, description: str) -> None:
        super().__init__(description)
        self.kind = kind
        self.description = description

    def as_json(self) -> JsonObject:
        """The arguments of the error response."""
        return {"type": self.kind, "description": self.description}


class SetError(Exception):
    """One object is not created, updated or destroyed. No text holds a secret."""

    def __init__(self, kind: str, description: str, **more: object) -> None:
        super().__init__(description)
        self.kind = kind
        self.description = description
        self.more = more

    def as_json(self) -> JsonObject:
        """As it stands in notCreated, notUpdated or notDestroyed."""
        return {"type": self.kind, "description": self.description, **self.more}


def invalid_patch(path: str, description: str) -> SetError:
    """The keys of a patch contradict each other or the object."""
    return SetError("invalidPatch", description, properties=[path])


def invalid_properties(problems: Sequence[Problem]) -> SetError:
    """Everything that is wrong with the values, at once; of hundreds of problems the first ones."""
    count = f"{len(problems)} problems: " if len(problems) > 1 else ""
    problems = problems[:MOST_TOLD]
    return SetError(
        "invalidProperties",
        count + "\n".join(problem.message for problem in problems),
        properties=list(dict.fromkeys(problem.path or "@type" for problem in problems)),
        validationErrors=[
            {"path": one.path or "@type", "code": one.code, "message": one.message, "hint": one.hint}
            for one in problems
        ],
    )
