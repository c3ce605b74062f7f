"""Bars of seconds: what is in them, when they close, which of them a bot hears; and quotes as ticks."""

from __future__ import annotations

import random

import msgspec
import pytest

from engine.bots import Bot, BotStatus
from engine.definitions import validate
from engine.errors import ConfigError
from engine.messages import (
    Bar,
    BotDefined,
    Split,
    Ticks,
)
from engine.ports import Quote, Trade
from engine.seconds import KEPT_MAX
from engine.signals import SignalEngine
from engine.ticking import TickCore
from engine.values import NS_PER_S, SECONDS, Direction
from tests.engine import build
from tests.engine.build import D
from tests.engine.test_frames import bar_at
from tests.engine.test_ticks import OPEN, at
from tests.engine.test_timeframes import engine_of

PARAMS = {"fast": 1, "slow": 2, "allow_short": True}


def bot(timeframe: str = "5s", **more: object) -> Bot:
    fields = {"timeframe": timeframe, "params": PARAMS, "publish_indicators": True, "symbols": ("AAPL", "MSFT")}
    return build.bot(**(fields | more))


def ticks(*trades: tuple[int, float], symbol: str = "AAPL", quotes: tuple[tuple[int, float], ...] = ()) -> Ticks:
    """Trades of 10 shares, and quotes a cent around a price."""
    of_quotes = tuple((ts, px - 0.01, px + 0.01) for ts, px in quotes)
    last = max(ts for ts, _ in (*trades, *quotes))
    return Ticks(f"t{symbol}{trades}{quotes}", symbol, tuple((ts, px, 10.0) for ts, px in trades), last, of_quotes)


def made(engine: SignalEngine) -> list[tuple[str, float, float, float, float, float, int | None]]:
    """The bars that closed: second of their end since the opening, prices, volume, count."""
    return [
        (
            f"{bar.symbol} {(bar.ts_event - OPEN) / NS_PER_S:g}",
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.volume,
            bar.trade_count,
        )
        for bar in engine.frames()
    ]


def test_a_bar_has_the_trades_from_its_begin_until_before_its_end() -> None:
    engine = engine_of(bot())
    engine.on_ticks(ticks((at(0, 6), 10.0), (at(0, 8), 12.0), (at(0, 9.999), 9.0), (at(0, 10), 11.0)))
    assert made(engine) == [("AAPL 10", 10.0, 12.0, 9.0, 9.0, 30.0, 3)]
    engine.on_ticks(ticks((at(0, 27), 13.0)))  # seconds without a trade make no bar
    assert made(engine) == [("AAPL 15", 11.0, 11.0, 11.0, 11.0, 10.0, 1)]


def test_it_is_closed_by_its_minute_and_by_the_time_of_other_symbols() -> None:
    engine = engine_of(bot())
    engine.on_ticks(ticks((at(0, 57), 10.0)))
    engine.on_bar(bar_at(at(1), 10.0))
    assert made(engine) == [("AAPL 60", 10.0, 10.0, 10.0, 10.0, 10.0, 1)]
    engine.on_ticks(ticks((at(1, 1), 11.0)))
    engine.on_ticks(ticks((at(1, 5.9), 20.0), symbol="MSFT"))
    assert made(engine) == []  # not over for a second yet
    engine.on_ticks(ticks((at(1, 6), 20.0), symbol="MSFT"))
    assert made(engine) == [("AAPL 65", 11.0, 11.0, 11.0, 11.0, 10.0, 1)]
    engine.on_ticks(ticks((at(1, 4), 12.0)))  # too late for it
    engine.on_bar(msgspec.structs.replace(bar_at(at(2), 20.0), symbol="MSFT"))
    assert made(engine) == [("MSFT 70", 20.0, 20.0, 20.0, 20.0, 20.0, 2)]


def test_quotes_make_a_bar_only_where_nothing_was_traded() -> None:
    engine = engine_of(bot())
    engine.on_ticks(ticks((at(0, 7), 10.0), quotes=((at(0, 6), 12.0), (at(0, 8), 13.0), (at(0, 11), 14.0))))
    engine.on_ticks(ticks(quotes=((at(0, 13), 15.0), (at(0, 16), 16.0))))
    assert made(engine) == [
        ("AAPL 10", 10.0, 10.0, 10.0, 10.0, 10.0, 1),
        ("AAPL 15", 14.0, 15.0, 14.0, 15.0, 0.0, 0),
    ]


