"""One file, many writers: each version once, each write in the journal, nothing half done."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.demo import distributions
from bus.demo.database import Database, Record
from bus.demo.distributions import Row
from bus.demo.ledger import Journal

ROWS = [Row("field", "bus", f"Field-{number}", "text") for number in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    assert Database.create(tmp_path / "demo.sqlite", ROWS) == len(ROWS)
    return tmp_path / "demo.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(path)
    yield opened
    opened.close()


def test_keys_are_the_numbers_from_one(database: Database) -> None:
    assert database.versions() == {1: 1, 2: 1, 3: 1}
    assert database.read(2) == Record(1, ROWS[1])


def test_a_write_bumps_the_version_and_journals_the_number(database: Database) -> None:
    assert [database.write(7, 1, 2), database.write(7, 2, 2), database.write(8, 1, 3)] == [2, 3, 2]
    assert database.versions() == {1: 1, 2: 3, 3: 2}
    assert database.journals() == {7: Journal(2, 2), 8: Journal(1, 1)}


def test_a_number_cannot_be_journalled_twice_and_then_nothing_is_written(
    database: Database,
) -> None:
    database.write(7, 1, 1)
    with pytest.raises(sqlite3.IntegrityError):
        database.write(7, 1, 2)
    assert database.versions() == {1: 2, 2: 1, 3: 1}
    database.write(7, 2, 2)


def test_the_journal_shows_holes(database: Database) -> None:
    database.write(7, 1, 1)
    database.write(7, 3, 1)
    assert database.journals() == {7: Journal(3, 2)}


def test_writers_of_many_connections_lose_no_version(path: Path) -> None:
    def write(epoch: int) -> None:
        database = Database(path)
        for sequence in range(1, 51):
            database.write(epoch, sequence, 1)
        database.close()

    threads = [threading.Thread(target=write, args=(epoch,)) for epoch in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = Database(path)
    assert database.versions()[1] == 1 + 150
    assert database.journals() == {epoch: Journal(50, 50) for epoch in (1, 2, 3)}
    database.close()


def test_rows_are_those_of_real_distributions() -> None:
    rows = distributions.rows()
    assert distributions.FEWEST <= len(rows) <= distributions.MOST
    assert {row.kind for row in rows} == {"field", "file"}
    fields = [row for row in distributions.installed() if row.distribution == "msgspec"]
    assert Row("field", "msgspec", "Name", "msgspec") in fields
    assert any(row.name == "msgspec/__init__.py" and row.kind == "file" for row in fields)


def test_where_few_distributions_are_installed_the_standard_library_is_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributions, "installed", lambda: iter(ROWS))
    rows = distributions.rows()
    assert rows[:3] == ROWS
    assert len(rows) > 500
    assert {row.distribution for row in rows[3:]} == {"python"}
    assert "asyncio/queues.py" in {row.name for row in rows[3:]} or len(rows) == distributions.MOST
