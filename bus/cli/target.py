"""Which admin server to talk to, and as whom: flag > environment > ~/.config/bus/cli.toml > default.

    url = "https://node-1:8443"             BUS_URL           --url
    tokenFile = "/etc/bus/node-1.token"     BUS_TOKEN_FILE    --token-file   (or BUS_TOKEN: itself)
    caFile = "/etc/bus/ca.pem"              BUS_CA_FILE       --ca-file

    [profiles.staging]                      BUS_PROFILE       --profile
    url = "https://staging:8443"

There is no flag for the token itself: arguments can be seen by everybody on the machine. A profile has all
three to itself; nothing of another one is mixed in.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from bus.cli.failure import DENIED, INVALID, Failure, usage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DEFAULT_URL = "http://127.0.0.1:8080"
_NAMES = ("url", "token", "tokenFile", "caFile")
MAX_FILE = 65_536


class Target(NamedTuple):
    """One admin server; `token` is never shown."""

    url: str
    token: str
    ca_file: str | None
    timeout: float

    def __repr__(self) -> str:
        return f"Target({self.url})"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that talks to an admin server."""
    group = parser.add_argument_group("server")
    group.add_argument("--url", help=f"of the admin server (BUS_URL; default {DEFAULT_URL})")
    group.add_argument("--token-file", metavar="FILE", help="with the token (BUS_TOKEN_FILE, BUS_TOKEN)")
    group.add_argument("--ca-file", metavar="FILE", help="authorities to trust, PEM (BUS_CA_FILE)")
    group.add_argument("--profile", metavar="NAME", help="of ~/.config/bus/cli.toml (BUS_PROFILE)")
    group.add_argument(
        "--timeout", type=float, default=90.0, metavar="SECONDS", help="for one answer (default 90)"
    )


def target_of(arguments: argparse.Namespace) -> Target:
    """The one server that is meant. Raises Failure."""
    return _target(arguments, arguments.url, arguments.profile or os.environ.get("BUS_PROFILE"))


def targets_of(arguments: argparse.Namespace, names: str) -> list[Target]:
    """Several: URLs, or names of profiles, with commas between them. Raises Failure."""
    found: list[Target] = []
    for name in filter(None, (one.strip() for one in names.split(","))):
        is_url = "://" in name
        found.append(_target(arguments, name if is_url else None, None if is_url else name))
    if not found:
        raise usage("--nodes names nobody", "write --nodes https://node-1:8443,https://node-2:8443")
    twice = [one.url for one in found if [other.url for other in found].count(one.url) > 1]
    if twice:
        raise usage(f"--nodes names {twice[0]} twice")
    return found


def _target(arguments: argparse.Namespace, url: str | None, profile: str | None) -> Target:
    stored = _stored(profile)
    flags = {"url": url, "tokenFile": arguments.token_file, "caFile": arguments.ca_file}
    environment = {
        "url": os.environ.get("BUS_URL"),
        "token": os.environ.get("BUS_TOKEN"),
        "tokenFile": os.environ.get("BUS_TOKEN_FILE"),
        "caFile": os.environ.get("BUS_CA_FILE"),
    }
    # A profile that was named goes before what the environment says for every day.
    layers = [flags, stored, environment] if profile else [flags, environment, stored]
    token = ""
    for layer in layers:
        if text := layer.get("token"):
            token = _token(str(text), "the token")
            break
        if path := layer.get("tokenFile"):
            token = _token(_read(str(path)), str(path))
            break

    def first(name: str) -> str | None:
        return next((str(layer[name]) for layer in layers if layer.get(name)), None)

    if not 0 < arguments.timeout <= 3600:
        raise usage(f"--timeout is {arguments.timeout:g}; it must be above 0 and at most 3600")
    return Target(_url(first("url") or DEFAULT_URL), token, first("caFile"), arguments.timeout)


def _url(text: str) -> str:
    scheme, slashes, rest = text.partition("://")
    authority = rest.partition("/")[0]
    if "@" in rest:
        raise usage("a URL of an admin server holds no user or password", "put the token into BUS_TOKEN_FILE")
    if not slashes or scheme.lower() not in ("http", "https") or not authority:
        raise usage(
            f'"{text[:80]}" is no URL of an admin server', f"write http(s)://host:port, such as {DEFAULT_URL}"
        )
    _, colon, port = authority.rpartition(":")
    if colon and not authority.endswith("]") and not (port.isascii() and port.isdecimal()):
        raise usage(f'"{text[:80]}": the port must be a number')
    return text.rstrip("/")


def _token(text: str, where: str) -> str:
    text = text.strip()
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", text):
        raise Failure(
            DENIED, "noToken", f"{where}: it holds no token", "one line of visible ASCII characters"
        )
    return text


def _read(path: str) -> str:
    from bus.config.secret import read_regular

    trouble = ""
    try:
        return read_regular(os.path.expanduser(path), MAX_FILE)[0].decode("ascii", "replace")
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    except ValueError as error:
        trouble = str(error)
    raise Failure(DENIED, "noToken", f"token file {path}: {trouble}", "name another one: --token-file")


def settings_file() -> Path:
    """Where the settings of this user are."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(f"{home}/bus/cli.toml").expanduser()


def _stored(profile: str | None) -> Mapping[str, object]:
    """Of the profile, or what stands in front of all of them. Raises Failure."""
    path = settings_file()
    content = _content(path)
    if profile is None:
        found = {name: value for name, value in content.items() if name != "profiles"}
        place = str(path)
    else:
        profiles = content.get("profiles")
        known = cast("dict[str, object]", profiles) if isinstance(profiles, dict) else {}
        one = known.get(profile)
        if not isinstance(one, dict):
            listed = ", ".join(known) or "none"
            raise usage(f"{path} has no profile {profile}", f"it has: {listed}")
        found, place = cast("dict[str, object]", one), f"{path}: profile {profile}"
    for name, value in found.items():
        if name not in _NAMES:
            raise _broken(f"{place}: there is no setting {name}; there are {', '.join(_NAMES)}")
        if not isinstance(value, str):
            raise _broken(f"{place}: {name} must be text")
    return found


def _content(path: Path) -> Mapping[str, object]:
    import tomllib

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        trouble = error.strerror or type(error).__name__
    except ValueError:
        trouble = "it is not valid TOML"
    else:
        if mode & (stat.S_IWGRP | stat.S_IWOTH) or ("token" in str(content) and mode & stat.S_IROTH):
            raise _broken(f"{path}: others can read or change it: chmod 600 it")
        return content
    raise _broken(f"{path}: {trouble}")


def _broken(text: str) -> Failure:
    return Failure(INVALID, "invalidSettings", text)
