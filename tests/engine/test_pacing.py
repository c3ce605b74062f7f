"""Bots that speak at some moments only, and moments that come without a bar: alone as beside others, after any restart."""

from __future__ import annotations

import pickle
import random

import msgspec
import pytest

from engine.bots import Bot
from engine.messages import Bar, Signal, Timer
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
        timers += calm.timers(number + 1)
        stops.append((pickle.dumps(calm.state()), number + 1, len(signals)))
        if rng.random() < 0.5:  # the clock is seldom asked and may be anywhere until the next bar
            following = bars[number + 1].ts_event if number + 1 < len(bars) else one.ts_event + 10**12
            signals += calm.on_clock(rng.randint(one.ts_event, following - 1))
            timers += calm.timers(number + 1)
            stops.append((pickle.dumps(calm.state()), number + 1, len(signals)))
    for state, bars_before, signals_before in stops:
        for checkpoint in (state, None):
            engine = SignalEngine("ACC1", "run1", bots if checkpoint is None else ())
            if checkpoint is not None:
                engine.restore(pickle.loads(checkpoint))
            engine.on_sessions(always_open())
            stored = {one.id for one in signals[:signals_before]}
            for timer in timers:  # all that the stream has, those of a former life after the checkpoint too
                engine.expect(timer)
            again, moments = list[Signal](), list[Timer]()
            for number in range(0 if checkpoint is None else bars_before, len(bars)):
                again += engine.expected(number)[1] + engine.on_bar(bars[number])
                moments += engine.timers(number + 1)
            again += engine.expected(len(bars))[1] + engine.on_clock(at(119))
            new = [one for one in again if one.id not in stored]
            assert new == signals[signals_before:]
            assert [*moments, *engine.timers()] == []
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
    again.expect(timer)
    assert again.is_expecting
    assert again.expected(0) == (None, [lost])  # whatever the clock says
    assert not again.is_expecting
    assert again.timers() == []
    assert again.due_ns == 0
