"""Indicators of the session against the same by hand: both kinds of markets, what is outside, any restart, strategies."""

from __future__ import annotations

import pickle
import random

import polars as pl
import pytest

from engine.bots import Bot
from engine.indicators import make
from engine.messages import Bar, Sessions
from engine.signals import SignalEngine
from engine.values import NS_PER_MINUTE, AssetClass, Direction
from engine.zones import midnight_before
from tests.engine import build
from tests.engine.build import T0

DAY = 1440 * NS_PER_MINUTE
OPENS = [T0 + 30 * NS_PER_MINUTE, T0 + 30 * NS_PER_MINUTE + DAY, T0 + 90 * NS_PER_MINUTE + 2 * DAY]
CALENDAR = Sessions(
    AssetClass.US_EQUITY,
    tuple((opened, opened + minutes * NS_PER_MINUTE) for opened, minutes in zip(OPENS, (120, 60, 120), strict=True)),
    0,
)
RANGE = 15


def _bars(symbol: str, seed: int = 1) -> list[Bar]:
    """Three days with pre-market, session and after hours, and holes."""
    draw, price, bars = random.Random(seed), 100.0, list[Bar]()
    begin = T0 if symbol == "AAPL" else midnight_before(T0) + DAY - 100 * NS_PER_MINUTE
    for day in range(3):
        for number in range(1, 260):
            price *= 1 + draw.gauss(0, 0.002)
            if draw.random() < 0.2:
                continue
            low, high = price * (1 - draw.random() / 100), price * (1 + draw.random() / 100)
            ts = begin + day * DAY + number * NS_PER_MINUTE
            bars.append(Bar(symbol, "1m", ts, price, high, low, price, float(draw.choice((0, 50, 900)))))
    return bars


def _expected(bars: list[Bar], sessions: list[tuple[int, int]]) -> tuple[list[float | None], list[float | None]]:
    """Session VWAP and the opening range's high at each bar, vectorised over sessions."""
    frame = pl.DataFrame(
        {"ts": [bar.ts_event for bar in bars], "high": [bar.high for bar in bars], "volume": [b.volume for b in bars]}
    ).with_columns(
        typical=pl.Series([(bar.high + bar.low + bar.close) / 3 for bar in bars]),
        session=pl.Series([next((o for o, c in sessions if o < bar.ts_event <= c), None) for bar in bars]),
    )
    inside = pl.col("session").is_not_null()
    early = inside & (pl.col("ts") <= pl.col("session") + RANGE * NS_PER_MINUTE)
    found = frame.with_columns(
        vwap=(pl.col("typical") * pl.col("volume")).cum_sum().over("session")
        / pl.col("volume").cum_sum().over("session"),
        high_so_far=pl.when(early).then(pl.col("high")).cum_max().over("session"),
    ).with_columns(
        vwap=pl.when(inside & pl.col("vwap").is_not_nan()).then(pl.col("vwap")).forward_fill(),
        high_so_far=pl.when(early).then(pl.col("high_so_far")).forward_fill(),
    )
    return found["vwap"].to_list(), found["high_so_far"].to_list()


def _bot(symbol: str, *, session: str = "any") -> Bot:
    rules = {
        "enter_long": {"all": ["close > session_vwap", f"close > 0.99 * opening_range({RANGE}).high"]},
        "exit_long": {"all": ["close < session_vwap"]},
    }
    return build.bot(strategy="rule", symbols=(symbol,), params=rules, session=session)


def _engine(symbol: str) -> SignalEngine:
    engine = SignalEngine("ACC1", "run1", [_bot(symbol)])
    engine.on_sessions(CALENDAR)
    return engine


def _days(bars: list[Bar]) -> list[tuple[int, int]]:
    opened = sorted({midnight_before(bar.ts_event - 1) for bar in bars})
    return [(one, midnight_before(one + 36 * 60 * NS_PER_MINUTE)) for one in opened]


@pytest.mark.parametrize("symbol", ["AAPL", "BTC/USD"])
def test_values_equal_those_by_hand_at_each_bar(symbol: str) -> None:
    bars = _bars(symbol)
    sessions = list(CALENDAR.spans) if symbol == "AAPL" else _days(bars)
    assert len(sessions) >= 3
    vwap, high = _expected(bars, sessions)
    engine = _engine(symbol)
    shown: list[dict[str, float]] = []
    for bar in bars:
        engine.on_bar(bar)
        [(*_, values)] = engine.snapshots()
        shown.append(values)
    first = next(number for number, value in enumerate(shown) if value)
    assert first == next(n for n, pair in enumerate(zip(vwap, high, strict=True)) if None not in pair)
    for number in range(first, len(bars)):
        assert shown[number]["session_vwap()"] == pytest.approx(vwap[number], rel=1e-12)
        assert shown[number][f"opening_range({RANGE}).high"] == high[number]


def test_a_restart_at_any_bar_changes_nothing() -> None:
    bars = _bars("AAPL")
    whole = _engine("AAPL")
    states = [pickle.dumps(whole.state())]
    said = []
    for bar in bars:
        said.append(whole.on_bar(bar))
        states.append(pickle.dumps(whole.state()))
    assert sum(map(len, said)) > 5
    for cut in range(0, len(bars), 7):
        again = SignalEngine("ACC1", "run1", ())
        again.restore(pickle.loads(states[cut]))
        again.on_sessions(CALENDAR)
        assert [again.on_bar(bar) for bar in bars[cut:]] == said[cut:]
        assert again.snapshots() == whole.snapshots()


def test_before_any_session_there_is_no_value_and_a_strategy_without_a_calendar_says_nothing() -> None:
    vwap = make("session_vwap", {})
    bars = _bars("AAPL")
    assert vwap.update(bars[0]) is None
    engine = SignalEngine("ACC1", "run1", [_bot("AAPL")])
    assert [signal for bar in bars for signal in engine.on_bar(bar)] == []


def test_parts_of_a_multi_strategy_are_told_too() -> None:
    rule = _bot("AAPL").params
    multi = build.bot(strategy="multi", params={"parts": [{"strategy": "rule", "params": rule}]}, session="any")
    engine = SignalEngine("ACC1", "run1", [multi])
    engine.on_sessions(CALENDAR)
    signals = [signal for bar in _bars("AAPL") for signal in engine.on_bar(bar)]
    alone = _engine("AAPL")
    assert [(s.direction, s.ts_event) for s in signals] == [
        (s.direction, s.ts_event) for bar in _bars("AAPL") for s in alone.on_bar(bar)
    ]
    assert {signal.direction for signal in signals} == {Direction.LONG, Direction.FLAT}
