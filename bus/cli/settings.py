"""The settings of a node, from one place after the other: default < file < environment < flag < stored.

    file          --config FILE, else BUS_CONFIG, else ./bus.toml, else /etc/bus/bus.toml
    environment   BUS_<NAME>; the Coordinator: BUS_COORDINATOR (a URL or JSON), BUS_COORDINATOR__<FIELD>
    stored        the Coordinator that somebody has changed through the admin server, unless managed = "file"

Each value knows where it comes from. Everything that is wrong is told at once, with file and line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, cast

from bus.cli import reading
from bus.cli.failure import INVALID, OTHER, Failure
from bus.cli.reading import Problems

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bus.cli.client import Json
    from bus.config import Coordinator
    from bus.keys import ClusterKey

DEFAULT_FILES = ("bus.toml", "/etc/bus/bus.toml")


class Setting(NamedTuple):
    """One setting besides the Coordinator. `kind`: text, flag, list, or its choices with | between them."""

    name: str
    variable: str
    kind: str
    default: object
    help: str

    @property
    def flag(self) -> str:
        """On the command line."""
        return "--" + "".join(f"-{char.lower()}" if char.isupper() else char for char in self.name)


SETTINGS: tuple[Setting, ...] = (
    Setting("node", "BUS_NODE", "text", None, "name of this node (default <host>:<pid>)"),
    Setting("cluster", "BUS_CLUSTER", "text", "default", "nodes of one cluster hear each other"),
    Setting("keyFile", "BUS_KEY_FILE", "list", [], "file with the cluster key (BUS_KEY: the key itself)"),
    Setting("import", "BUS_IMPORT", "list", [], "module with event classes (may be given again)"),
    Setting("app", "BUS_APP", "text", None, "module:function to run with the bus of this node"),
    Setting("store", "BUS_STORE", "text", None, "URL of the Redis that the variant Default means"),
    Setting("listen", "BUS_LISTEN", "text", "127.0.0.1:8080", "host:port of the admin server; off: none"),
    Setting("stateDir", "BUS_STATE_DIR", "text", None, "directory for object, tokens, audit trail"),
    Setting("tokenFile", "BUS_ADMIN_TOKEN_FILE", "text", None, "token of the administrator"),
    Setting("tlsCert", "BUS_TLS_CERT", "text", None, "certificate of the admin server (PEM)"),
    Setting("tlsKey", "BUS_TLS_KEY", "text", None, "its key, if it is in another file"),
    Setting("tlsClientCa", "BUS_TLS_CLIENT_CA", "text", None, "whose clients alone may connect"),
    Setting("insecureHttp", "BUS_INSECURE_HTTP", "flag", False, "no TLS beyond this machine: behind a proxy"),
    Setting("hosts", "BUS_HOSTS", "list", [], "further names of the admin server"),
    Setting("managed", "BUS_MANAGED", "admin|file", "admin", "file: the Coordinator is changed here only"),
    Setting("logFormat", "BUS_LOG_FORMAT", "auto|text|json", "auto", "auto: text on a terminal, else JSON"),
    Setting("logLevel", "BUS_LOG_LEVEL", "debug|info|warning|error", "info", "how much is logged"),
)
# Other variables that are ours, or that somebody may well have.
ELSEWHERE = ("BUS_KEY", "BUS_CONFIG", "BUS_URL", "BUS_TOKEN", "BUS_TOKEN_FILE", "BUS_CA_FILE", "BUS_PROFILE")
OBSERVERS = ("cluster", "keyFile", "node", "import", "store", "stateDir")


class Value(NamedTuple):
    """A value and where it comes from: "default", "bus.toml:3", "BUS_NODE", "--node", "stored"."""

    value: object
    source: str


class Settings(NamedTuple):
    """All settings of one node."""

    file: str | None
    values: Mapping[str, Value]
    coordinator: Coordinator
    # JSON name of the field -> its source; "@type" stands for all that is not named.
    sources: Mapping[str, str]
    # What file, environment and flags say, when something stored goes before it.
    configured: Coordinator
    stored: Coordinator | None
    # Why what is stored cannot be read; "" when it can.
    broken: str

    def text(self, name: str) -> str | None:
        """Of a setting of kind text, or one of its choices."""
        value = self.values[name].value
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> list[str]:
        """Of a setting of kind list."""
        return cast("list[str]", self.values[name].value)

    def is_on(self, name: str) -> bool:
        """Of a setting of kind flag."""
        return self.values[name].value is True

    def cluster_key(self) -> ClusterKey | None:
        """Where the cluster key is; nobody can give it on the command line, where everybody can read it.

        The variable BUS_KEY goes before what the file says, as any variable does. Raises ConfigError.
        """
        from bus.config import EnvironmentVariable, File
        from bus.keys import cluster_key

        files = self.values["keyFile"]
        is_nearer = files.source in ("--key-file", "BUS_KEY_FILE")
        if os.environ.get("BUS_KEY") and not (files.value and is_nearer):
            return cluster_key(EnvironmentVariable("BUS_KEY"))
        return cluster_key([File(path) for path in self.texts("keyFile")] or None)


def configure(parser: argparse.ArgumentParser, names: Iterable[str] | None = None) -> None:
    """The flags; of these settings only, if they are named."""
    wanted = set(names) if names is not None else {one.name for one in SETTINGS}
    parser.set_defaults(is_observer=names is not None)
    group = parser.add_argument_group("settings of the node")
    group.add_argument("--config", metavar="FILE", help="TOML, JSON or YAML (BUS_CONFIG; ./bus.toml)")
    group.add_argument("--url", help="of the messaging system, in place of a Coordinator in a file")
    for setting in SETTINGS:
        if setting.name in wanted:
            _add(group, setting)


def configure_state(parser: argparse.ArgumentParser) -> None:
    """The flags of what reads the state directory of a node, and nothing else of it."""
    parser.add_argument(
        "--config", metavar="FILE", help="of the node: names its stateDir (BUS_CONFIG; ./bus.toml)"
    )
    parser.add_argument(
        "--state-dir", dest="setting_stateDir", metavar="DIR", help="of the node (BUS_STATE_DIR)"
    )


def _add(group: argparse._ArgumentGroup, setting: Setting) -> None:  # pyright: ignore[reportPrivateUsage]
    text = f"{setting.help} ({setting.variable})"
    dest = f"setting_{setting.name}"
    if setting.kind == "flag":
        group.add_argument(setting.flag, dest=dest, action="store_true", default=None, help=text)
    elif setting.kind == "list":
        group.add_argument(setting.flag, dest=dest, action="append", metavar="NAME", help=text)
    elif "|" in setting.kind:
        group.add_argument(setting.flag, dest=dest, choices=setting.kind.split("|"), help=text)
    else:
        group.add_argument(setting.flag, dest=dest, metavar="TEXT", help=text)


def load(arguments: argparse.Namespace) -> Settings:
    """All settings. Raises Failure with everything that is wrong."""
    path = getattr(arguments, "config", None) or os.environ.get("BUS_CONFIG") or _default_file()
    problems = Problems()
    file = reading.load(path, problems) if path else reading.NO_FILE
    # Who looks at a system by its URL means that one, whatever the node of this machine was changed to.
    is_alone = getattr(arguments, "is_observer", False) and getattr(arguments, "url", None) is not None
    return settle(file, os.environ, arguments, problems, is_alone=is_alone)


def settle(
    file: reading.File,
    given: Mapping[str, str],
    arguments: argparse.Namespace,
    problems: Problems,
    *,
    is_alone: bool = False,
) -> Settings:
    """... of a file, an environment, and flags; `is_alone`: whatever is stored. Raises Failure."""
    from bus.cli import logs
    from bus.cli.layers import Layers

    values = _values(file, given, arguments, problems)
    layers = Layers(file, given, getattr(arguments, "url", None), problems)
    _refuse_unknown(given, problems)
    coordinator = layers.coordinator()
    problems.raise_all()
    assert coordinator is not None
    stored, broken = (None, "") if is_alone else _stored(values)
    found, sources = coordinator, layers.sources
    if stored is not None:
        found, sources = stored, {"@type": "stored"}
    logs.hide(found)
    return Settings(file.path or None, values, found, sources, coordinator, stored, broken)


def _default_file() -> str | None:
    return next((path for path in DEFAULT_FILES if os.path.exists(path)), None)


def read_file(path: str) -> Json:
    """The content of a TOML, JSON or YAML file. Raises Failure."""
    problems = Problems()
    found = reading.load(path, problems)
    problems.raise_all()
    return found.content


# -- settings besides the Coordinator --------------------------------------------------------------


def _values(
    file: reading.File, environment: Mapping[str, str], arguments: argparse.Namespace, problems: Problems
) -> dict[str, Value]:
    known = {setting.name for setting in SETTINGS} | {"coordinator"}
    if not file.is_coordinator:
        for name in file.content.keys() - known:
            problems.add(file.place(name), f"{name}: there is no such setting", reading.near(name, known))
    return {setting.name: _value(setting, file, environment, arguments, problems) for setting in SETTINGS}


def _value(
    setting: Setting,
    file: reading.File,
    environment: Mapping[str, str],
    arguments: argparse.Namespace,
    problems: Problems,
) -> Value:
    name = setting.name
    flag = getattr(arguments, f"setting_{name}", None)
    if flag is not None:
        return Value(flag, setting.flag)
    if text := environment.get(setting.variable):
        value = _from_text(setting, text)
        return Value(_checked(setting, value, setting.variable, problems), setting.variable)
    if not file.is_coordinator and name in file.content:
        place = file.place(name)
        return Value(_checked(setting, file.content[name], place, problems), place)
    return Value(setting.default, "default")


def _from_text(setting: Setting, text: str) -> object:
    if setting.kind == "flag":
        flags: dict[str, object] = {"true": True, "1": True, "false": False, "0": False}
        return flags.get(text.lower(), text)
    return _listed(text) if setting.kind == "list" else text


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, str) and one for one in cast("list[object]", value)
    )


def _checked(setting: Setting, value: object, place: str, problems: Problems) -> object:
    """The value, or the default after a noted problem."""
    if setting.kind == "flag":
        is_good, allowed = isinstance(value, bool), "true or false"
    elif setting.kind == "list":
        is_good, allowed = _is_texts(value), "a list of texts"
    elif "|" in setting.kind:
        is_good, allowed = value in setting.kind.split("|"), setting.kind.replace("|", ", ")
    else:
        is_good, allowed = isinstance(value, str) and bool(value.strip()), "text"
    if is_good:
        return value
    from bus.config.scalar import found

    # Of a text only its kind: it may be a path, or what somebody took for one.
    shown = found(value, secret=setting.kind in ("text", "list"))
    problems.add(place, f"{setting.name}: not valid (found {shown}); allowed: {allowed}")
    return setting.default


def _refuse_unknown(environment: Mapping[str, str], problems: Problems) -> None:
    """A name that is nearly one of ours is a slip; any other BUS_ name may be a secret of somebody."""
    known = [setting.variable for setting in SETTINGS] + [*ELSEWHERE, "BUS_COORDINATOR"]
    for name in environment:
        if not name.startswith("BUS_") or name in known or name.startswith("BUS_COORDINATOR__"):
            continue
        if near := reading.near(name, known, cutoff=0.85):
            problems.add(name, "there is no such variable", near, name)


# -- what is stored --------------------------------------------------------------------------------


def state_directory(values: Mapping[str, Value]) -> Path:
    """Of this node."""
    from bus.admin.server import state_directory as standard

    given = values["stateDir"].value
    return standard(given if isinstance(given, str) else None)


def state_folder(arguments: argparse.Namespace) -> Path:
    """Of the node that is meant; what else its file says, and whether it is right, does not matter here.

    Raises Failure.
    """
    setting = next(one for one in SETTINGS if one.name == "stateDir")
    is_named = arguments.setting_stateDir or os.environ.get(setting.variable)
    path = arguments.config or (None if is_named else os.environ.get("BUS_CONFIG") or _default_file())
    problems = Problems()
    file = reading.load(path, problems) if path else reading.NO_FILE
    value = _value(setting, file, os.environ, arguments, problems)
    problems.raise_all()
    return state_directory({setting.name: value})


def existing_state_folder(arguments: argparse.Namespace) -> Path:
    """... which is there: in another one nothing was ever changed, either. Raises Failure."""
    folder = state_folder(arguments)
    if not folder.is_dir():
        raise Failure(
            OTHER, "noState", f"there is no state directory {folder}",
            "name that of the node: --state-dir DIR, or its file of settings: --config FILE",
        )  # fmt: skip
    return folder


def _stored(values: Mapping[str, Value]) -> tuple[Coordinator | None, str]:
    """What somebody has changed through the admin server; looked at without the lock of a node that runs."""
    from bus.admin.server import variants
    from bus.admin.store import NAME, Store

    folder = state_directory(values)
    if values["managed"].value == "file" or not (folder / NAME).exists():
        return None, ""
    store = Store(folder, variants())
    store.adopt()
    return store.opening(), store.broken


def need_system(settings: Settings) -> Coordinator:
    """The Coordinator, unless there is nothing to connect to. Raises Failure."""
    from bus.config import Disabled

    if isinstance(settings.coordinator, Disabled):
        raise Failure(
            INVALID,
            "disabled",
            settings.broken or "no messaging system is configured: the Coordinator is Disabled",
            "name one: --url nats://host:4222, --config FILE, or BUS_COORDINATOR",
        )
    return settings.coordinator
