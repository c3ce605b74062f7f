"""Bars that late trades change, and bars that come too late for a longer one: what is known afterwards, and what is said."""

from __future__ import annotations

import pickle
import random

import msgspec
import pytest

from engine.bots import Bot
from engine.messages import Bar, DerivedBar, Signal
from engine.signals import SignalEngine
from engine.values import NS_PER_MINUTE, PAST_SYMBOLS_MAX, Direction
from tests.engine import build
from tests.engine.test_timeframes import BOTS, bot, engine_of, heard, market, minutes, wall


def corrected(bar: Bar, close: float, revision: int = 1) -> Bar:
    """A bar with another close."""
    high, low = max(bar.high, close), min(bar.low, close)
    return msgspec.structs.replace(bar, close=close, high=high, low=low, revision=revision, volume=bar.volume + 10)


def newest(bars: list[Bar]) -> list[Bar]:
    found = {(bar.ts_event, bar.symbol): bar for bar in bars}
    return [found[key] for key in sorted(found)]


def play(engine: SignalEngine, bars: list[Bar], restart_at: frozenset[int] = frozenset()) -> list[Signal]:
    """As the role does: with the past where it is needed."""
    signals: list[Signal] = []
    for number, bar in enumerate(bars):
        signals += engine.come_before(bar)
        past = newest(bars[: number + 1]) if engine.needs_past(bar) else []
        signals += engine.on_bar(bar, past)
        if number in restart_at:
            engine.restore(pickle.loads(pickle.dumps(engine.state())))
    return signals


def values(engine: SignalEngine) -> object:
    return [(name, symbol, seen) for name, symbol, _, _, seen in engine.snapshots()]


def test_from_the_next_bar_on_all_is_as_if_the_bar_had_been_so_always() -> None:
    bars = minutes("2026-11-24T09:31", [10.0, 11.0, 12.0])
    engine = engine_of(bot("1m"))
    before = play(engine, bars)
    change = corrected(bars[1], 15.0)
    assert play(engine, [change]) == []
    later = minutes("2026-11-24T09:34", [13.0])
    past = newest([*bars, change, *later])
    assert engine.needs_past(later[0]) == {"AAPL"}
    after = engine.on_bar(later[0], past)
    calm = engine_of(bot("1m"))
    play(calm, [bars[0], msgspec.structs.replace(change, revision=0), bars[2], *later])
    assert values(engine) == values(calm)
    assert heard(before) == [(wall("2026-11-24T09:32"), Direction.LONG)]
    assert after == []  # 13 above 12.5: long, as was said; without the correction it would know 12.5 as well
    down = minutes("2026-11-24T09:35", [9.0])
    assert heard(engine.on_bar(down[0])) == [(wall("2026-11-24T09:35"), Direction.SHORT)]
    assert not engine.needs_past(minutes("2026-11-24T09:36", [13.0])[0])


def test_nothing_is_said_again_of_a_bar_that_was_decided() -> None:
    """The corrections would have turned it at bars that were decided; the next bar finds it as it was."""
    bars = minutes("2026-11-24T09:31", [10.0, 11.0, 12.0, 13.0])
    engine = engine_of(bot("1m"))
    changes = [corrected(bars[1], 9.0), corrected(bars[2], 8.0), corrected(bars[2], 7.5, 2)]
    said = play(engine, [*bars, *changes, *minutes("2026-11-24T09:35", [14.0])])
    assert heard(said) == [(wall("2026-11-24T09:32"), Direction.LONG)]
    assert (
        play(engine_of(bot("1m")), [bars[0], msgspec.structs.replace(changes[0], revision=0)])[0].direction
        is Direction.SHORT
    )


def test_a_longer_bar_is_told_anew() -> None:
    bars = minutes("2026-11-24T09:31", [10.0] * 5 + [11.0] * 3)
    engine = engine_of(bot("5m"))
    stream = [*bars[:7], corrected(bars[1], 20.0), corrected(bars[4], 12.0), bars[7]]
    play(engine, stream)
    told = engine.frames()
    assert [(one.ts_event, one.revision, one.high, one.close) for one in told] == [
        (wall("2026-11-24T09:35"), 0, 10.0, 10.0),
        (wall("2026-11-24T09:35"), 1, 20.0, 12.0),
    ]
    assert all(type(one) is DerivedBar for one in told)


