"""A daemon that trades while its disk fills up. Run by test_full_disk.py on a small tmpfs; not collected otherwise."""

from __future__ import annotations

from collections import Counter

from tapeline.halt import HaltOptions, run_halt, run_resume
from tests.durability.daemon import Daemon, trading
from tests.durability.small_disk import DISK, fill_up

_MB = 1024 * 1024
SETTINGS = {
    "daemon.disk_free_bytes_min": 12 * _MB,
    "daemon.disk_look_s": 0.5,
    "nats.market_bytes_max": 8 * _MB,
    "recorder.memory_mb_max": 128,
}


REDUCING = "trading is reducing"


def _says(daemon: Daemon, words: str) -> bool:
    return any(words in problem for status in daemon.statuses().values() for problem in status.problems)


def _is_full_or_whole(daemon: Daemon) -> bool:
    """Whether recorder says that there is no room; or it had written all that is stored before there was none."""
    statuses = daemon.statuses()
    recorder, ends = statuses["recorder"], Counter[str]()
    for status in statuses.values():
        ends |= Counter(status.positions) | Counter(status.published)
    is_whole = all(recorder.positions.get(stream, 0) >= end for stream, end in ends.items())
    return is_whole or any("No space left" in problem for problem in recorder.problems)


def test_a_disk_that_fills_up_under_a_trading_daemon() -> None:
    with trading(DISK, SETTINGS) as daemon:
        ballast = fill_up(leave=10 * _MB)
        daemon.until(lambda: _says(daemon, "are free on the disk"), "it says that there is little room")
        daemon.until(lambda: _says(daemon, REDUCING), "and that trading is reducing")
        daemon.until(lambda: daemon.count("trading_states WHERE mode = 'reducing'") == 1, "trading is reducing")
        increasing = "intents i, trading_states t WHERE t.mode = 'reducing' AND i.seq > t.seq AND i.reserved > 0"
        assert daemon.count(increasing) == 0

        fill_up()
        daemon.until(lambda: _says(daemon, "stores nothing"), "it says that nothing is stored")
        sent = len(daemon.orders())
        daemon.until(lambda: _is_full_or_whole(daemon), "so does SQL's, where it has not all that is stored")
        assert len(daemon.orders()) == sent, "sent without being stored"
        assert sum(daemon.running.restarts.values()) == 0, "roles wait, they do not come and go"

        ballast.unlink()
        daemon.until(
            lambda: daemon.is_up(problems=REDUCING), "all is well but the mode, without a restart of the daemon"
        )
        assert sum(daemon.running.restarts.values()) == 0
        assert run_resume(daemon.folder, "there is room") == 0
        daemon.until(lambda: len(daemon.orders()) > sent + 3, "it trades on")
        assert run_halt(daemon.folder, "the end", HaltOptions()) == 0
        daemon.settle()
        daemon.stop()
        daemon.agrees_with_the_venue()
