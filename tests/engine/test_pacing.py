"""Bots that speak at some moments only, and moments that come without a bar: alone as beside others, after any restart."""

from __future__ import annotations

import pickle
import random
from decimal import Decimal

import msgspec
import pytest

from engine.bots import Bot, BotStatus
from engine.messages import Bar, BotDefined, Signal, Split, Timer
from engine.signals import SignalEngine
from engine.values import NS_PER_MINUTE, NS_PER_S, Direction
from engine.window import Window
from tests.engine import build
from tests.engine.build import T0, always_open, bar, minute

FIVE = build.bot(params={"fast": 1, "slow": 2, "allow_short": True}, trading_frequency=300, session="any")
EVERY = msgspec.structs.replace(FIVE, trading_frequency="every_bar")
OFFSET = -(-T0 // (300 * NS_PER_S)) * 5 - T0 // NS_PER_MINUTE
"""Minutes from T0 to the next multiple of 300 s."""
UP, DOWN = Direction.LONG, Direction.SHORT


def at(number: int) -> int:
    """Close of the bar `number` minutes after a multiple of 300 s."""
    return minute(number + OFFSET)


def five(close: float, number: int, symbol: str = "AAPL", **more: object) -> Bar:
    return bar(close, number + OFFSET, symbol, **more)


def _engine(*bots: Bot) -> SignalEngine:
    engine = SignalEngine("ACC1", "run1", bots)
    engine.on_sessions(always_open())
    return engine


def _heard(signals: list[Signal]) -> list[tuple[int, Direction]]:
    return [((one.ts_event - at(0)) // NS_PER_MINUTE, one.direction) for one in signals]


def test_a_target_is_said_at_the_first_bar_from_each_multiple_on() -> None:
    engine = _engine(FIVE)
    closes = [10, 11, 12, 9, 8, 9, 10, 9, 8, 7, 6, 7, 6, 7, 6, 7]
    said = [s for number, close in enumerate(closes) for s in engine.on_bar(five(close, number))]
    assert _heard(said) == [(5, UP), (10, DOWN), (15, UP)]


def test_without_a_bar_at_the_multiple_the_next_one_counts() -> None:
    engine = _engine(FIVE)
    for number, close in ((3, 10), (4, 11), (5, 12)):
        engine.on_bar(five(close, number))
    assert engine.due_ns == 0  # what it wants is said: nothing to say without a bar
    assert _heard(engine.on_bar(five(11, 11))) == [(11, DOWN)]
    assert engine.on_bar(five(12, 12)) == []


def test_the_newest_wish_counts_and_its_values_go_with_it() -> None:
    engine = _engine(FIVE)
    for number, close in ((1, 10), (2, 11), (3, 9)):
        assert engine.on_bar(five(close, number)) == []
    [said] = engine.on_clock(at(6))
    assert _heard([said]) == [(5, DOWN)]
    assert said.indicators == {"sma(1)": 9.0, "sma(2)": 10.0}


def test_a_quiet_symbol_speaks_by_a_timer_at_the_last_price() -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    assert engine.due_ns == at(5) + 5 * NS_PER_S
    assert engine.on_clock(engine.due_ns - 1) == []
    assert engine.timers() == []
    [said] = engine.on_clock(engine.due_ns)
    [timer] = engine.timers()
    assert (timer.bot, timer.symbols, timer.ts_event) == ("alpha", {"AAPL": at(2)}, at(5))
    assert (said.direction, said.price, said.ts_event) == (UP, 11.0, at(5))
    assert said.bar == f"AAPL|1m|{at(2)}|0"
    assert said.indicators == {"sma(1)": 11.0, "sma(2)": 10.5}
    assert engine.due_ns == 0
    assert engine.on_clock(at(60)) == []


def test_what_was_said_already_waits_for_nothing() -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 4))
    assert _heard(engine.on_bar(five(11, 5))) == [(5, UP)]
    engine.on_bar(five(9, 6))
    assert engine.due_ns
    engine.on_bar(five(12, 7))  # up again: what is said already
    assert engine.due_ns == 0


def test_a_bar_that_was_fetched_late_makes_no_wish() -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2, is_backfill=True))
    assert engine.due_ns == 0
    assert engine.on_clock(at(60)) == []
    assert _heard(engine.on_bar(five(12, 5))) == [(5, UP)]


def test_a_bar_of_the_moment_that_comes_after_its_timer_moves_indicators_only() -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    assert len(engine.on_clock(at(6))) == 1
    assert engine.on_bar(five(9, 5)) == []
    [said] = engine.on_bar(five(8, 10))
    assert said.indicators == {"sma(1)": 8.0, "sma(2)": 8.5}


def test_another_symbols_bar_is_a_clock() -> None:
    both = msgspec.structs.replace(FIVE, symbols=("AAPL", "MSFT"))
    engine = _engine(both)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    assert engine.on_bar(five(50, 5, "MSFT")) == []  # AAPL may be a moment behind
    [said] = engine.on_bar(five(50, 6, "MSFT"))
    assert (said.symbol, said.ts_event) == ("AAPL", at(5))


# --- whole stories -----------------------------------------------------------------------------------------------------


def _story(seed: int, symbols: tuple[str, ...]) -> list[Bar]:
    """Bars with holes, by time and then symbol."""
    rng = random.Random(seed)
    return [
        five(100 + rng.randint(-3, 3), number, symbol)
        for number in range(1, 120)
        for symbol in symbols
        if rng.random() < 0.4
    ]