def test_a_bot_decides_by_them_and_names_the_bar() -> None:
    engine = engine_of(bot())
    assert engine.on_ticks(ticks((at(0, 6), 10.0), (at(0, 11), 11.0))) == []
    [up] = engine.on_ticks(ticks((at(0, 16), 9.0)))
    assert (up.direction, up.ts_event, up.price, up.bar) == (Direction.LONG, at(0, 15), 11.0, f"AAPL|5s|{at(0, 15)}|0")
    [down] = engine.on_bar(bar_at(at(1), 10.0))
    assert (down.direction, down.ts_event) == (Direction.SHORT, at(0, 20))
    assert [shown.ts_event for shown in engine.shown()] == [at(0, 15), at(0, 20)]  # two bars warm it up


def defined(of: Bot, revision: int, engine: SignalEngine, seq: int = 0, status: str = "running") -> BotDefined:
    moment = engine.newest_ns
    cause = f"{of.name}{revision}"
    return BotDefined(of.name, revision, of, BotStatus(status), moment, "me", cause, moment, market_seq=seq)


def test_a_bot_that_came_later_knows_the_bars_that_were_made_for_another() -> None:
    early, late = bot(name="early"), bot(name="late")
    engine = engine_of(early)
    engine.on_ticks(ticks((at(0, 6), 10.0), (at(0, 11), 11.0)))
    engine.define(defined(late, 1, engine))
    engine.on_ticks(ticks((at(0, 13), 12.0), (at(0, 17), 13.0), (at(0, 22), 14.0)))
    shown = [(v.bot, v.ts_event, v.values["sma(2)"]) for v in engine.shown()]
    assert shown == [(name, at(0, end), value) for end, value in ((15, 11.0), (20, 12.5)) for name in ("early", "late")]


def test_the_first_bot_of_its_timeframe_hears_only_bars_that_begin_after_it() -> None:
    engine = engine_of(bot("1m", name="minute", trading_frequency="every_tick"))
    engine.on_ticks(ticks((at(0, 6), 10.0), (at(0, 11), 11.0)))
    engine.define(defined(bot(name="late"), 1, engine))
    engine.on_ticks(ticks((at(0, 13), 12.0), (at(0, 17), 13.0), (at(0, 22), 14.0)))
    assert [bar.ts_event for bar in engine.frames()] == [at(0, 20)]


@pytest.mark.parametrize("cut", [150, 700, 1400])
def test_a_new_version_is_warmed_up_beside_the_old_and_takes_over_at_a_bar(cut: int) -> None:
    """It then says and sees what a bot does that had its parameters always; before it the old one missed nothing."""
    draw, price = random.Random(cut), 100.0
    prices = [price := price * (1 + draw.gauss(0, 0.001)) for _ in range(1_600)]
    story = [ticks((at(0, 5 + second), px)) for second, px in enumerate(prices, 1)]
    old = bot("1s", symbols=("AAPL",), params={"fast": 3, "slow": 10, "allow_short": True})
    new = msgspec.structs.replace(old, params={"fast": 20, "slow": 80, "allow_short": True})
    by_old, by_new = (_shown_by(engine_of(one), story) for one in (old, new))
    engine = engine_of(old)
    shown = _shown_by(engine, story[:cut])
    since = engine.newest_ns
    engine.define(defined(new, 2, engine))
    shown += _shown_by(engine, story[cut:])
    assert shown == [line for line in by_old if line[0] <= since] + [line for line in by_new if line[0] > since]


def _shown_by(engine: SignalEngine, story: list[Ticks]) -> list[tuple[int, dict[str, float]]]:
    for body in story:
        engine.on_ticks(body)
    return [(shown.ts_event, {name: round(v, 9) for name, v in shown.values.items()}) for shown in engine.shown()]


def test_of_the_bars_that_were_made_so_many_are_kept() -> None:
    engine = engine_of(bot("1s", name="early", symbols=("AAPL",)))
    for second in range(KEPT_MAX + 100):
        engine.on_ticks(ticks((at(0, 6 + second), 100.0 + second)))
    late = bot("1s", name="late", symbols=("AAPL",), params={"fast": 1, "slow": KEPT_MAX + 1})
    engine.shown()
    engine.define(defined(late, 1, engine))
    engine.on_ticks(ticks((at(0, 6 + KEPT_MAX + 100), 1.0)))
    [seen] = [shown.values for shown in engine.shown() if shown.bot == "late"]
    assert seen[f"sma({KEPT_MAX + 1})"] == pytest.approx(100.0 + 99 + KEPT_MAX / 2)


SPLIT = Split("ca1", "AAPL", "AAPL", D(4), at(0, 20))
BEFORE_SPLIT = [ticks((at(0, 6), 40.0), (at(0, 11), 40.4), (at(0, 16), 40.8)), ticks((at(0, 19), 41.2))]
AFTER_SPLIT = [ticks((at(0, 21), 10.4)), ticks((at(0, 26), 10.5), (at(0, 31), 10.6))]


