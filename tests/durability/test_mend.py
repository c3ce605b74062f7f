"""A trading stream whose files were damaged while it was down: whole again, in its first order, and trading latched."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import Settings
from engine.errors import ConfigError
from engine.messages import Alert, decode
from streams.latch import Latch
from streams.loss import Guard, Hole, HoleError, Holes
from streams.role import topology_of
from streams.seals import Seen, seal_of
from streams.server import NatsServer
from tapeline.mend import is_pending, mend_folder
from tests.durability import kill_mend
from tests.durability.damage import AT_THE_END, BEFORE_THE_END, blocks
from tests.durability.ledger import (
    MESSAGES,
    bodies,
    copied,
    make,
    plain,
    publish,
    read_all,
    record,
    recorded,
    see,
    settings_of,
)  # fmt: skip
from tests.storage.samples import position
from tests.system.kill_tally import TALLY

STREAM = topology_of(settings_of(Path("x"))).trading
WANTED = bodies()
HALF = "newest block cut by half"
POINTS = ("mend.spooled", "mend.deleted", "mend.refilled", "mend.before_done")


def _made(tmp_path_factory: pytest.TempPathFactory, *, killed: bool, large: bool = False) -> Path:
    folder = tmp_path_factory.mktemp("made") / "data"
    asyncio.run(make(folder, killed=killed, large=large))
    assert len(blocks(folder / "nats", STREAM)) == (3 if large else 1)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose nats-server was stopped in order: its index knows how much there was."""
    return _made(tmp_path_factory, killed=False)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose nats-server was killed: sequences that are lost will be used again."""
    return _made(tmp_path_factory, killed=True)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of three blocks."""
    return _made(tmp_path_factory, killed=True, large=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.refill._LOOK_S", 0.05)


def _stored(settings) -> list:
    server = NatsServer(settings.data_path / "nats")
    server.start()
    try:
        return asyncio.run(read_all(server.url, settings))
    finally:
        server.stop()


def _look(settings, role: str = "executor") -> Hole | None:
    """What a role finds when it begins to read."""
    server = NatsServer(settings.data_path / "nats")
    server.start()
    try:
        asyncio.run(see(server.url, settings, role))
    except HoleError as err:
        return err.hole
    finally:
        server.stop()
    return None


_FEW = {
    ("stopped", "newest block cut by half"),
    ("killed", "cut in the middle of a message"),
    ("killed", "bytes changed in the last message"),
}


@pytest.mark.parametrize(
    ("how", "damage"),
    [
        pytest.param(how, damage, marks=() if (how, damage) in _FEW else pytest.mark.soak)
        for how in ("stopped", "killed")
        for damage in AT_THE_END
    ],
)
def test_a_damaged_end_is_noticed_and_comes_back(
    request: pytest.FixtureRequest, tmp_path: Path, how: str, damage: str
) -> None:
    settings = copied(request.getfixturevalue(how), tmp_path / "data")
    _comes_back(settings, lambda: AT_THE_END[damage](settings.data_path / "nats", STREAM))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(d, marks=() if d == "bytes changed in the first block" else pytest.mark.soak)
        for d in BEFORE_THE_END
    ],
)
def test_a_damaged_middle_is_noticed_and_comes_back(large: Path, tmp_path: Path, damage: str) -> None:
    settings = copied(large, tmp_path / "data")
    _comes_back(settings, lambda: BEFORE_THE_END[damage](settings.data_path / "nats", STREAM))


def _comes_back(settings: Settings, damage: Callable[[], None]) -> None:
    """The role that reads notices, everything comes back in its order, and trading is latched."""
    folder = settings.data_path
    seen = Seen(folder / "run" / "executor.seen").read()
    assert seen is not None
    assert seen.seq == MESSAGES
    damage()
    assert _look(settings) is not None, "the executor would have read on"

    said = mend_folder(folder, settings)
    assert "none is gone for good" in said, said
    assert (note := Latch(folder).read()) is not None
    assert note.reason == said
    found = _stored(settings)
    assert plain(found[:-1]) == WANTED
    last = decode(found[-1].data).body
    assert isinstance(last, Alert)
    assert (last.level, last.what) == ("critical", said)
    assert _look(settings) is None
    assert mend_folder(folder, settings) == "", "whole is whole"
    assert list((folder / "nats").glob(f"{STREAM}.before-*")), "the damaged files are kept"


def test_an_undamaged_stream_is_left_alone(killed: Path, tmp_path: Path) -> None:
    settings = copied(killed, tmp_path / "data")
    assert _look(settings) is None
    assert mend_folder(settings.data_path, settings) == ""
    assert not Latch(settings.data_path).is_set()
    assert plain(_stored(settings)) == WANTED


def test_the_database_follows_the_mended_stream(killed: Path, tmp_path: Path) -> None:
    """What was recorded after the hole is recorded anew: no fill twice, none missing, each with its sequence."""
    settings = copied(killed, tmp_path / "data")
    before = recorded(settings.data_path)
    AT_THE_END[HALF](settings.data_path / "nats", STREAM)
    mend_folder(settings.data_path, settings)
    assert len(recorded(settings.data_path)) < len(before)
    _again(settings)
    assert recorded(settings.data_path) == before


def _again(settings) -> None:
    server = NatsServer(settings.data_path / "nats")
    server.start()
    try:
        asyncio.run(record(server.url, settings))
    finally:
        server.stop()


