"""The rules of the house, read from the source text: who imports whom, what is never called, sizes.

A rule is a function from one module to complaints; a complaint says what to do instead. Every file
is judged by test_architecture.py, and bad sources that show that each rule can fail.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# Each layer may import itself and the layers above it in this list; nothing imports the leaves.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("bus.errors", "bus.release", "bus.signals"),
    ("bus.protocol",),
    ("bus.event", "bus.config", "bus.schema"),
    ("bus.backend",),
    (
        "bus.inlet",
        "bus.isolation",
        "bus.lag",
        "bus.keys",
        "bus.quiet",
        "bus.refusals",
        "bus.registry",
        "bus.routing",
        "bus.seal",
        "bus.subscription",
        "bus.supervisor",
        "bus.vetting",
        "bus.waiting",
    ),
    ("bus.changeover", "bus.door", "bus.foreign", "bus.node"),
    ("bus.opening", "bus.progress", "bus.standing", "bus.trial"),
    ("bus.bus",),
    ("bus",),
    ("bus.metrics", "bus.tracing"),
    ("bus.testing", "bus.bench", "bus.admin", "bus.demo", "bus.cli", "bus.__main__"),
)
LEAVES = LAYERS[-1]
# The command line is the front of the other leaves: `bus demo`, `python -m bus`.
FRONTS = ("bus.cli", "bus.__main__")
# What starts a local server, and who does so for its users: when it is needed, not when loaded.
SERVERS, START_SERVERS = "bus.testing.brokers", ("bus.demo", "bus.bench")

# The protocol takes what these give as arguments: `now`, `random`; it neither waits nor tells.
SANS_IO = {"anyio", "asyncio", "time", "random", "secrets", "logging", "socket", "threading", "os"}
# All that the runtime needs; whatever else is optional and imported where it is used.
CORE = {"anyio", "msgspec"}
CLIENTS = {"zenoh", "nats", "nkeys", "redis", "hiredis", "aiokafka"}
# The benchmark runs the raw client beside us, and Zenoh's router is its client library.
MAY_USE_CLIENTS = ("bus.bench", "bus.testing.brokers.zenoh_router")
# What the shipped test suite may take for granted: it is run by them.
TEST_TOOLS = {"pytest", "pytest_asyncio", "hypothesis"}
BACKEND_MAY_IMPORT = ("bus.backend", "bus.config", "bus.errors")

LONGEST = 400
LONGEST_CONTRACT = 250
LONGEST_PACKAGE = {"bus_redis": 860, "bus_kafka": 950, "bus_zenoh": 500, "bus_nats": 650}
LONGEST_OTHER_PACKAGE = 250
UNCLEAR = {"manager", "managers", "helper", "helpers", "util", "utils", "impl"}

# Dotted end of a call or attribute -> (folders, what to do instead). Traps are of docs/faults.md.
FORBIDDEN: dict[str, tuple[tuple[str, ...], str]] = {
    "asyncio.wait_for": (
        ("bus", "backends"),
        "use anyio.fail_after or isolated(): it can lose a cancel",
    ),
    "asyncio.get_event_loop": (("bus", "backends"), "use asyncio.get_running_loop()"),
    "CongestionControl.BLOCK": (
        ("bus", "backends"),
        "use DROP: BLOCK stalls on one frozen peer (T17)",
    ),
    "rtt": (("backends/bus_nats",), "send a PING with a future that is never cancelled (T1)"),
    "drain": (
        ("backends/bus_nats",),
        "unsubscribe, then close() in bounds: drain never ends (T11)",
    ),
    "get_message": (
        ("backends/bus_redis",),
        "read with our own loop: a dead socket looks idle (T4)",
    ),
    "listen": (("backends/bus_redis",), "read with our own loop: a dead socket looks idle (T4)"),
}


@dataclass(frozen=True)
class Import:
    name: str
    line: int
    is_lazy: bool


@dataclass(frozen=True)
class Module:
    """One source file, by its path from the root."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def name(self) -> str:
        parts = list(Path(self.path).with_suffix("").parts)
        parts = parts[1:] if parts[0] == "backends" else parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def package(self) -> str:
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]

    @property
    def is_backend(self) -> bool:
        return self.path.startswith("backends/")

    @cached_property
    def imports(self) -> list[Import]:
        """Everything imported, as full names; `from bus.x import y` is `bus.x.y`."""
        return list(self._imports(self.tree, is_lazy=False))

    def _imports(self, node: ast.AST, is_lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            # What only a type checker reads loads nothing, but the reader needs it all the same.
            typed = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            inner = is_lazy or typed or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, is_lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                parents = self.package.split(".")
                base = parents[: len(parents) - child.level + 1] if child.level else []
                base += [child.module] if child.module else []
                for alias in child.names:
                    yield Import(".".join([*base, alias.name]), child.lineno, is_lazy)
            else:
                yield from self._imports(child, inner)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def layer(name: str) -> int | None:
    """The layer of a module or of something in it: the longest that fits. `bus.Name` is `bus`."""
    fits = [
        (len(entry), number)
        for number, entries in enumerate(LAYERS)
        for entry in entries
        if within(name, entry) and (entry != "bus" or re.fullmatch(r"bus(\.[A-Z]\w*|\.__version__)?", name))
    ]
    return max(fits)[1] if fits else None


Rule = Callable[[Module], Iterator[str]]


def opens_with_its_job(module: Module) -> Iterator[str]:
    if not ast.get_docstring(module.tree):
        yield "has no docstring: say the one job of this file in its first lines"


def is_short(module: Module) -> Iterator[str]:
    count = len(module.source.splitlines())
    if count > LONGEST and not within(module.name, "bus.testing.conformance"):
        yield f"has {count} lines, {LONGEST} are allowed: which second job can have its own file?"


def says_what_it_is(module: Module) -> Iterator[str]:
    defined = [Path(module.path).stem]
    defined += [
        node.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for name in defined:
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
        if UNCLEAR & {word.lower() for word in words}:
            yield f"names something {name!r}: name what it does in the words of the field"


def calls_no_trap(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute | ast.ImportFrom):
            if isinstance(node, ast.Attribute):
                used = [ast.unparse(node)]
            else:
                used = [f"{node.module}.{alias.name}" for alias in node.names]
            for trap, (folders, instead) in FORBIDDEN.items():
                if any(("." + name).endswith("." + trap) for name in used) and any(
                    module.path.startswith(folder + "/") for folder in folders
                ):
                    yield f"line {node.lineno} uses {trap}: {instead}"


def depends_downwards(module: Module) -> Iterator[str]:
    if module.is_backend:
        return
    own = layer(module.name)
    if own is None:
        yield "stands in no layer: give it a place in LAYERS of tests/architecture.py"
        return
    for imported in module.imports:
        if not within(imported.name, "bus"):
            continue
        other = layer(imported.name)
        at = f"line {imported.line} imports {imported.name}"
        if other is None:
            yield f"{at}, which stands in no layer: see LAYERS of tests/architecture.py"
        elif other > own:
            yield f"{at} from an outer layer: take it as an argument, or move it inwards"
        elif own == len(LAYERS) - 1 and not within(module.name, *FRONTS) and other == own:
            family = next(leaf for leaf in LEAVES if within(module.name, leaf))
            serves = within(module.name, *START_SERVERS) and within(imported.name, SERVERS)
            if not within(imported.name, family) and not (serves and imported.is_lazy):
                yield f"{at}, a leaf: nothing imports the leaves, move what both need inwards"


def knows_no_backend(module: Module) -> Iterator[str]:
    if module.is_backend:
        return
    for imported in module.imports:
        top = imported.name.split(".")[0]
        at = f"line {imported.line} imports {imported.name}"
        if top.startswith("bus_"):
            yield f"{at}: name it in the table of bus/registry.py, it is imported when it is used"
        elif top in CLIENTS and not (within(module.name, *MAY_USE_CLIENTS) and imported.is_lazy):
            yield f"{at}, a client library: only its backend may know it"


def loads_optional_packages_late(module: Module) -> Iterator[str]:
    known = CORE | {"bus"} | (TEST_TOOLS if within(module.name, "bus.testing") else set[str]())
    if module.is_backend:
        known.add(module.name.split(".")[0])
    for imported in module.imports:
        top = imported.name.split(".")[0]
        if not imported.is_lazy and top not in known and top not in sys.stdlib_module_names:
            yield (
                f"line {imported.line} imports {top} when loaded: import it inside the function "
                "that needs it, so that everything else works without it"
            )


def protocol_is_sans_io(module: Module) -> Iterator[str]:
    if not within(module.name, "bus.protocol"):
        return
    for imported in module.imports:
        top = imported.name.split(".")[0]
        at = f"line {imported.line} imports {top}"
        if top in SANS_IO:
            yield f"{at}: the protocol takes time, randomness and what happens as arguments"
        elif top not in {"bus", "msgspec"} and top not in sys.stdlib_module_names:
            yield f"{at}: the protocol needs the standard library and msgspec only"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"line {node.lineno} is async: the protocol never waits, its caller does"


def backend_knows_the_contract_only(module: Module) -> Iterator[str]:
    if not module.is_backend:
        return
    own = module.name.split(".")[0]
    for imported in module.imports:
        top = imported.name.split(".")[0]
        at = f"line {imported.line} imports {imported.name}"
        if top == "bus" and not within(imported.name, *BACKEND_MAY_IMPORT):
            yield f"{at}: a backend sees {', '.join(BACKEND_MAY_IMPORT)} and nothing else of ours"
        elif top.startswith("bus_") and top != own:
            yield f"{at}: a backend does not know the others"


def contract_is_short(module: Module) -> Iterator[str]:
    count = len(module.source.splitlines())
    if module.path == "bus/backend.py" and count >= LONGEST_CONTRACT:
        yield f"has {count} lines, fewer than {LONGEST_CONTRACT} are allowed: only the contract"


def contract_is_explained(module: Module) -> Iterator[str]:
    if module.path != "bus/backend.py":
        return
    code, comment = code_and_comment(module)
    if comment <= code:
        yield f"has {comment} lines of comment for {code} of code: who calls, when, what may block?"


def redis_has_no_client_library(module: Module) -> Iterator[str]:
    if not module.path.startswith("backends/bus_redis/"):
        return
    for imported in module.imports:
        if imported.name.split(".")[0] == "redis":
            yield (
                f"line {imported.line} imports {imported.name}: its connections take a dead server for a "
                "quiet one and are made anew in silence (T4-T6, T19-T21); hiredis parses, we do the rest"
            )


RULES: tuple[Rule, ...] = (
    opens_with_its_job,
    is_short,
    says_what_it_is,
    calls_no_trap,
    depends_downwards,
    knows_no_backend,
    loads_optional_packages_late,
    protocol_is_sans_io,
    backend_knows_the_contract_only,
    contract_is_short,
    contract_is_explained,
    redis_has_no_client_library,
)


def code_and_comment(module: Module) -> tuple[int, int]:
    """Lines with code, and lines with nothing but comment or docstring."""
    prose: set[int] = set()
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(module.source).readline):
        lines = range(token.start[0], token.end[0] + 1)
        if token.type == tokenize.COMMENT:
            prose.update(lines)
        elif token.string.strip() and not prose.issuperset(lines):
            code.update(lines)
    return len(code), len(prose - code)


def complaints(module: Module, rules: tuple[Rule, ...] = RULES) -> list[str]:
    return [f"{module.path} {text}" for rule in rules for text in rule(module)]


def too_long_packages(lines: dict[str, int]) -> list[str]:
    """`lines`: package of backends/ -> lines of all its files."""
    found: list[str] = []
    for package, count in lines.items():
        limit = LONGEST_PACKAGE.get(package, LONGEST_OTHER_PACKAGE)
        if count >= limit:
            found.append(
                f"backends/{package} has {count} lines, fewer than {limit} are allowed: what does "
                "it do that the core should do once for all?"
            )
    return found
