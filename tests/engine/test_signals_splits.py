"""Splits and strategies: no indicator sees the jump, whenever the split was heard of."""

from __future__ import annotations

import pickle
import random

import pytest

from engine.messages import Bar, Signal, Split, body_json
from engine.signals import SignalEngine
from engine.splits import adjusted
from tests.engine.build import D, always_open, bar, bot, minute

AT = 40
"""The split takes effect at the close of this bar."""
COUNT = 80
SPLIT = Split("ca1", "AAPL", "AAPL", D(4), minute(AT))


def engine(symbol: str = "AAPL") -> SignalEngine:
    made = SignalEngine("ACC1", "run1", [bot(symbols=(symbol,), params={"fast": 3, "slow": 8, "allow_short": True})])
    made.on_sessions(always_open())
    return made


def market(old: str = "AAPL", new: str = "AAPL") -> list[Bar]:
    """Bars whose prices fall to a quarter after AT and mean the same."""
    draw = random.Random(7)
    price, bars = 200.0, list[Bar]()
    for number in range(1, COUNT + 1):
        price *= 1 + draw.gauss(0, 0.01)
        shown = price if number <= AT else price / 4
        bars.append(bar(shown, number, old if number <= AT else new))
    return bars


def play(made: SignalEngine, bars: list[Bar], heard_after: int) -> list[Signal]:
    """Give the bars one by one; the split becomes known after so many."""
    signals: list[Signal] = []
    for number, each in enumerate(bars, 1):
        signals += made.on_bar(each)
        if number == heard_after:
            made.on_split(SPLIT, bars[:number])
    return signals


def values(made: SignalEngine) -> dict[str, float]:
    [(*_, shown)] = made.snapshots()
    return shown


def test_the_jump_would_be_seen_without_it() -> None:
    made = engine()
    for each in market()[: AT + 3]:
        made.on_bar(each)
    heard = engine()
    play(heard, market()[: AT + 3], AT)
    assert values(made)["sma(8)"] > 2 * values(heard)["sma(8)"]


@pytest.mark.parametrize("heard_after", [AT - 20, AT, AT + 1, AT + 9, COUNT])
def test_in_the_end_it_is_the_same_whenever_it_was_heard_of(heard_after: int) -> None:
    always = engine()
    always.on_split(SPLIT, [])
    for each in market():
        always.on_bar(each)
    made = engine()
    play(made, market(), heard_after)
    assert values(made) == values(always)


def test_heard_of_in_time_the_signals_are_those_of_a_market_without_a_split() -> None:
    calm = engine()
    expected: list[Signal] = []
    for each in market():
        is_old = each.ts_event <= SPLIT.ts_event
        expected += calm.on_bar(adjusted(each, D(4), "AAPL") if is_old else each)
    made = engine()
    said = play(made, market(), AT)
    after = [body_json(s) for s in said if s.ts_event > SPLIT.ts_event]
    assert after == [body_json(s) for s in expected if s.ts_event > SPLIT.ts_event]
    assert len(after) == 3


def test_making_anew_says_nothing_and_forgets_nothing_that_was_said() -> None:
    made = engine()
    bars = market()
    for each in bars[:AT]:
        made.on_bar(each)
    before = made.counters.signals
    made.on_split(SPLIT, bars[:AT])
    assert made.counters.signals == before
    assert made.on_bar(bars[AT - 1]) == []  # a bar that is known stays refused
    assert SPLIT.id in made.splits.known


def test_a_late_bar_from_before_the_split_is_taken_in_new_shares() -> None:
    bars = market()
    made, other = engine(), engine()
    made.on_split(SPLIT, [])
    for each in bars[: AT - 2]:
        made.on_bar(each)
        other.on_bar(each)
    made.on_bar(bars[AT - 1])
    other.on_bar(bars[AT - 1])
    assert values(made)["sma(8)"] == pytest.approx(values(other)["sma(8)"] / 4)


@pytest.mark.parametrize("killed_at", [AT - 5, AT, AT + 5])
def test_over_a_restart(killed_at: int) -> None:
    bars = market()
    whole, made = engine(), engine()
    play(whole, bars, AT + 2)
    for number, each in enumerate(bars[:killed_at], 1):
        made.on_bar(each)
        if number == AT + 2:
            made.on_split(SPLIT, bars[:number])
    again = engine()
    again.restore(pickle.loads(pickle.dumps(made.state())))
    if SPLIT.id not in again.splits.known:
        again.on_split(SPLIT, bars[:killed_at])
    for each in bars[killed_at:]:
        again.on_bar(each)
    assert values(again) == values(whole)
    assert len(again.splits.known) == 1


def test_two_splits_and_a_change_of_name() -> None:
    first = Split("ca0", "OLD", "OLD", D(2), minute(20))
    named = Split("ca1", "OLD", "NEW", D(1), minute(AT))
    bars = [bar(100.0 if n <= 20 else 50.0, n, "OLD" if n <= AT else "NEW") for n in range(1, 60)]
    made = engine("NEW")
    for each in bars[:45]:
        made.on_bar(each)
    made.on_split(first, [])
    made.on_split(named, bars[:45])
    assert values(made) == {"sma(3)": 50.0, "sma(8)": 50.0}
    assert made.on_bar(bars[44]) == []
    for each in bars[45:]:
        made.on_bar(each)
    assert values(made) == {"sma(3)": 50.0, "sma(8)": 50.0}
