"""Strategies by tables written by hand: a close per line, what the indicators then are, and the target."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from engine.errors import ConfigError
from engine.strategies import Target, check, make, names
from engine.strategies.turning import Crossing, compare
from engine.values import Direction
from tests.engine.build import bar

DOCS = Path(__file__).parents[2] / "docs" / "strategies.md"

# fast 2, slow 3: close | sma(2) sma(3) | target ("-": no opinion yet)
CROSSOVER = """
10 | -     -     | -
11 | 10.5  -     | -
12 | 11.5  11    | long
11 | 11.5  11.33 | long
 9 | 10    10.67 | out
 9 |  9     9.67 | out
 9 |  9     9    | out
10 |  9.5   9.33 | long
 9 |  9.5   9.33 | long
 8 |  8.5   9    | out
"""

# Equal averages from the start are no opinion; later they change nothing.
EQUAL = """
10 | -     -     | -
10 | 10    -     | -
10 | 10    10    | -
10 | 10    10    | -
13 | 11.5  11    | long
11 | 12    11.33 | long
12 | 11.5  12    | out
"""

# rsi(2), oversold 30, overbought 70: close | rsi | target
RSI = """
10 | -     | -
11 | -     | -
10 | 50    | -
 9 | 25    | long
10 | 62.5  | long
11 | 81.25 | out
10 | 40.63 | out
 9 | 20.31 | long
