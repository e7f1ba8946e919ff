"""The whole of it as one environment: it runs, types are complete, and every licence is a permissive one."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.release.archives import Archives
from tests.release.place import Place, this_python
from tests.release.test_extras import demo

pytestmark = pytest.mark.timeout(600)

PERMISSIVE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|Unlicense|Zlib|EPL-2.0 OR Apache)\b"
)
LICENCES = """
import importlib.metadata, json
found = {}
for one in importlib.metadata.distributions():
    said = [one.metadata.get("License-Expression") or one.metadata.get("License") or ""]
    said += [text for text in one.metadata.get_all("Classifier", []) if text.startswith("License")]
    found[one.metadata["Name"]] = [text.splitlines()[0] for text in said if text]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def whole(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The wheel with all extras."""
    return Place.made(tmp_path_factory.mktemp("whole"), this_python(), f"{archives.wheel}[all]")


def test_all_is_all(whole: Place) -> None:
    demo(whole)
    said: dict[str, object] = json.loads(whole.bus("version", "--json"))
    assert said


def test_every_dependency_has_a_permissive_licence(whole: Place) -> None:
    found: dict[str, list[str]] = json.loads(whole.run("-c", LICENCES))
    assert len(found) > 20
    wrong = {name: said for name, said in found.items() if not any(map(PERMISSIVE.search, said))}
    assert wrong == {}
    viral = {name: said for name, said in found.items() if any(re.search(r"\bA?GPL", text) for text in said)}
    assert viral == {}


def test_types_of_the_plug_in_packages_are_complete(whole: Place, tmp_path: Path) -> None:
    words = ["-m", "pyright", "--outputjson", "--verifytypes"]
    # The checker of the development environment, on what is installed in the other one: it asks the first
    # Python of the path, whatever else it is told.
    checker = Place(Path(sys.executable), tmp_path)
    path = os.pathsep.join([str(whole.python.parent), os.environ["PATH"]])
    environment = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "PATH": path}
    # `bus` itself is looked at by `make check`; that no file of it is missing here, by test_archives.py.
    for package in ("bus_memory", "bus_nats", "bus_redis", "bus_kafka", "bus_zenoh"):
        said = json.loads(checker.run(*words, package, "--ignoreexternal", env=environment))
        symbols = said["typeCompleteness"]["exportedSymbolCounts"]
        assert said["typeCompleteness"]["completenessScore"] == 1, package
        assert symbols["withUnknownType"] == symbols["withAmbiguousType"] == 0, package