@pytest.mark.parametrize("heard", range(5))
def test_whenever_a_split_is_heard_of_bars_are_in_the_shares_of_after_it(heard: int) -> None:
    """A later life knows it before the ticks that came before it."""
    engine = engine_of(bot(symbols=("AAPL",), params={"fast": 1, "slow": 5, "allow_short": True}))
    for number, body in enumerate([*BEFORE_SPLIT, *AFTER_SPLIT]):
        if number == heard:
            engine.on_split(SPLIT, ())
        engine.on_ticks(body)
    if heard == 4:
        engine.on_split(SPLIT, ())
    [(_, _, last, _, values)] = engine.snapshots()
    assert (last, values["sma(1)"]) == (at(0, 30), pytest.approx(10.5))
    assert values["sma(5)"] == pytest.approx((10.0 + 10.1 + 10.3 + 10.4 + 10.5) / 5)


def test_what_feed_publishes_of_quotes() -> None:
    core = TickCore()
    core.follow(["AAPL", "MSFT"], ["AAPL"])
    frame = [
        Quote("AAPL", 5, 9.0, 11.0), Quote("MSFT", 5, 9.0, 11.0), Quote("AAPL", 6, 9.5, 10.5), Trade("AAPL", 6, 10.0, 1.0),
        Quote("AAPL", 7, 9.5, 11.5), Quote("AAPL", 8, 0.0, 11.5), Quote("AAPL", 9, 12.0, 11.0), Quote("AAPL", 7, 9.0, 9.1),
    ]  # fmt: skip
    [found] = core.on_ticks(frame)
    assert (found.trades, found.quotes, found.ts_event) == (((6, 10.0, 1.0),), ((5, 9.0, 11.0), (7, 9.5, 11.5)), 7)
    assert core.on_ticks(frame) == []
    assert TickCore([found]).on_ticks(frame) == []


def test_a_bot_of_every_tick_is_asked_at_quotes_if_it_wants() -> None:
    wants, calm = (bot("1m", name=name, trading_frequency="every_tick") for name in ("wants", "calm"))
    engine = engine_of(msgspec.structs.replace(wants, quotes=True), calm)
    for minute in (1, 2):
        engine.on_bar(bar_at(at(minute), 10.0))
    [up] = engine.on_ticks(ticks(quotes=((at(2, 5), 12.0),)))
    assert (up.bot, up.direction, up.price, up.bar) == ("wants", Direction.LONG, 12.0, f"AAPL|1m|{at(3)}|0")
    said = engine.on_ticks(ticks((at(2, 6), 9.0), quotes=((at(2, 7), 12.0),)))
    assert [(one.bot, one.ts_event, one.direction) for one in said] == [
        ("wants", at(2, 6), Direction.SHORT),
        ("calm", at(2, 6), Direction.SHORT),
        ("wants", at(2, 7), Direction.LONG),
    ]


@pytest.mark.parametrize("timeframe", SECONDS)
def test_every_length_divides_a_minute(timeframe: str) -> None:
    validate(bot(timeframe))
    assert 60 % int(timeframe[:-1]) == 0


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"timeframe": "7s"}, "timeframe must be"),
        ({"timeframe": "60s"}, "timeframe must be"),
        ({"warm_up_bars": 50}, "warm_up_bars of timeframe 5s must be 0 or left out, was 50"),
        ({"timeframe": "1m", "quotes": True}, "quotes = true needs trading_frequency"),
    ],
)
def test_what_is_refused(fields: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        validate(bot(**fields))


def test_bars_are_those_of_a_plain_count() -> None:
    """An independent way: group all trades of a symbol by span."""
    draw = random.Random(5)
    trades = sorted((at(0, draw.uniform(5.001, 299)), round(draw.uniform(9, 11), 2)) for _ in range(400))
    engine = engine_of(bot(), bot("20s", name="long"))
    bars: list[Bar] = []
    for trade in trades:
        engine.on_ticks(ticks(trade))
        bars += engine.frames()
    engine.on_bar(bar_at(at(6), 10.0))
    bars += engine.frames()
    for timeframe, length in (("5s", 5), ("20s", 20)):
        spans: dict[int, list[float]] = {}
        for ts, px in trades:
            spans.setdefault((ts - OPEN) // (length * NS_PER_S), []).append(px)
        expected = [(OPEN + (n + 1) * length * NS_PER_S, p[0], max(p), min(p), p[-1], len(p)) for n, p in spans.items()]
        found = [(b.ts_event, b.open, b.high, b.low, b.close, b.trade_count) for b in bars if b.timeframe == timeframe]
        assert found == expected
