"""Bots on longer timeframes: what their strategies see, when they speak, beside others and after any restart."""

from __future__ import annotations

import pickle
import random
from decimal import Decimal

import msgspec
import pytest

from engine.bots import Bot, BotStatus
from engine.frames import Frames
from engine.messages import Bar, BotDefined, Signal, Split
from engine.signals import SignalEngine
from engine.values import NS_PER_MINUTE, Direction
from engine.window import Window
from tests.engine import build
from tests.engine.test_frames import bar_at, calendar, table, wall

CROSS = {"fast": 1, "slow": 2, "allow_short": True}
UP, DOWN = Direction.LONG, Direction.SHORT


def bot(timeframe: str = "5m", name: str = "alpha", **more: object) -> Bot:
    return build.bot(name=name, timeframe=timeframe, params=CROSS, **more)


def engine_of(*bots: Bot) -> SignalEngine:
    engine = SignalEngine("ACC1", "run1", bots)
    engine.on_sessions(calendar())
    return engine


def said(engine: SignalEngine, bars: list[Bar]) -> list[Signal]:
    return [signal for bar in bars for signal in engine.on_bar(bar)]


def heard(signals: list[Signal]) -> list[tuple[int, Direction]]:
    return [(signal.ts_event, signal.direction) for signal in signals]


def by_symbol(signals: list[Signal]) -> list[Signal]:
    return sorted(signals, key=lambda signal: (signal.symbol, signal.ts_event))


def minutes(first: str, closes: list[float], symbol: str = "AAPL") -> list[Bar]:
    begin = wall(first)
    return [bar_at(begin + number * NS_PER_MINUTE, close, symbol) for number, close in enumerate(closes)]


def market(seed: int, symbols: tuple[str, ...] = ("AAPL", "MSFT"), days: int = 2) -> list[Bar]:
    """Minutes of two days, from before the opening until after the close, with holes; some are late."""
    draw = random.Random(seed)
    price, bars = dict.fromkeys(symbols, 100.0), list[Bar]()
    for day in range(24, 24 + days):
        for ts in range(wall(f"2026-11-{day}T08:00"), wall(f"2026-11-{day}T18:00"), NS_PER_MINUTE):
            for symbol in symbols:
                if draw.random() < 0.7:
                    price[symbol] *= 1 + draw.gauss(0, 0.003)
                    bars.append(bar_at(ts, price[symbol], symbol, is_backfill=draw.random() < 0.02))
    return bars


def test_a_bot_speaks_when_its_frame_closes() -> None:
    bars = minutes("2026-11-24T09:31", [10.0] * 4 + [11.0] + [12.0] * 4 + [13.0] + [12.0] * 4 + [9.0])
    signals = said(engine_of(bot()), bars)
    assert heard(signals) == [(wall("2026-11-24T09:40"), UP), (wall("2026-11-24T09:45"), DOWN)]
    assert [signal.price for signal in signals] == [13.0, 9.0]
    assert signals[0].bar == f"AAPL|5m|{wall('2026-11-24T09:40')}|0"
    assert signals[0].indicators == {"sma(1)": 13.0, "sma(2)": 12.0}


def test_what_closes_with_the_session_is_said_when_it_opens_again() -> None:
    bars = minutes("2026-11-24T15:51", [10.0] * 5 + [11.0] * 5)
    engine = engine_of(bot())
    assert said(engine, bars) == []
    assert said(engine, minutes("2026-11-25T09:20", [11.5])) == []  # before the opening
    [signal] = said(engine, minutes("2026-11-25T09:31", [14.0, 15.0]))
    assert (signal.ts_event, signal.direction, signal.price) == (wall("2026-11-25T09:31"), UP, 14.0)
    assert signal.indicators == {"sma(1)": 11.5, "sma(2)": 11.25}  # of the frame until 09:20


