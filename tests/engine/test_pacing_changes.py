"""Moments without a bar beside other things that happen to a bot: versions, pauses, stops, late bars, splits."""

from __future__ import annotations

import pickle
from decimal import Decimal

import msgspec
import pytest

from engine.bots import Bot, BotStatus
from engine.messages import BotDefined, Split
from engine.signals import SignalEngine
from engine.values import NS_PER_MINUTE, NS_PER_S, Direction
from engine.window import Window
from tests.engine.build import always_open
from tests.engine.test_pacing import DOWN, EVERY, FIVE, UP, _engine, _heard, at, five


def _defined(bot: Bot, revision: int, from_minute: int, status: BotStatus = BotStatus.RUNNING) -> BotDefined:
    return BotDefined(bot.name, revision, bot, status, at(from_minute), "somebody", "", at(from_minute))


def test_a_new_version_has_its_own_frequency_also_where_no_bar_comes() -> None:
    engine = _engine(EVERY)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    window = Window(flatten_before_s=86_340 - (at(4) // NS_PER_S % 86_400), zone="UTC")
    engine.define(_defined(msgspec.structs.replace(EVERY, window=window), 2, 2))
    assert engine.due_ns == at(3) + 60 * NS_PER_S + 60 * NS_PER_S + 5 * NS_PER_S
    [said] = engine.on_clock(engine.due_ns)
    assert (said.direction, said.ts_event) == (Direction.FLAT, at(5))


@pytest.mark.parametrize("status", [BotStatus.PAUSED, BotStatus.STOPPED])
def test_a_bot_that_does_not_run_has_no_moments(status: BotStatus) -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    engine.define(_defined(FIVE, 2, 2, status))
    assert engine.due_ns == 0
    assert engine.on_clock(at(60)) == []


def test_a_wish_of_another_strategy_is_not_said() -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    other = msgspec.structs.replace(FIVE, params={"fast": 2, "slow": 40})
    engine.define(_defined(other, 2, 2))
    assert engine.on_clock(at(60)) == []
    assert engine.on_bar(five(11, 7)) == []


def test_the_newest_wish_of_a_pause_is_said_after_it() -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))  # up
    engine.define(_defined(FIVE, 2, 2, BotStatus.PAUSED))
    assert engine.on_bar(five(9, 3)) == []  # down
    engine.define(_defined(FIVE, 3, 3))
    [said] = engine.on_clock(at(6))
    assert (said.direction, said.price, said.ts_event) == (DOWN, 9.0, at(5))


def test_a_wish_that_was_said_by_a_former_life_waits_no_more() -> None:
    """A strategy with no opinion at the bar at which the wish was said."""
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    before = pickle.dumps(engine.state())
    [said] = engine.on_bar(five(float("nan"), 5)) or engine.on_clock(at(6))
    again = SignalEngine("ACC1", "run1", ())
    again.restore(pickle.loads(before))
    again.on_sessions(always_open())
    again.on_own_signal(said)
    again.forget_unsaid()
    again.caught_up()  # without its bar, and the moment that was stored: the stream lost them
    assert again.on_clock(at(60)) == []
    assert again.timers() == []


def test_a_stop_that_closes_positions_is_said_after_a_timer_too() -> None:
    """Of two signals the later one counts in risk."""
    engine = _engine(FIVE)
    engine.on_bar(five(10, 3))
    engine.on_bar(five(11, 4))
    [opened] = engine.on_clock(at(6))
    stopped = msgspec.structs.replace(_defined(FIVE, 2, 5, BotStatus.STOPPED), flatten=True)
    [flat] = engine.define(stopped)
    assert flat.ts_event >= opened.ts_event
    assert (flat.direction, flat.bar, flat.price) == (Direction.FLAT, opened.bar, 11.0)
    again = _engine(FIVE)
    for one in (opened, flat):
        again.on_own_signal(one)
    again.on_bar(five(10, 3))
    again.on_bar(five(11, 4))
    assert again.forget_unsaid() == []