SOME = (
    FIVE,
    msgspec.structs.replace(FIVE, name="seven", trading_frequency=420),
    msgspec.structs.replace(FIVE, name="seconds", trading_frequency=17),
    msgspec.structs.replace(EVERY, name="every"),
    msgspec.structs.replace(EVERY, name="hours", window=Window(flatten_before_s=72_000, zone="UTC")),
    msgspec.structs.replace(
        FIVE, name="both", window=Window(start="00:20", end="01:30", zone="Asia/Kolkata", flatten_before_s=60)
    ),
)


def _midnight_like(bots: tuple[Bot, ...]) -> tuple[Bot, ...]:
    """Give the bots windows that end within the story, whatever day and hour T0 is."""
    first = at(0) // NS_PER_MINUTE % 1440
    clock = [f"{(first + more) % 1440 // 60:02}:{(first + more) % 1440 % 60:02}" for more in (20, 70)]
    assert clock[0] < clock[1], "the story lies over midnight"
    window = Window(clock[0], clock[1], "UTC", flatten_before_s=90)
    return tuple(msgspec.structs.replace(bot, window=window) if bot.window else bot for bot in bots)


def _played(bots: tuple[Bot, ...], bars: list[Bar], until: int) -> tuple[list[Signal], list[Timer]]:
    engine = _engine(*bots)
    signals = [signal for bar in bars for signal in engine.on_bar(bar)] + engine.on_clock(until)
    return signals, engine.timers()


@pytest.mark.parametrize("seed", range(20))
def test_signals_equal_those_of_the_bot_alone(seed: int) -> None:
    bots = _midnight_like(SOME)
    bars = _story(seed, ("AAPL", "MSFT", "NVDA"))
    together, timers = _played(tuple(msgspec.structs.replace(b, symbols=("AAPL", "MSFT")) for b in bots), bars, at(500))
    assert timers
    for bot in bots:
        alone, _ = _played((bot,), [bar for bar in bars if bar.symbol == "AAPL"], at(500))
        assert alone == [s for s in together if (s.bot, s.symbol) == (bot.name, "AAPL")], bot.name
        assert len(alone) > 2


@pytest.mark.parametrize("seed", range(6))
def test_a_restart_at_any_point_says_the_same(seed: int) -> None:
    """From a checkpoint, or from none; with timers of the clock, which only the stream remembers."""
    bots, bars, rng = _midnight_like(SOME), _story(seed, ("AAPL",)), random.Random(seed)
    calm = _engine(*bots)
    signals: list[Signal] = []
    timers: list[Timer] = []
    stops: list[tuple[bytes, int, int]] = []  # state, and how many bars and signals came before
    for number, one in enumerate(bars):
        signals += calm.on_bar(one)
        timers += calm.timers()
        stops.append((pickle.dumps(calm.state()), number + 1, len(signals)))
        if rng.random() < 0.5:  # the clock is seldom asked and may be anywhere until the next bar
            following = bars[number + 1].ts_event if number + 1 < len(bars) else one.ts_event + 10**12
            signals += calm.on_clock(rng.randint(one.ts_event, following - 1))
            timers += calm.timers()
            stops.append((pickle.dumps(calm.state()), number + 1, len(signals)))
    for state, bars_before, signals_before in stops:
        for checkpoint in (state, None):
            engine = SignalEngine("ACC1", "run1", bots if checkpoint is None else ())
            if checkpoint is not None:
                engine.restore(pickle.loads(checkpoint))
            engine.on_sessions(always_open())
            stored = {one.id for one in signals[:signals_before]}
            for timer in timers:  # all that the stream has, those of a former life after the checkpoint too
                engine.on_timer(timer)
            again = [s for bar in bars[0 if checkpoint is None else bars_before :] for s in engine.on_bar(bar)]
            again += engine.on_clock(at(119))
            new = [one for one in again if one.id not in stored]
            assert new == signals[signals_before:]
            assert [timer for timer in engine.timers() if timer not in timers] == []
            if checkpoint is None:
                assert again == signals
    assert len(timers) > 5


def test_a_kill_between_a_timer_and_what_is_said_at_it() -> None:
    engine = _engine(FIVE)
    engine.on_bar(five(10, 1))
    engine.on_bar(five(11, 2))
    before = pickle.dumps(engine.state())
    [lost] = engine.on_clock(at(6))
    [timer] = engine.timers()
    again = SignalEngine("ACC1", "run1", ())
    again.restore(pickle.loads(before))
    again.on_sessions(always_open())
    again.on_timer(timer)
    assert again.is_told
    assert again.on_clock(at(3)) == [lost]  # whatever the clock says
    assert not again.is_told
    assert again.timers() == []
    assert again.due_ns == 0


# --- beside other things that happen to a bot --------------------------------------------------------------------------


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
    assert again.on_clock(at(60)) == []
    assert again.timers() == []


def test_a_stop_that_closes_positions_is_said_after_a_timer_too() -> None:
    """Of two signals the later one counts in risk."""
    engine = _engine(FIVE)
    engine.on_bar(five(10, 3))
    engine.on_bar(five(11, 4))
    [opened] = engine.on_clock(at(6))
    stopped = msgspec.structs.replace(_defined(FIVE, 2, 5, BotStatus.STOPPED), flatten=True)
    engine.define(stopped)
    [flat] = engine.flatten(stopped)
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