def test_a_daily_bot_decides_at_the_close_and_speaks_at_the_opening() -> None:
    days = [minutes(f"2026-11-{day}T15:55", [price] * 6) for day, price in ((23, 9.0), (24, 10.0), (25, 12.0))]
    whole = [minutes(f"2026-11-{day}T09:31", [price]) for day, price in ((23, 9.0), (24, 10.0), (25, 12.0))]
    engine = engine_of(bot("1d"))
    signals = [said(engine, [*opening, *rest]) for opening, rest in zip(whole, days, strict=True)]
    assert heard(signals[0] + signals[1]) == []
    assert heard(signals[2]) == [(wall("2026-11-25T09:31"), UP)]
    assert [(frame.timeframe, frame.ts_event) for frame in engine.frames()] == [
        ("1d", wall(f"2026-11-{day}T16:00")) for day in (23, 24, 25)
    ]


def test_a_quiet_symbol_speaks_as_of_the_end_of_its_frame_by_bars_of_others() -> None:
    bars = [*minutes("2026-11-24T09:31", [10.0] * 5), *minutes("2026-11-24T09:37", [11.0])]
    alone = engine_of(bot())
    assert said(alone, bars) == []
    beside = engine_of(bot())
    assert said(beside, bars) == []
    [signal] = said(beside, minutes("2026-11-24T09:41", [50.0], "MSFT"))
    assert (signal.ts_event, signal.direction, signal.price) == (wall("2026-11-24T09:40"), UP, 11.0)
    assert said(alone, minutes("2026-11-24T09:52", [11.5])) == [signal]  # without others its own next bar closes it


def test_a_frame_that_was_fetched_late_says_nothing() -> None:
    first = minutes("2026-11-24T09:31", [10.0] * 5)
    late = [msgspec.structs.replace(bar, is_backfill=True) for bar in minutes("2026-11-24T09:36", [11.0] * 5)]
    engine = engine_of(bot())
    assert said(engine, [*first, *late, *minutes("2026-11-24T09:41", [11.0] * 4)]) == []
    [signal] = said(engine, minutes("2026-11-24T09:45", [12.0]))
    assert signal.direction is UP


@pytest.mark.parametrize("timeframe", ["2m", "5m", "1h"])
def test_a_strategy_sees_what_frames_made_beside_the_engine_give(timeframe: str) -> None:
    bars = market(1)
    engine = engine_of(bot(timeframe, publish_indicators=True))
    said(engine, bars)
    made, known = Frames("AAPL", timeframe, 0), table()
    frames = [frame for bar in bars if bar.symbol == "AAPL" for frame in made.on_bar(known, bar)]
    values = [shown.values for shown in engine.shown()]
    pairs = zip(frames, frames[1:], strict=False)
    assert [one["sma(2)"] for one in values] == pytest.approx([(a.close + b.close) / 2 for a, b in pairs])
    assert [frame.ts_event for frame in engine.frames()] == [frame.ts_event for frame in frames]


BOTS = (
    bot("1m", "one"),
    bot("2m", "two", symbols=("AAPL", "MSFT")),
    bot("5m", "five", symbols=("AAPL", "MSFT"), session="any"),
    bot("5m", "slow", symbols=("MSFT",), trading_frequency=420),
    bot("1h", "hour"),
    bot("1d", "day", symbols=("AAPL", "MSFT")),
)


def test_beside_others_a_bot_says_what_it_says_alone() -> None:
    bars = market(2)
    together = said(engine_of(*BOTS), bars)
    assert {signal.bot for signal in together} == {one.name for one in BOTS} - {"day"}
    for one in BOTS:
        mine = [signal for signal in together if signal.bot == one.name]
        assert by_symbol(mine) == by_symbol(said(engine_of(one), bars))