def test_what_neither_has_is_named_in_its_place(large: Path, tmp_path: Path) -> None:
    settings = copied(large, tmp_path / "data")
    folder = settings.data_path
    (folder / "tapeline.duckdb").unlink()
    BEFORE_THE_END["a block in the middle deleted"](folder / "nats", STREAM)
    hole = _look(settings)
    assert hole is not None
    said = mend_folder(folder, settings)
    assert f"{hole.last - hole.first + 1} are gone for good" in said
    found = _stored(settings)
    for item in found[:MESSAGES]:
        body = decode(item.data).body
        if hole.first <= item.seq <= hole.last:
            assert isinstance(body, Alert)
            assert body.what.startswith(f"message {item.seq} of {STREAM} is lost")
        else:
            assert body == WANTED[item.seq - 1]


def test_a_lost_beginning_that_the_database_does_not_have_ends_it(large: Path, tmp_path: Path) -> None:
    settings = copied(large, tmp_path / "data")
    (settings.data_path / "tapeline.duckdb").unlink()
    BEFORE_THE_END["first block deleted"](settings.data_path / "nats", STREAM)
    with pytest.raises(ConfigError, match="lost its beginning"):
        mend_folder(settings.data_path, settings)


def test_the_whole_store_deleted_comes_back(killed: Path, tmp_path: Path) -> None:
    settings = copied(killed, tmp_path / "data")
    shutil.rmtree(settings.data_path / "nats" / "store")
    assert "none is gone for good" in mend_folder(settings.data_path, settings)
    assert plain(_stored(settings)[:-1]) == WANTED


@pytest.mark.parametrize("others", [3, pytest.param(500, marks=pytest.mark.soak)])
def test_sequences_that_were_used_again(killed: Path, tmp_path: Path, others: int) -> None:
    """Somebody published before anybody looked: what was lost comes first, then what came since."""
    settings = copied(killed, tmp_path / "data")
    folder = settings.data_path
    AT_THE_END[HALF](folder / "nats", STREAM)
    late = [Alert(f"late-{n}", "info", "feed", "later", 5) for n in range(others)]
    server = NatsServer(folder / "nats")
    server.start()
    asyncio.run(publish(server.url, settings, late, first=10_000))
    server.stop()
    assert _look(settings) is not None
    mend_folder(folder, settings)
    assert plain(_stored(settings)[:-1]) == WANTED + late


@pytest.mark.parametrize("is_recorded", [True, False])
def test_what_risk_made_of_a_fill_that_is_gone_goes_too(killed: Path, tmp_path: Path, is_recorded: bool) -> None:
    """It reached the stream after the loss. The fill comes again from the venue, and then so does its position."""
    settings = copied(killed, tmp_path / "data")
    folder = settings.data_path
    if not is_recorded:
        (folder / "tapeline.duckdb").unlink()
    AT_THE_END[HALF](folder / "nats", STREAM)
    alert, made = Alert("late", "info", "feed", "later", 5), position("venue-i99|10", "10")
    server = NatsServer(folder / "nats")
    server.start()
    asyncio.run(publish(server.url, settings, [alert, made], first=10_000))
    server.stop()
    mend_folder(folder, settings)
    found = plain(_stored(settings))
    assert found[MESSAGES:-1] == ([alert, made] if is_recorded else [alert])
    assert (found[:MESSAGES] == WANTED) is is_recorded


@pytest.mark.kill
@pytest.mark.soak
def test_a_mending_killed_at_each_point_goes_on(stopped: Path, tmp_path: Path) -> None:
    """With -9, each time the next one a point later; nats-server goes with it."""
    settings = copied(stopped, tmp_path / "data")
    folder = settings.data_path
    AT_THE_END[HALF](folder / "nats", STREAM)
    for point in POINTS:
        done = subprocess.run(
            [sys.executable, kill_mend.__file__, str(folder), point, str(tmp_path / point)],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == -9, (point, done.stderr)
        TALLY.add_point("mend", point, Counter((tmp_path / point).read_text().split()))
        assert is_pending(folder), point
    assert "none is gone for good" in mend_folder(folder, settings)
    assert not is_pending(folder)
    assert plain(_stored(settings)[:-1]) == WANTED
    _again(settings)
    assert [seq for seq, _ in recorded(folder)] == [
        seq for seq, body in enumerate(bodies(), 1) if type(body).__name__ == "Fill"
    ]


def test_where_the_server_is_not_ours_a_noted_hole_is_passed_over(killed: Path, tmp_path: Path) -> None:
    """Halted: see streams/halting.py. A role would never come up otherwise."""
    settings = copied(killed, tmp_path / "data")
    folder = settings.data_path
    AT_THE_END[HALF](folder / "nats", STREAM)
    hole = _look(settings)
    assert hole is not None
    Holes(folder).note(hole, "executor")
    assert not Guard(folder, "executor").passes(hole), "where it can be mended nobody passes"
    guard = Guard(folder, "executor", is_mended=False)
    assert guard.passes(hole)
    assert not guard.passes(Hole(STREAM, 1, 2, "gap"))


def test_what_was_seen_is_read_back_or_nothing(tmp_path: Path) -> None:
    from streams.seals import Stored

    seen = Seen(tmp_path / "run" / "risk.seen")
    assert seen.read() is None
    for seq in (7, 123_456_789):
        seal = seal_of(Stored(seq, b"body", 1_700_000_000_000_000_000))
        seen.write(seal)
        assert Seen(tmp_path / "run" / "risk.seen").read() == seal
    whole = (tmp_path / "run" / "risk.seen").read_bytes()
    for at in range(len(whole)):
        torn = bytearray(whole)
        torn[at] ^= 1
        (tmp_path / "run" / "risk.seen").write_bytes(bytes(torn))
        assert seen.read() is None
        (tmp_path / "run" / "risk.seen").write_bytes(whole[:at])
        assert seen.read() is None
