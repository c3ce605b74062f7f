"""Rules in words and several strategies on one symbol, by tables written by hand."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.indicators import Indicator
from engine.strategies import make
from engine.strategies.conditions import Condition
from engine.values import Direction
from tests.engine.build import bar

LONG, FLAT, SHORT = Direction.LONG, Direction.FLAT, Direction.SHORT


def _holds(text: str, closes: list[float]) -> list[bool | None]:
    """Ask a condition at each close; None while its indicators warm up."""
    shared: dict[str, Indicator] = {}
    condition = Condition(text, shared)
    found: list[bool | None] = []
    for number, close in enumerate(closes, 1):
        one = bar(close, number)
        values = [indicator.update(one) for indicator in shared.values()]
        found.append(None if None in values else condition.holds(one))
    return found


@pytest.mark.parametrize(
    ("text", "closes", "expected"),
    [
        ("close < 10", [9, 10, 11], [True, False, False]),
        ("price <= 10", [9, 10, 11], [True, True, False]),
        ("close > 10", [9, 10, 11], [False, False, True]),
        ("10 <= close", [9, 10, 11], [False, True, True]),
        ("close>-1", [-2, 0], [False, True]),
        ("close > 2 * 5", [10, 11], [False, True]),
        ("close > 2 * sma(2)", [1, 3, 30], [None, False, False]),
        ("close > 1.5 * sma(2)", [1, 3, 30], [None, False, True]),
        ("close > sma(period=2)", [1, 3, 2], [None, True, False]),
        ("close crosses above 10", [9, 10, 11, 12, 9, 11], [False, False, True, False, False, True]),
        ("close  crosses  below 10", [11, 10, 9, 8, 11, 9], [False, False, True, False, False, True]),
        ("close crosses above sma(2)", [3, 2, 1, 2], [None, False, False, True]),
        ("bb(2, 1).ub >= bb(2,1).lb", [1, 3], [None, True]),
        ("close < bb(period=2, std_dev_mult=1).cb", [1, 3, 1], [None, False, True]),
    ],
)
def test_a_condition(text: str, closes: list[float], expected: list[bool | None]) -> None:
    assert _holds(text, closes) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it has no comparison; a condition is"),
        ("close", "it has no comparison"),
        ("close == 3", "it has no comparison"),
        ("1 < close < 3", "it has 2 comparisons"),
        ("close <", "'' cannot be read"),
        ("close < 3 +", r"'3 \+' cannot be read"),
        ("close + 1 < 3", r"'close \+ 1' cannot be read; a side is a number"),
        ("close * 2 < 3", r"'close \* 2' cannot be read"),
        ("close < 1e999", "'1e999' cannot be read"),
        ("close < True", "'True' cannot be read"),
        ("close < nan", "unknown indicator 'nan'"),
        ("3 < 4", "compares two numbers and never changes"),
        ("close < smaa(3)", "unknown indicator 'smaa': choose one of "),
        ("close < sma(0)", "period must be a whole number in 1..10000, was 0"),
        ("close < sma(2.5)", "period must be a whole number in 1..10000, was 2.5"),
        ("close < sma(close)", "cannot be read"),
        ("close < sma(2, 3)", r"takes 1 parameters \(period\), was given 2"),
        ("close < sma(2, period=3)", "indicator sma is given period twice"),
        ("close < sma(**{'period': 3})", "indicator sma is given something twice"),
        ("close < sma(length=3)", "unknown parameter 'length'"),
        ("close < macd.signl", "indicator macd has no output 'signl': it has macd, signal, histogram"),
        ("close < sma(3).signal", "indicator sma has no output 'signal': it has one value"),
        ("close < __import__('os').system('x')", "cannot be read"),
        ("close < (" + "(" * 5_000, "cannot be read"),
        ("close < " + "-" * 100_000 + "1", "cannot be read"),
    ],
)
def test_a_condition_that_cannot_be_read_is_one_line_that_quotes_it(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        Condition(text, {})
    assert str(caught.value).startswith("condition ")
    assert "\n" not in str(caught.value)


def _directions(params: dict[str, Any], closes: list[float], name: str = "rule") -> list[Direction | None]:
    strategy = make(name, params)
    targets = [strategy.on_bar(bar(close, number)) for number, close in enumerate(closes, 1)]
    return [target and target.direction for target in targets]


def test_entries_and_exits() -> None:
    params = {"enter_long": {"all": ["close > 10"]}, "exit_long": {"any": ["close > 20", "close < 5"]}}
    assert _directions(params, [1, 11, 7, 21, 15, 4, 11]) == [FLAT, LONG, LONG, FLAT, LONG, FLAT, LONG]


def test_an_exit_goes_before_an_entry() -> None:
    params = {"enter_long": {"all": ["close > 10"]}, "exit_long": {"any": ["close > 20"]}}
    assert _directions(params, [21, 22, 11]) == [FLAT, FLAT, LONG]


def test_without_an_exit_a_position_ends_with_its_entry() -> None:
    params = {"enter_long": {"all": ["close > 10"]}, "enter_short": {"all": ["close < 5"]}}
    assert _directions(params, [7, 11, 12, 7, 4, 11]) == [FLAT, LONG, LONG, FLAT, SHORT, LONG]


def test_both_entries_at_once_are_none() -> None:
    params = {"enter_long": {"all": ["close > 10"]}, "enter_short": {"all": ["close > 20"]}}
    assert _directions(params, [21, 11, 21]) == [FLAT, LONG, LONG]


def test_all_any_and_vote_must_hold_together() -> None:
    vote = [{"when": "close > 1", "weight": 2}, {"when": "close > 2"}, {"when": "close > 3"}]
    assert _directions({"enter_long": {"vote": vote}}, [1, 2, 3]) == [FLAT, LONG, LONG]
    assert _directions({"enter_long": {"vote": vote, "at_least": 0.75}}, [2, 3]) == [FLAT, LONG]
    assert _directions({"enter_long": {"vote": vote, "at_least": 1.0}}, [3, 4]) == [FLAT, LONG]
    rules = {"all": ["close < 9"], "any": ["close > 6", "close < 3"], "vote": vote}
    assert _directions({"enter_long": rules}, [9, 8, 5, 2, 1]) == [FLAT, LONG, FLAT, LONG, FLAT]


def test_the_reason_is_what_held() -> None:
    strategy = make("rule", {"enter_long": {"all": ["close  > 10"], "any": ["close > 11", "close > 99"]}})
    target = strategy.on_bar(bar(12, 1))
    assert target is not None
    assert target.reason == "close > 10, close > 11"


def test_an_indicator_that_several_conditions_name_is_one() -> None:
    strategy = make("rule", {"enter_long": {"all": ["close > sma(2)", "sma(period=2) > 3"], "any": ["low < sma( 2 )"]}})
    for number in (1, 2):
        strategy.on_bar(bar(number, number))
    assert strategy.snapshot() == {"sma(2)": 1.5}


FLIP = {"strategy": "rule", "params": {"enter_long": {"all": ["close > 10"]}, "enter_short": {"all": ["close < 5"]}}}
HIGH = {"strategy": "rule", "params": {"enter_long": {"all": ["close > 20"]}}}


def test_weights() -> None:
    params = {"parts": [FLIP | {"weight": 3}, HIGH], "at_least": 0.75}
    strategy = make("multi", params)
    found = [strategy.on_bar(bar(close, number)) for number, close in enumerate((7, 11, 21, 4), 1)]
    assert [(target.direction, target.strength) for target in found if target] == [
        (FLAT, 0.0), (LONG, 0.75), (LONG, 1.0), (SHORT, 0.75)
    ]  # fmt: skip
    assert [target.reason for target in found if target][:2] == [
        "the parts come to +0, 0.75 is needed", "+0.75 of rule: close > 10"
    ]  # fmt: skip


def test_priority() -> None:
    params = {"parts": [HIGH, FLIP], "by": "priority"}
    assert _directions(params, [7, 4, 11, 21], "multi") == [FLAT, SHORT, LONG, LONG]


def test_a_part_without_an_opinion_counts_as_flat() -> None:
    slow = {"strategy": "sma_crossover", "params": {"fast": 2, "slow": 3}}
    assert _directions({"parts": [slow]}, [1, 2], "multi") == [None, None]
    assert _directions({"parts": [FLIP, slow], "at_least": 0.5}, [11, 12, 13], "multi") == [LONG, LONG, LONG]


CROSSES = {
    "enter_long": {"any": ["close crosses above sma(3)", "rsi(2) < 30"]}, "exit_long": {"all": ["close < sma(3)"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("rule", CROSSES),
        ("multi", {"parts": [FLIP, {"strategy": "macd_trend", "params": {"fast": 2, "slow": 4, "signal": 2}}]}),
        ("stochrsi_ema", {"period": 3, "smoothing": 2, "ema": 4, "oversold": 49.0, "overbought": 51.0}),
        ("crypto_scalping", {"fast": 2, "slow": 4, "rsi_period": 3, "overbought": 90.0}),
    ],
)
def test_restored_at_any_bar_it_goes_on_as_if_nothing_had_been(name: str, params: dict[str, Any]) -> None:
    closes = [10 + (number * 7919 % 13) - 6 * (number % 5 == 0) for number in range(100)]
    whole, restored = make(name, params), make(name, params)
    seen: set[Direction | None] = set()
    for number, close in enumerate(closes, 1):
        restored = pickle.loads(pickle.dumps(restored))
        one, other = (strategy.on_bar(bar(close, number)) for strategy in (whole, restored))
        assert one == other
        assert whole.snapshot() == restored.snapshot()
        seen.add(one and one.direction)
    assert {LONG, FLAT} <= seen