@pytest.mark.parametrize("seed", range(5))
def test_restarts_change_nothing(seed: int) -> None:
    bars, draw = market(seed, days=1), random.Random(seed)
    calm = engine_of(*BOTS)
    expected = said(calm, bars)
    engine, found, frames = engine_of(*BOTS), list[Signal](), list[Bar]()
    for bar in bars:
        found += engine.on_bar(bar)
        frames += engine.frames()
        if draw.random() < 0.02:
            kept = pickle.dumps(engine.state())
            engine = engine_of(*BOTS)
            engine.restore(pickle.loads(kept))
            engine.on_sessions(calendar())
    assert found == expected
    assert frames == calm.frames()
    assert engine.snapshots() == calm.snapshots()


def test_what_the_stream_knows_is_not_told_again() -> None:
    bars = market(3, days=1)
    engine = engine_of(*BOTS)
    before = pickle.dumps(engine.state())
    said(engine, bars)
    told = engine.frames()
    again = engine_of(*BOTS)
    again.restore(pickle.loads(before))
    again.on_sessions(calendar())
    cut = wall("2026-11-24T12:00")
    for frame in told:
        if frame.ts_event <= cut:
            again.on_own_frame(frame)
    said(again, bars)
    assert again.frames() == [frame for frame in told if frame.ts_event > cut]


def _defined(of: Bot, revision: int, from_ts: int, status: BotStatus = BotStatus.RUNNING) -> BotDefined:
    return BotDefined(of.name, revision, of, status, from_ts, "", "", 0)


def test_a_bot_defined_at_run_time_is_warmed_by_the_frames_of_the_past() -> None:
    bars = market(4, days=1)
    cut = len(bars) // 2
    calm = engine_of(BOTS[2])
    expected = said(calm, bars)
    engine = engine_of()
    said(engine, bars[:cut])
    engine.define(_defined(BOTS[2], 1, engine.newest_ns), bars[:cut])
    found = said(engine, bars[cut:])
    since = bars[cut - 1].ts_event
    after = [signal for signal in expected if signal.ts_event > since]
    assert after
    assert found[-len(after) :] == after
    assert len(found) - len(after) in (
        0,
        1,
    )  # what it wants at its first bar may have been said long before by the other
    assert engine.snapshots()[0][4] == calm.snapshots()[0][4]
    assert engine.frames() == [frame for frame in calm.frames() if frame.ts_event > since]


def test_another_timeframe_takes_over_warm() -> None:
    bars = market(5, ("AAPL",), days=1)
    cut = len(bars) // 2
    engine = engine_of(bot("2m", session="any"))
    said(engine, bars[:cut])
    engine.define(_defined(bot("5m", session="any"), 2, engine.newest_ns), bars[:cut])
    said(engine, bars[cut:])
    calm = engine_of(bot("5m", session="any"))
    said(calm, bars)
    assert engine.snapshots()[0][4] == calm.snapshots()[0][4]
    assert {frame.timeframe for frame in engine.frames() if frame.ts_event > bars[cut + 5].ts_event} == {"5m"}


def test_a_split_turns_the_frame_that_is_forming() -> None:
    first = minutes("2026-11-24T09:31", [100.0] * 5) + minutes("2026-11-24T09:36", [102.0] * 2)
    rest = minutes("2026-11-24T09:38", [52.0] * 3)
    split = Split("s1", "AAPL", "AAPL", Decimal(2), wall("2026-11-24T09:37") + 1)
    engine = engine_of(bot())
    said(engine, first)
    engine.on_split(split, first)
    [signal] = said(engine, rest)
    assert (signal.direction, signal.indicators) == (UP, {"sma(1)": 52.0, "sma(2)": 51.0})
    [_, frame] = engine.frames()
    assert (frame.open, frame.high, frame.close) == (51.0, 52.0, 52.0)


def test_positions_close_at_the_end_of_a_window_between_two_frames() -> None:
    of = bot("1h", window=Window("09:30", "12:00", flatten_before_s=0))
    bars = minutes("2026-11-24T09:31", [10.0] * 60 + [12.0] * 60 + [12.5] * 40)
    assert heard(said(engine_of(of), bars)) == [
        (wall("2026-11-24T11:30"), UP),
        (wall("2026-11-24T12:00"), Direction.FLAT),
    ]
