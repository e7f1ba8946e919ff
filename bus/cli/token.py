"""`bus token create|list|revoke`: in the state directory of a node, which takes notice within a second."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING

from bus.cli import output, settings
from bus.cli.failure import OTHER, Failure, usage

if TYPE_CHECKING:
    import argparse

    from bus.admin import Tokens
    from bus.admin.tokens import Token

# Every node leaves it in its state directory (`bus.admin.store`).
LOCK = ".lock"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.description = "Tokens of the admin server; their text is shown once, when they are made."
    actions = parser.add_subparsers(metavar="create|list|revoke", required=True, dest="action")
    create = actions.add_parser("create", help="make one and print it", allow_abbrev=False)
    create.add_argument("name", metavar="NAME", help="what it is for")
    create.add_argument(
        "--permission", action="append", default=[], metavar="NAME",
        help="such as sysCoordinatorGet, sysCoordinatorUpdate (may be given again)",
    )  # fmt: skip
    create.add_argument("--expires", metavar="TIME", help="such as 90d, 12h (default: never)")
    listing = actions.add_parser("list", help="all of them, without their text", allow_abbrev=False)
    revoke = actions.add_parser("revoke", help="make one useless", allow_abbrev=False)
    revoke.add_argument("id", metavar="ID", help="of bus token list")
    for one in (create, listing, revoke):
        settings.configure_state(one)
        output.configure(one)


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Do it."""
    from bus.admin import Tokens, files

    out = output.Output(arguments)
    if arguments.action == "create":
        folder = settings.state_folder(arguments)
        is_new = not folder.is_dir()
        files.make_private(folder)
    else:
        folder, is_new = settings.existing_state_folder(arguments), False
    tokens = Tokens(folder)
    actions = {"create": _create, "list": _list, "revoke": _revoke}
    try:
        files.check_private(tokens.path)
        tokens.load()
        code = actions[arguments.action](out, tokens, arguments)
    except OSError as error:
        trouble = "notWritten" if arguments.action != "list" else "unreadable"
        raise Failure(OTHER, trouble, f"{tokens.path}: {error.strerror}") from None
    if arguments.action == "create" and not (folder / LOCK).exists():
        found = "a new state directory was made" if is_new else "no node has used this state directory yet"
        out.warn(
            f"{found}: {folder}. The token is for a node that is started with it, "
            f"bus run --state-dir {shlex.quote(str(folder))}; a node with another one answers 401. "
            "To name that of a node: --state-dir DIR, or --config FILE"
        )
    return code


def _create(out: output.Output, tokens: Tokens, arguments: argparse.Namespace) -> int:
    from bus.admin import PERMISSIONS
    from bus.config import Duration
    from bus.errors import ConfigError

    if not arguments.permission:
        raise usage("--permission is needed", f"there are {', '.join(PERMISSIONS)}")
    expires = None
    if arguments.expires:
        try:
            expires = timedelta(seconds=Duration(arguments.expires).seconds)
        except (ConfigError, OverflowError):
            raise usage(f"--expires {arguments.expires[:40]} is no time", "such as 90d, 12h") from None
    try:
        text = tokens.create(arguments.name, arguments.permission, expires)
    except ConfigError as error:
        raise usage(str(error)) from None
    id = text.split("_")[1]
    if out.is_json:
        out.json({"id": id, "name": arguments.name, "token": text})
    else:
        out.line(text)
        out.note(f"token {id} for {arguments.name}; it is shown this once")
    return 0


def _list(out: output.Output, tokens: Tokens, arguments: argparse.Namespace) -> int:
    found = tokens.all()
    if out.is_json:
        out.json([_as_json(token) for token in found])
        return 0
    rows = [
        (
            token.id,
            token.name,
            "EXPIRED" if token.is_expired else token.expires.isoformat() if token.expires else "never",
            ", ".join(sorted(token.permissions)),
        )
        for token in found
    ]
    out.table(("id", "name", "expires", "permissions"), rows)
    return 0


def _as_json(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "permissions": sorted(token.permissions),
    }


def _revoke(out: output.Output, tokens: Tokens, arguments: argparse.Namespace) -> int:
    if not tokens.revoke(arguments.id):
        raise Failure(OTHER, "notFound", f'there is no token "{arguments.id[:40]}"', "bus token list")
    if out.is_json:
        out.json({"revoked": arguments.id})
    else:
        out.line(f"revoked {arguments.id}")
    return 0
