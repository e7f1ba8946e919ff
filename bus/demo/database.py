"""The one SQLite file of a run: rows with versions, and the journal of what each node published.

A write bumps the version of its row and notes (epoch, sequence) in the same transaction, *before*
the event is handed to the bus. The node is the only publisher of its bus, so it knows the next
number; the bus must then give it that number. The order matters twice:
    * Commit, then publish: whoever takes the invalidation and loads the row again finds the new
      version. The other way round it could load the old one once more, and keep it.
    * Whatever was published is in the journal, also of a process that was SIGKILLed at any
      instruction. It may have died between the commit and the publish: then the journal has one
      number that nobody ever saw. It belongs into the ledger: the row did change, caches elsewhere
      are stale by it, and the Resync about that epoch must tell so.
All calls block; each connection is used by one worker thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from bus.demo.distributions import Row
from bus.demo.ledger import Journal

if TYPE_CHECKING:
    from pathlib import Path

# Seconds to wait for the other nodes' writes; one takes well below a millisecond.
BUSY = 30.0

_SCHEMA = """
CREATE TABLE facts (
    key INTEGER PRIMARY KEY, version INTEGER NOT NULL,
    kind TEXT NOT NULL, distribution TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL
);
CREATE TABLE journal (
    epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    key INTEGER NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (epoch, sequence)
) WITHOUT ROWID;
"""


class Record(NamedTuple):
    """One row as it is cached."""

    version: int
    row: Row


class Database:
    """One connection."""

    def __init__(self, path: str | Path) -> None:
        self._sql = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        # Nothing but a failing machine can lose what the kernel has, and then the demo is over.
        self._sql.execute("PRAGMA synchronous = OFF")

    @classmethod
    def create(cls, path: str | Path, rows: Iterable[Row]) -> int:
        """Make the file; keys are 1 to the count, which is returned."""
        database = cls(path)
        sql = database._sql
        try:
            sql.execute("PRAGMA journal_mode = WAL")
            sql.executescript(_SCHEMA)
            sql.execute("BEGIN")
            sql.executemany(
                "INSERT INTO facts (version, kind, distribution, name, value) VALUES (1, ?, ?, ?, ?)",
                rows,
            )
            sql.execute("COMMIT")
            count: int = sql.execute("SELECT count(*) FROM facts").fetchone()[0]
        finally:
            database.close()
        return count

    def read(self, key: int) -> Record:
        """Load one row."""
        found = self._sql.execute(
            "SELECT version, kind, distribution, name, value FROM facts WHERE key = ?", (key,)
        ).fetchone()
        return Record(found[0], Row(*found[1:]))

    def write(self, epoch: int, sequence: int, key: int) -> int:
        """Change one row, journal the number of the event about it, and return the new version."""
        sql = self._sql
        sql.execute("BEGIN IMMEDIATE")
        try:
            version: int = sql.execute(
                "UPDATE facts SET version = version + 1 WHERE key = ? RETURNING version", (key,)
            ).fetchone()[0]
            sql.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", (epoch, sequence, key, version))
            sql.execute("COMMIT")
        except BaseException:
            sql.execute("ROLLBACK")
            raise
        return version

    def versions(self) -> dict[int, int]:
        """Key -> version, of all rows."""
        return dict(self._sql.execute("SELECT key, version FROM facts"))

    def journals(self) -> dict[int, Journal]:
        """Epoch -> what it published."""
        found = self._sql.execute("SELECT epoch, max(sequence), count(*) FROM journal GROUP BY epoch")
        return {epoch: Journal(last, count) for epoch, last, count in found}

    def close(self) -> None:
        """End the connection."""
        self._sql.close()