def test_who_knows_of_older_bars_than_there_are_keeps_what_it_knows() -> None:
    days = [minutes(f"2026-11-{day}T09:31", [price] * 390) for day, price in ((18, 10.0), (19, 20.0), (20, 30.0))]
    engine = engine_of(bot("1d"))
    play(engine, [bar for day in days for bar in day])
    before = values(engine)
    change, later = corrected(days[2][5], 31.0), minutes("2026-11-23T09:31", [30.0])[0]
    engine.on_bar(change)
    assert engine.needs_past(later) == {"AAPL"}
    engine.on_bar(later, newest([*days[2], change, later]))  # what the stream still has
    assert values(engine) == before


def test_what_a_daily_bot_will_say_is_corrected_too() -> None:
    """Alpaca corrects the last minutes of a day after its close, when the day's bar was decided."""
    days = [minutes(f"2026-11-{day}T09:31", [price] * 390) for day, price in ((23, 10.0), (24, 10.0))]
    engine = engine_of(bot("1d"))
    stream = [*days[0], *days[1], corrected(days[1][-1], 14.0), *minutes("2026-11-25T09:31", [10.0])]
    [signal] = play(engine, stream)
    assert (signal.direction, signal.indicators) == (Direction.LONG, {"sma(1)": 14.0, "sma(2)": 12.0})


def test_a_bar_that_comes_late_for_a_longer_one_is_in_its_next_revision() -> None:
    bars = minutes("2026-11-24T09:31", [10.0] * 5 + [11.0, 12.0, 13.0, 14.0, 15.0])
    others = minutes("2026-11-24T09:31", [50.0] * 11, "MSFT")
    engine = engine_of(bot("5m"))
    first = play(engine, [*bars[:7], *others])  # while its history was awaited, others went on
    assert heard(first) == [(wall("2026-11-24T09:40"), Direction.LONG)]
    assert first[0].price == 12.0
    whole = [*bars[:7], *others, *bars[7:]]
    engine = engine_of(bot("5m"))
    assert play(engine, whole) == first
    told = [
        (one.revision, one.close, one.volume) for one in engine.frames() if one.ts_event == wall("2026-11-24T09:40")
    ]
    assert told == [(0, 12.0, 200.0), (1, 13.0, 300.0), (2, 14.0, 400.0), (3, 15.0, 500.0)]
    calm = engine_of(bot("5m"))
    play(calm, bars)
    assert values(engine) == values(calm)


def test_every_longer_bar_of_a_time_that_others_passed_is_told() -> None:
    bars = minutes("2026-11-24T09:31", [10.0] * 9)
    engine = engine_of(bot("2m"))
    play(engine, [*bars[:3], *minutes("2026-11-24T09:31", [50.0] * 11, "MSFT"), *bars[3:]])
    volumes = {one.ts_event: one.volume for one in engine.frames()}
    assert volumes == {wall(f"2026-11-24T09:{end}"): 200.0 for end in (32, 34, 36, 38)}


def test_bars_that_come_again_do_not_bring_corrections_about() -> None:
    bars = minutes("2026-11-24T09:31", [10.0, 11.0, 12.0])
    engine = engine_of(bot("1m"))
    play(engine, [*bars, corrected(bars[1], 15.0)])
    assert engine.needs_past(bars[0]) == set()
    assert engine.needs_past(bars[2]) == set()


def test_of_a_whole_market_no_past_is_read() -> None:
    names = tuple(f"S{number}" for number in range(PAST_SYMBOLS_MAX + 1))
    engine = engine_of(bot("1m", symbols=names))
    first = minutes("2026-11-24T09:31", [10.0], "S1")[0]
    play(engine, [first, corrected(first, 11.0)])
    assert engine.needs_past(minutes("2026-11-24T09:32", [10.0], "S1")[0]) == set()


