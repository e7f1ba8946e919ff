"""A server for each test; `over` says how it is spoken to, and by default it is spoken to in all ways."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bus.testing.brokers import Certificates
from tests.admin.kit import WAYS, Client, Way, World, world


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture
async def here(tmp_path: Path, way: Way, certificates: Certificates) -> AsyncGenerator[World]:
    """A server around a fake node."""
    async with world(tmp_path, way, certificates=certificates) as made:
        yield made


@pytest.fixture
def client(here: World) -> Client:
    return here.client
