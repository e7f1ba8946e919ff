"""The cache gives only what it may, and the judge sees when it does not."""

from __future__ import annotations

from bus.demo.cache import Cache, Judge
from bus.demo.database import Record
from bus.demo.distributions import Row

ROW = Row("field", "bus", "Name", "bus")


def loaded(cache: Cache, key: int, version: int = 1) -> None:
    assert cache.fill(key, cache.ticket(key), Record(version, ROW))


def test_what_was_filled_is_returned() -> None:
    cache = Cache()
    assert cache.get(1) is None
    loaded(cache, 1, version=3)
    assert cache.get(1) == Record(3, ROW)


def test_an_invalidation_drops_its_key_only() -> None:
    cache = Cache()
    loaded(cache, 1)
    loaded(cache, 2)
    cache.invalidate(1)
    assert (cache.get(1), cache.get(2)) == (None, Record(1, ROW))


def test_a_fill_is_refused_when_the_key_was_invalidated_while_loading() -> None:
    cache = Cache()
    mine, other = cache.ticket(1), cache.ticket(2)
    cache.invalidate(1)
    assert not cache.fill(1, mine, Record(1, ROW))
    assert cache.get(1) is None
    assert cache.fill(2, other, Record(1, ROW))
    loaded(cache, 1)


def test_a_loss_empties_the_cache_and_refuses_every_load_that_runs() -> None:
    cache = Cache()
    loaded(cache, 1)
    ticket = cache.ticket(2)
    cache.clear()
    assert cache.get(1) is None
    assert not cache.fill(2, ticket, Record(1, ROW))


def test_a_read_is_stale_below_the_highest_version_that_was_announced() -> None:
    judge = Judge()
    assert not judge.is_stale(1, 1)
    judge.announced(1, 5)
    # The announcement of another node's earlier write, which comes later.
    judge.announced(1, 4)
    assert judge.is_stale(1, 4)
    assert not judge.is_stale(1, 5)
    assert not judge.is_stale(1, 6)
    assert not judge.is_stale(2, 1)