def test_a_strategy_that_raises_is_not_counted_again() -> None:
    engine = engine_of(build.bot(strategy="rsi", params={"period": 2, "oversold": 30.0, "overbought": 70.0}))
    bars = minutes("2026-11-24T09:31", [10.0 + number for number in range(20)])
    stream = [bars[0], msgspec.structs.replace(bars[1], close=float("nan")), bars[2]]
    for number, bar in enumerate(bars[3:], 1):  # made anew more often than a strategy may raise
        stream += [corrected(bars[2], 12.0 + number, number), bar]
    play(engine, stream)
    assert len(engine.alerts()) == 1
    assert engine.failed() == {}


def _disturbed(seed: int) -> list[Bar]:
    """A day of two symbols in which bars are corrected, some twice, up to ten minutes later."""
    draw, stream = random.Random(seed), list[Bar]()
    owed: list[tuple[int, Bar]] = []
    for bar in market(seed, days=1):
        stream += [change for due, change in owed if due <= bar.ts_event]
        owed = [(due, change) for due, change in owed if due > bar.ts_event]
        stream.append(bar)
        if draw.random() < 0.05:
            for revision in range(1, draw.choice((2, 2, 3))):
                due = bar.ts_event + draw.randrange(1, 10) * NS_PER_MINUTE * revision
                owed.append((due, corrected(bar, bar.close * draw.uniform(0.99, 1.01), revision)))
    revisions: dict[tuple[str, int], int] = {}
    whole: list[Bar] = []
    for bar in stream:  # the first to come is the first revision
        key = bar.symbol, bar.ts_event
        revisions[key] = revisions.get(key, -1) + 1
        whole.append(msgspec.structs.replace(bar, revision=revisions[key]))
    return whole


@pytest.mark.parametrize("seed", range(3))
def test_restarts_and_other_bots_change_nothing(seed: int) -> None:
    stream = _disturbed(seed)
    calm = engine_of(*BOTS)
    expected, told = play(calm, stream), calm.frames()
    draw = random.Random(seed)
    again = engine_of(*BOTS)
    restarts = frozenset(number for number in range(len(stream)) if draw.random() < 0.05)
    assert play(again, stream, restarts) == expected
    assert again.frames() == told
    assert again.snapshots() == calm.snapshots()
    for one in BOTS:
        alone = play(engine_of(one), stream)
        mine = [signal for signal in expected if signal.bot == one.name]
        assert sorted(map(_key, alone)) == sorted(map(_key, mine))


def _key(signal: Signal) -> str:
    return repr(signal)


@pytest.mark.parametrize("seed", range(3))
def test_at_the_end_all_is_known_as_it_is_now(seed: int) -> None:
    stream = _disturbed(seed)
    stream += minutes("2026-11-24T18:10", [100.0], "AAPL") + minutes("2026-11-24T18:10", [100.0], "MSFT")
    engine, calm = engine_of(*BOTS), engine_of(*BOTS)
    play(engine, stream)
    play(calm, [msgspec.structs.replace(bar, revision=0) for bar in newest(stream)])
    assert values(engine) == values(calm)
    last = {(one.symbol, one.timeframe, one.ts_event): one for one in engine.frames()}
    plain = [msgspec.structs.replace(one, revision=0) for _, one in sorted(last.items())]
    assert plain == sorted(calm.frames(), key=lambda one: (one.symbol, one.timeframe, one.ts_event))


def _engine(*bots: Bot) -> SignalEngine:
    return engine_of(*bots)


def test_what_the_stream_was_told_of_corrections_is_not_told_again() -> None:
    stream = _disturbed(3)
    engine = _engine(*BOTS)
    kept = pickle.dumps(engine.state())
    play(engine, stream)
    told = engine.frames()
    for cut in (1, len(told) // 3, len(told) // 2, len(told) - 1):
        again = _engine(*BOTS)
        again.restore(pickle.loads(kept))
        last = {(one.symbol, one.timeframe, one.revision > 0): one for one in told[:cut]}
        for one in last.values():
            again.on_own_frame(one)
        play(again, stream)
        assert again.frames() == told[cut:]