def _until(minutes: int) -> Window:
    """A window that ends so many minutes after at(0), with positions closed."""
    end = (at(minutes) // NS_PER_MINUTE) % 1440
    return Window(end=f"{end // 60:02}:{end % 60:02}", zone="UTC", flatten_before_s=0)


def _long() -> SignalEngine:
    engine = _engine(EVERY)
    engine.on_bar(five(10, 1))
    assert _heard(engine.on_bar(five(11, 2))) == [(2, UP)]
    return engine


@pytest.mark.parametrize("how", ["given when it is over", "resumed when it is over"])
def test_what_is_held_outside_of_a_window_is_closed_without_a_bar(how: str) -> None:
    engine = _long()
    over = msgspec.structs.replace(EVERY, window=_until(3))
    if how == "given when it is over":
        engine.define(_defined(over, 2, 10))
    else:
        engine.define(_defined(over, 2, 2, BotStatus.PAUSED))
        assert engine.on_clock(at(9)) == []
        engine.define(_defined(over, 3, 10))
    [said] = engine.on_clock(at(11))
    assert (said.direction, said.ts_event) == (Direction.FLAT, at(10) + 1)
    assert engine.due_ns == 0


def test_late_bars_do_not_use_up_the_end_of_a_window() -> None:
    """The daemon was away from before the end to after it; then a quiet market."""
    window = Window("00:00", _until(5).end, "UTC", flatten_before_s=0)
    engine = _engine(msgspec.structs.replace(EVERY, window=window))
    engine.on_bar(five(10, 1))
    assert _heard(engine.on_bar(five(11, 2))) == [(2, UP)]
    for number in (3, 4, 5):
        assert engine.on_bar(five(12, number, is_backfill=True)) == []
    [said] = engine.on_clock(at(7))
    assert (said.direction, said.price, said.ts_event) == (Direction.FLAT, 12.0, at(5) + 1)
    assert engine.due_ns == 0


def test_what_is_owed_is_said_before_the_next_window_does_anything() -> None:
    day = 1440
    engine = _engine(msgspec.structs.replace(EVERY, window=_until(5)))
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    assert engine.on_bar(five(12, 5, is_backfill=True)) == []
    [said, *_] = engine.on_bar(five(13, day - 20))
    assert (said.direction, said.ts_event) == (Direction.FLAT, at(5) + 1)
    assert _heard(engine.on_bar(five(14, day - 19))) in ([], [(day - 19, UP)])


def test_without_its_window_a_bot_owes_nothing_any_more() -> None:
    engine = _engine(msgspec.structs.replace(EVERY, window=_until(5)))
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    assert engine.on_bar(five(12, 5, is_backfill=True)) == []
    engine.define(_defined(EVERY, 2, 5))
    assert engine.on_bar(five(13, 6)) == []
    assert _heard(engine.on_bar(five(9, 7))) == [(7, DOWN)]


def test_a_symbol_that_was_taken_away_has_no_moments() -> None:
    both = msgspec.structs.replace(EVERY, symbols=("AAPL", "MSFT"), window=_until(5))
    engine = _engine(both)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    engine.define(_defined(msgspec.structs.replace(both, symbols=("MSFT",)), 2, 2))
    assert engine.on_clock(at(60)) == []
    assert engine.on_bar(five(12, 61)) == []


def test_a_split_between_a_plan_and_its_moment() -> None:
    engine = _engine(msgspec.structs.replace(EVERY, window=_until(5)))
    bars = [five(10, 1), five(12, 2)]
    for one in bars:
        engine.on_bar(one)
    engine.on_split(Split("ca1", "AAPL", "AAPL", Decimal(4), at(3)), bars)
    [said] = engine.on_clock(at(6))
    assert (said.direction, said.price, said.ts_event) == (Direction.FLAT, 3.0, at(5))
    [timer] = engine.timers()
    assert timer.symbols == {"AAPL": at(2)}


def test_a_wish_from_before_the_window_is_said_when_it_opens() -> None:
    start = at(7) // NS_PER_MINUTE % 1440
    window = Window(f"{start // 60:02}:{start % 60:02}", "24:00", "UTC")
    sixty = msgspec.structs.replace(FIVE, trading_frequency=60, window=window)
    engine = _engine(sixty)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    [said] = engine.on_clock(at(8))
    assert (said.direction, said.ts_event) == (UP, at(7))
