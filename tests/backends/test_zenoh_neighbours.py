"""The directory in which the processes of one user find each other's sockets."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.errors import ConfigError
from bus_zenoh.neighbours import LONGEST_PATH, Place


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path of this test's own; not there yet."""
    parent = Path(tempfile.mkdtemp(prefix="bz", dir="/tmp"))
    monkeypatch.setenv("BUS_RUNTIME_DIR", str(parent / "run"))
    yield parent / "run"
    shutil.rmtree(parent)


def socket_of(place: Place) -> Path:
    return Path(place.endpoint.removeprefix("unixsock-stream/"))


def test_later_one_sees_the_earlier_ones(root: Path) -> None:
    first = Place("bus.c")
    second = Place("bus.c")
    third = Place("bus.c")
    assert first.others == []
    assert second.others == [first.endpoint]
    assert sorted(third.others) == sorted([first.endpoint, second.endpoint])
    assert socket_of(first).parent == root / "bus.c"
    for place in (first, second, third):
        place.leave()
        place.leave()
    assert list(root.iterdir()) == []


def test_directories_are_for_this_user_alone(root: Path) -> None:
    place = Place("bus.c")
    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / "bus.c").stat().st_mode & 0o777 == 0o700
    place.leave()


def test_without_the_variable_it_is_a_directory_of_this_user_in_tmp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BUS_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    place = Place(f"bus.test-{os.getpid()}")
    assert socket_of(place).parents[1] == Path(f"/tmp/coordinator-bus-{os.geteuid()}")
    place.leave()


def test_place_of_a_dead_process_is_cleared(root: Path) -> None:
    Place("bus.c").leave()
    (root / "bus.c").mkdir(mode=0o700)
    for end in ("id", "sock", "sock.lock"):
        (root / "bus.c" / f"dead.{end}").touch()
    place = Place("bus.c")
    assert place.others == []
    assert {path.name.partition(".")[0] for path in (root / "bus.c").iterdir()} == {socket_of(place).stem}
    place.leave()


def test_lock_that_is_held_means_alive_whatever_the_process_does(root: Path) -> None:
    Place("bus.c").leave()
    (root / "bus.c").mkdir(mode=0o700)
    with (root / "bus.c" / "frozen.id").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        place = Place("bus.c")
        assert place.others == [f"unixsock-stream/{root}/bus.c/frozen.sock"]
        place.leave()
    assert (root / "bus.c" / "frozen.id").exists()


def test_of_two_that_start_together_at_least_one_sees_the_other() -> None:
    places: list[Place] = []
    start = threading.Barrier(8)

    def take() -> None:
        start.wait()
        places.append(Place("bus.c"))

    for _ in range(20):
        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for a in places:
            for b in places:
                assert a is b or a.endpoint in b.others or b.endpoint in a.others
        for place in places:
            place.leave()
        places.clear()


def test_place_that_was_cleared_before_it_was_locked_is_not_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    cleared: list[Path] = []

    def clear_first(fd: int, how: int) -> None:
        if not cleared:
            cleared.extend((root / "bus.c").iterdir())
            for path in cleared:
                path.unlink()
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", clear_first)
    place = Place("bus.c")
    ids = list((root / "bus.c").glob("*.id"))
    assert [path.stem for path in ids] == [socket_of(place).stem]
    assert ids != cleared
    place.leave()


def test_coming_and_going_at_the_same_time_breaks_nothing(root: Path) -> None:
    errors: list[Exception] = []

    def come_and_go() -> None:
        try:
            for _ in range(100):
                Place("bus.c").leave()
        except Exception as error:  # noqa: BLE001  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(root.iterdir()) == []


def test_long_names_get_a_short_directory_of_their_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_RUNTIME_DIR", str(root / ("r" * 30)))
    long, twin, other = (Place("bus." + "c" * 47 + end) for end in "xxy")
    assert twin.others == [long.endpoint]
    assert other.others == []
    for place in (long, twin, other):
        assert len(str(socket_of(place))) <= LONGEST_PATH
        place.leave()


@pytest.mark.parametrize("path", ["/tmp/" + "r" * 90, "/tmp/what?", "/tmp/a#b"])
def test_path_that_no_socket_can_have_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_RUNTIME_DIR", path)
    with pytest.raises(ConfigError, match=r"too long.* Set BUS_RUNTIME_DIR"):
        Place("bus.c")
    assert not Path(path).exists()


@pytest.mark.parametrize("path", ["/dev/null/run", "/proc/run", "/dev/null"])
def test_directory_that_cannot_be_made_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_RUNTIME_DIR", path)
    with pytest.raises(ConfigError, match=f"{path}.* Set BUS_RUNTIME_DIR to a directory"):
        Place("bus.c")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
@pytest.mark.parametrize("inner", [False, True])
def test_directory_that_others_may_write_to_is_refused(root: Path, mode: int, inner: bool) -> None:
    (root / "bus.c").mkdir(parents=True, mode=0o700)
    (root / "bus.c" if inner else root).chmod(mode)
    with pytest.raises(ConfigError, match="others may write to it"):
        Place("bus.c")


def test_directory_that_others_may_read_is_taken(root: Path) -> None:
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    Place("bus.c").leave()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("inner", [False, True])
def test_directory_of_another_user_is_refused(root: Path, inner: bool) -> None:
    (root / "bus.c").mkdir(parents=True, mode=0o700)
    os.chown(root / "bus.c" if inner else root, 65534, 65534)
    with pytest.raises(ConfigError, match="no directory that belongs to this user"):
        Place("bus.c")


def test_link_in_place_of_the_directory_of_a_channel_is_refused(root: Path) -> None:
    root.mkdir(mode=0o700)
    (root / "bus.c").symlink_to(root)
    with pytest.raises(ConfigError, match="no directory that belongs to this user"):
        Place("bus.c")
