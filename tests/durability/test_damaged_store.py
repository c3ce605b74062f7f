"""The newest block file of the trading stream truncated under a daemon that trades, or while it is down: nothing is sent
on a hole, everything comes back, somebody is told, and after `tapeline resume` it trades on with nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.latch import Latch
from streams.loss import Holes, seen_path
from streams.role import topology_of
from streams.seals import Seen
from tapeline import journal
from tapeline.halt import HaltOptions, run_halt, run_resume
from tapeline.supervisor import Supervisor
from tests.durability.daemon import Daemon, trading, wait
from tests.durability.damage import AT_THE_END, last_seq
from tests.durability.ledger import MESSAGES, make, settings_of

HALTED = "halted by"


def _halted_then_resumed(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.is_up(problems=HALTED), "up and halted")
    note = Latch(daemon.folder).read()
    assert note is not None
    assert "lost" in note.reason
    told = "alerts WHERE role = 'mend' AND level = 'critical' AND what LIKE '%came back from the database%'"
    daemon.until(lambda: daemon.count(told) == 1, "it is told and recorded, once")
    sent = len(daemon.orders())
    denials = daemon.count("denials WHERE rule = 'trading_mode'")
    daemon.until(lambda: daemon.count("denials WHERE rule = 'trading_mode'") > denials + 1, "signals are denied")
    assert len(daemon.orders()) == sent, "an order was sent on a hole"
    assert daemon.orders("open") == []

    assert run_resume(daemon.folder, "looked at it") == 0
    daemon.until(lambda: len(daemon.orders()) > sent + 3, "it trades on")
    daemon.until(daemon.is_up, "nothing is wrong any more")


def _end(daemon: Daemon) -> None:
    """Let everything come to rest, and compare the record with the venue."""
    assert run_halt(daemon.folder, "the end", HaltOptions()) == 0
    daemon.settle()
    daemon.stop()
    daemon.agrees_with_the_venue()


def test_a_daemon_of_one_role_stops_at_the_hole_and_has_it_mended(tmp_path: Path) -> None:
    """The quick one: nats-server, supervisor, mending and risk as they are, but nobody trades."""
    folder = tmp_path / "data"
    asyncio.run(make(folder, killed=True))
    seen_path(folder, "executor").rename(seen_path(folder, "risk"))
    AT_THE_END["newest block cut by half"](folder / "nats", topology_of(settings_of(folder)).trading)
    daemon = Supervisor(settings_of(folder), ["risk"], quiet=True)
    try:
        daemon.start()

        def is_whole() -> bool:
            daemon.poll()
            seal = Seen(seen_path(folder, "risk")).read()
            return daemon.restarts == {"risk": 1} and seal is not None and seal.seq > MESSAGES

        wait(is_whole, 60, "risk has read all of it")
        (event,) = journal.read(folder).events
        assert "none is gone for good; look at it, then `tapeline resume`" in event.what
        note = Latch(folder).read()
        assert note is not None
        assert note.by == "risk"
        assert "which had been stored" in note.reason
        assert Holes(folder).read() == []
    finally:
        daemon.stop()


@pytest.mark.kill
@pytest.mark.soak
@pytest.mark.system
def test_truncated_while_the_daemon_trades(tmp_path: Path) -> None:
    with trading(tmp_path) as daemon:
        daemon.kill("nats")
        AT_THE_END["newest block cut by half"](daemon.folder / "nats", topology_of(daemon.running.settings).trading)
        _halted_then_resumed(daemon)
        _end(daemon)


@pytest.mark.soak
@pytest.mark.system
def test_truncated_while_the_daemon_is_down(tmp_path: Path) -> None:
    with trading(tmp_path) as daemon:
        daemon.stop()
        AT_THE_END["cut in the middle of a message"](
            daemon.folder / "nats", topology_of(daemon.running.settings).trading
        )
        daemon.start()
        _halted_then_resumed(daemon)
        _end(daemon)


@pytest.mark.kill
@pytest.mark.soak
@pytest.mark.system
@pytest.mark.parametrize("damage", ["newest block cut by half", "newest block emptied"])
def test_damaged_after_everything_was_killed(tmp_path: Path, damage: str) -> None:
    with trading(tmp_path) as daemon:
        daemon.kill()
        AT_THE_END[damage](daemon.folder / "nats", topology_of(daemon.running.settings).trading)
        daemon.start()
        _halted_then_resumed(daemon)
        _end(daemon)


@pytest.mark.kill
@pytest.mark.soak
@pytest.mark.system
def test_the_last_message_damaged_after_everything_was_killed(tmp_path: Path) -> None:
    """Whether any role had read it is chance. If none had, losing it is as if it had never been stored."""
    with trading(tmp_path) as daemon:
        daemon.kill()
        nats, stream = daemon.folder / "nats", topology_of(daemon.running.settings).trading
        seals = [Seen(path).read() for path in (daemon.folder / "run").glob("*.seen")]
        assert len(seals) == 3
        was_read = max(seal.seq for seal in seals if seal) == last_seq(nats, stream)
        AT_THE_END["bytes changed in the last message"](nats, stream)
        daemon.start()
        if was_read:
            _halted_then_resumed(daemon)
        else:
            sent = len(daemon.orders())
            daemon.until(lambda: len(daemon.orders()) > sent + 3, "it trades on")
            daemon.until(daemon.is_up, "nothing is wrong")
        _end(daemon)