"""


def _play(table: str, name: str, params: dict[str, object], out: Direction) -> list[Target | None]:
    strategy = make(name, params)
    targets: list[Target | None] = []
    for number, line in enumerate(table.strip().splitlines(), 1):
        close, values, expected = (part.strip() for part in line.split("|"))
        target = strategy.on_bar(bar(float(close), number))
        targets.append(target)
        wanted = [float(value) for value in values.split() if value != "-"]
        if "-" not in values:
            assert list(strategy.snapshot().values()) == pytest.approx(wanted, abs=0.0051), line
        else:
            assert strategy.snapshot() == {}, line
        if expected == "-":
            assert target is None, line
            continue
        assert target is not None, line
        direction = Direction.LONG if expected == "long" else out
        assert target.direction is direction, line
        assert target.strength == (0.0 if direction is Direction.FLAT else 1.0), line
    return targets


@pytest.mark.parametrize("table", [CROSSOVER, EQUAL], ids=["crossing", "equal"])
@pytest.mark.parametrize(("allow_short", "out"), [(False, Direction.FLAT), (True, Direction.SHORT)])
def test_sma_crossover(table: str, allow_short: bool, out: Direction) -> None:
    targets = _play(table, "sma_crossover", {"fast": 2, "slow": 3, "allow_short": allow_short}, out)
    assert {target.reason for target in targets if target} == {"sma(2) > sma(3)", "sma(2) < sma(3)"}


@pytest.mark.parametrize(("allow_short", "out"), [(False, Direction.FLAT), (True, Direction.SHORT)])
def test_rsi(allow_short: bool, out: Direction) -> None:
    targets = _play(RSI, "rsi", {"period": 2, "allow_short": allow_short}, out)
    assert {target.reason for target in targets if target} == {"rsi(2) <= 30", "rsi(2) >= 70"}


def test_rsi_levels_are_inclusive() -> None:
    at_the_levels = make("rsi", {"period": 2, "oversold": 25.0, "overbought": 62.5})
    targets = [at_the_levels.on_bar(bar(close, number)) for number, close in enumerate((10, 11, 10, 9, 10), 1)]
    assert [target and target.direction for target in targets] == [None, None, None, Direction.LONG, Direction.FLAT]
    beyond = make("rsi", {"period": 2, "oversold": 24.9, "overbought": 62.6})
    assert [beyond.on_bar(bar(close, number)) for number, close in enumerate((10, 11, 10, 9, 10), 1)] == [None] * 5


def test_an_unchanged_target_is_the_same_object() -> None:
    """The engine compares targets once per bar: one that goes on is not made anew."""
    strategy = make("sma_crossover", {"fast": 1, "slow": 2})
    strategy.on_bar(bar(1.0, 1))
    first = strategy.on_bar(bar(2.0, 2))
    assert strategy.on_bar(bar(3.0, 3)) is first


def test_defaults_are_those_of_the_books() -> None:
    assert str(check("sma_crossover", {})) == "SmaCrossoverParams(fast=3, slow=5, allow_short=False)"
    assert str(check("rsi", {})) == "RsiParams(period=14, oversold=30.0, overbought=70.0, allow_short=False)"
    assert str(check("momentum", {})) == "MomentumParams(fast=50, slow=200, allow_short=False)"
    assert str(check("breakout", {})) == "BreakoutParams(period=20, allow_short=False)"
    assert str(check("macd_trend", {})) == "MacdTrendParams(fast=12, slow=26, signal=9, allow_short=False)"


@pytest.mark.parametrize(
    ("name", "params", "what"),
    [
        ("martingale", {}, "unknown strategy 'martingale': choose one of bollinger_reversion, breakout, "),
        ("sma_crossover", {"fast": 5, "slow": 5}, "fast < slow <= 10000 bars, were 5 and 5"),
        ("sma_crossover", {"fast": 0}, "were 0 and 5"),
        ("sma_crossover", {"slow": 20_000}, "were 3 and 20000"),
        ("sma_crossover", {"speed": 3}, "unknown parameter 'speed': known here are fast, slow, allow_short"),
        ("sma_crossover", {"fast": 2.5}, "fast"),
        ("sma_crossover", {"allow_short": "yes"}, "allow_short"),
        ("momentum", {"fast": 200}, "were 200 and 200"),
        ("breakout", {"period": 0}, "period must be 1..10000 bars, was 0"),
        ("macd_trend", {"fast": 26}, "were 26 and 26"),
        ("macd_trend", {"signal": 0}, "signal must be 1..10000 bars, was 0"),
        ("bollinger_reversion", {"period": 1}, "period must be 2..10000 bars, was 1"),
        ("bollinger_reversion", {"std_dev": 0.0}, "std_dev must be above 0 and at most 100, was 0"),
        ("bollinger_reversion", {"std_dev": float("nan")}, "was nan"),
        ("obv_trend", {"period": 1}, "period must be 2..10000 bars, was 1"),
        ("stochastic", {"smoothing": 1}, r"smoothing must be 2..10000 bars, was 1"),
        ("stochastic", {"oversold": 80.0}, "were 80 and 80"),
        ("crypto_scalping", {"fast": 21}, "were 21 and 21"),
        ("crypto_scalping", {"rsi_period": 1}, "rsi_period must be 2..10000 bars, was 1"),
        ("stochrsi_ema", {"ema": 1}, "ema must be 2..10000 bars, was 1"),
        ("stochrsi_ema", {"overbought": 20.0}, "were 20 and 20"),
        ("multi", {}, "parts"),
        ("multi", {"parts": []}, "parts: must be a list of at least 1, was \\[\\]"),
        ("multi", {"parts": [{"strategy": "rsi", "weight": 0}]}, r"> 0"),
        ("multi", {"parts": [{"strategy": "multi"}]}, "may not be multi itself"),
        (
            "multi",
            {"parts": [{"strategy": "rsi", "params": {"period": 1}}]},
            "rsi: period must be 2..10000 bars, was 1",
        ),
        ("multi", {"parts": [{"strategy": "martingale"}]}, "strategy multi, part 1: unknown strategy 'martingale'"),
        ("rule", {}, "needs enter_long or enter_short"),
        ("rule", {"enter_long": {}}, "a condition in all, any or vote"),
        ("rule", {"enter_short": {"all": ["close > 1"]}, "exit_long": {"all": ["close > 1"]}}, "exit_long without"),
        ("rule", {"enter_long": {"any": ["close > sma(0)"]}}, r"enter_long: .*'close > sma\(0\)': .*must be .*was 0"),
        ("rule", {"enter_long": {"vote": [{"when": "close > 1"}], "at_least": 0}}, "at_least"),
        ("rsi", {"period": 1}, "period must be 2..10000 bars, was 1"),
        ("rsi", {"oversold": 70, "overbought": 30}, "were 70 and 30"),
        ("rsi", {"oversold": 0}, "were 0 and 70"),
        ("rsi", {"overbought": 100}, "were 30 and 100"),
        ("rsi", {"oversold": float("nan")}, "were nan and 70"),
    ],
)
def test_wrong_parameters_are_one_clear_line(name: str, params: dict[str, object], what: str) -> None:
    for build in (check, make):
        with pytest.raises(ConfigError, match=what) as caught:
            build(name, params)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_each_has_a_row_in_the_docs_with_its_parameters() -> None:
    rows = [line.split("|") for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    found = {row[1].strip(" `"): row[2].strip() for row in rows}
    assert sorted([*found, "multi", "rule"]) == names()
    for name, params in found.items():
        fields = msgspec.structs.fields(type(check(name, {})))
        shown = [f"{field.name} {field.default:g}" for field in fields if field.name != "allow_short"]
        assert params == ", ".join(shown), name


def test_every_example_of_the_docs_is_a_strategy() -> None:
    text = DOCS.read_text(encoding="utf-8")
    examples = [tomllib.loads(block.partition("```")[0]) for block in text.split("```toml\n")[1:]]
    assert [example["strategy"] for example in examples] == ["rule", "multi"]
    for example in examples:
        make(example["strategy"], example["params"])


def test_what_differs_by_the_noise_of_floats_is_equal() -> None:
    assert (compare(1e-12, -1e-12), compare(1e-12, -1e-12, scale=1.0), compare(1e-12, -1e-12, scale=1e-4)) == (1, 0, 1)
    assert compare(0.1 + 0.2, 0.3) == 0
    assert (compare(1.0, 1.0 + 1e-8), compare(1.0 + 1e-8, 1.0)) == (-1, 1)
    assert (compare(0.0, 0.0), compare(-1e-300, 1e-300)) == (0, -1)
    crossing = Crossing()
    assert [crossing.move(*pair) for pair in ((1, 1), (2, 1), (1, 1), (2, 1), (0, 1), (1, 1), (2, 1))] == [
        0, 0, 0, 0, -1, 0, 1
    ]  # fmt: skip
