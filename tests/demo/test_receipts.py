"""Receipts survive SIGKILL, whole: what a dead process took is known exactly."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bus import Gap, Loss, Overflow, Resync
from bus.demo.account import Account
from bus.demo.receipts import Counters, Receipts, read


def receipts(path: Path, baseline: int = 1) -> Receipts:
    return Receipts(path, 42, lambda epoch: baseline)


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    written = receipts(tmp_path / "r", baseline=5)
    written.counters.reads = 17
    written.account(1).take(5)
    written.account(2).take(5)
    written.account(2).take(6)
    written.save()
    expected = (
        Counters(epoch=42, reads=17),
        (Account(1, 5, 5, delivered=1), Account(2, 5, 6, delivered=2)),
    )
    assert read(tmp_path / "r") == expected
    written.account(1).take(6)
    assert read(tmp_path / "r") == expected
    written.close()
    assert read(tmp_path / "r")[1][0] == Account(1, 5, 6, delivered=2)


def test_a_file_that_is_being_made_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    assert read(tmp_path / "r") == (Counters(), ())


def test_epochs_are_as_large_as_the_bus_makes_them(tmp_path: Path) -> None:
    written = receipts(tmp_path / "r")
    written.account((1 << 63) - 1).take(1 << 40)
    written.close()
    assert read(tmp_path / "r")[1][0].epoch == (1 << 63) - 1


@pytest.mark.parametrize(
    ("loss", "account"),
    [
        (Gap("n", 1, ((4, 4), (6, 9)), "gone"), Account(1, 1, 9, 3, told=5, skipped=1)),
        (Resync("n", 1, 3, "restarted"), Account(1, 1, 3, 3, resync=4)),
        (Resync(None, None, None, "link"), Account(1, 1, 3, 3, resync=4)),
        (Resync("n", 1, None, "version"), Account(1, 1, 3, 3, resync=4)),
        (Overflow(4), Account(1, 1, 3, 3)),
    ],
)
def test_a_loss_is_booked(tmp_path: Path, loss: Loss, account: Account) -> None:
    written = receipts(tmp_path / "r")
    for sequence in (1, 2, 3):
        written.account(1).take(sequence)
    written.lost(loss)
    written.close()
    counters, accounts = read(tmp_path / "r")
    assert accounts == (account,)
    assert counters.dropped == (4 if isinstance(loss, Overflow) else 0)


def test_a_loss_that_the_ledger_does_not_know_is_an_error(tmp_path: Path) -> None:
    written = receipts(tmp_path / "r")
    with pytest.raises(TypeError, match="no kind of loss"):
        written.lost(Loss())
    written.close()


ENDLESS = """
import itertools, sys
from bus.demo.receipts import Receipts
receipts = Receipts(sys.argv[1], 1, lambda epoch: 1)
for sequence in itertools.count(1):
    for epoch in (10, 20, 30):
        receipts.account(epoch).take(sequence)
    receipts.save()
"""


def test_a_killed_process_leaves_no_torn_account(tmp_path: Path) -> None:
    path = tmp_path / "r"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)])
    deadline = time.monotonic() + 15
    while not path.exists() or not any(account.delivered > 500 for account in read(path)[1]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, accounts = read(path)
    assert [account.epoch for account in accounts] == [10, 20, 30]
    for account in accounts:
        assert account == Account(account.epoch, 1, account.position, delivered=account.position)
    positions = [account.position for account in accounts]
    assert max(positions) - min(positions) <= 1
