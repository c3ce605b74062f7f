"""Every indicator of the catalogue: warm-up, memory, restarts, markets that stand still, refusals, and its page of docs."""

from __future__ import annotations

import math
import pickle
import random
import re
from pathlib import Path

import msgspec
import pytest
import talipp.indicators
from talipp.indicators.Indicator import Indicator as Bare

from engine.errors import ConfigError
from engine.indicators import check, kind_of, make, names
from engine.indicators.catalog import KINDS
from engine.indicators.session import SESSION_KINDS
from engine.messages import Bar
from tests.engine.build import minute

DOCS = Path(__file__).parents[2] / "docs" / "indicators.md"
GIVEN = {"sma": {"period": 20}, "ema": {"period": 20}, "rsi": {"period": 14}}
SHORT = {
    "kst": {"roc4_period": 9, "roc1_ma_period": 30, "signal_period": 4},
    "ichimoku": {"kijun_period": 7, "tenkan_period": 3, "senkou_slow_period": 12, "senkou_lookup_period": 5},
    "stc": {"fast_macd_period": 4, "slow_macd_period": 9, "stoch_period": 5, "stoch_smoothing_period": 2},
    "hma": {"period": 27},
    "zlema": {"period": 9},
    "sfx": {"atr_period": 3, "std_dev_period": 7, "std_dev_smoothing_period": 5},
    "keltner": {"ma_period": 5, "atr_period": 9},
    "mass_index": {"ma_period": 4, "ma_ma_period": 7, "ma_ratio_period": 11},
    "stoch_rsi": {"rsi_period": 5, "stoch_period": 9, "k_smoothing_period": 2, "d_smoothing_period": 4},
    "macd": {"fast_period": 3, "slow_period": 8, "signal_period": 4},
    "tsi": {"fast_period": 5, "slow_period": 9},
    "t3": {"period": 9},
}
"""Other parameters than the default, where the warm-up is made of several."""


def bars(count: int, seed: int = 1) -> list[Bar]:
    draw = random.Random(seed)
    price, found = 100.0, []
    for number in range(1, count + 1):
        opened, price = price, price * (1 + draw.gauss(0, 0.004))
        high = max(opened, price) * (1 + abs(draw.gauss(0, 0.002)))
        low = min(opened, price) * (1 - abs(draw.gauss(0, 0.002)))
        volume = float(draw.randint(100, 10_000))
        found.append(Bar("AAPL", "1m", minute(number), opened, high, low, price, volume, 9, (high + low) / 2, 0))
    return found


BARS = bars(1_500)


def still(number: int, volume: float) -> Bar:
    return Bar("AAPL", "1m", minute(number), 100.0, 100.0, 100.0, 100.0, volume, 1, 100.0, 0)


def made(name: str, params: dict[str, object] | None = None):
    indicator = make(name, GIVEN.get(name, {}) if params is None else params)
    indicator.on_session(minute(0), minute(1_000_000))  # of which most know nothing
    return indicator


def test_everything_that_talipp_has_is_there_but_what_cannot_forget() -> None:
    found = vars(talipp.indicators).values()
    theirs = {one for one in found if isinstance(one, type) and issubclass(one, Bare)}
    missing = {one.__name__ for one in theirs - {kind.build for kind in KINDS}}
    assert missing == {"PivotsHL", "ZigZag"}
    assert len(KINDS) == 58
    assert names() == sorted(kind.name for kind in (*KINDS, *SESSION_KINDS))


@pytest.mark.parametrize(("name", "params"), [*((name, GIVEN.get(name, {})) for name in names()), *SHORT.items()])
def test_the_first_value_comes_with_the_last_bar_of_the_warmup(name: str, params: dict[str, object]) -> None:
    indicator = made(name, params)
    found = [indicator.update(bar) is not None for bar in BARS[: indicator.warmup + 5]]
    assert found == [False] * (indicator.warmup - 1) + [True] * 6


@pytest.mark.parametrize(("name", "params"), [*((name, GIVEN.get(name, {})) for name in names()), *SHORT.items()])
def test_memory_is_bounded_and_purging_changes_no_bit(name: str, params: dict[str, object]) -> None:
    indicator, kind = made(name, params), kind_of(name)
    bare = kind.build(*check(name, params).values())
    if kind in SESSION_KINDS:
        bare.on_session(minute(0), minute(1_000_000))
    for bar in BARS:
        bare.add(kind.source(bar))
        indicator.update(bar)
        assert pickle.dumps(indicator._last) == pickle.dumps(bare[-1])
    assert indicator.size <= 4 * indicator.warmup + 16
    if indicator.warmup < 40 and kind in KINDS:
        assert len(pickle.dumps(indicator)) < len(pickle.dumps(bare)) / 2


@pytest.mark.parametrize("name", names())
def test_a_restored_one_goes_on_as_if_nothing_had_happened(name: str) -> None:
    whole = made(name)
    for bar in BARS[:700]:
        whole.update(bar)
    restored = pickle.loads(pickle.dumps(whole))
    for bar in BARS[700:1_000]:
        assert restored.update(bar) == whole.update(bar)
        assert restored.values() == whole.values()


@pytest.mark.parametrize("volume", [0.0, 5.0])
@pytest.mark.parametrize("name", names())
def test_a_market_that_stands_still_is_no_error(name: str, volume: float) -> None:
    """Many formulas divide by the range or by the volume."""
    indicator = made(name)
    for number in range(1, 300):
        indicator.update(still(number, volume))
    for bar in BARS[300:800]:
        value = indicator.update(bar)
        assert value is None or math.isfinite(value)
    assert all(map(math.isfinite, indicator.values().values()))
    assert len(indicator.values()) == max(1, len(kind_of(name).outputs))


@pytest.mark.parametrize("name", ["cci", "vwma", "vtx", "williams_r", "uo", "stoch"])
def test_what_looks_at_a_window_only_is_right_again_when_the_standstill_left_it(name: str) -> None:
    disturbed, calm = made(name), made(name)
    for number in range(1, 50):
        disturbed.update(still(number, 0.0))
    for bar in BARS[49:200]:
        disturbed.update(bar)
        calm.update(bar)
    assert disturbed.values() == pytest.approx(calm.values(), rel=1e-12)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_none_is_refused_and_moves_nothing(name: str, bad: float) -> None:
    disturbed, calm = made(name), made(name)
    for bar in BARS[:120]:
        broken = msgspec.structs.replace(bar, close=bad, volume=bad)
        with pytest.raises(ValueError, match=rf": (close|volume) of AAPL must be finite, was {bad!r}"):
            disturbed.update(broken)
        assert disturbed.update(bar) == calm.update(bar)


def test_several_values_are_named() -> None:
    macd = make("macd", {"fast_period": 3, "slow_period": 6, "signal_period": 2})
    for bar in BARS[:6]:
        assert macd.update(bar) is None
    assert (macd.values(), macd["signal"]) == ({}, None)
    value = macd.update(BARS[6])
    assert macd.values() == {
        "macd(3,6,2).macd": value, "macd(3,6,2).signal": macd["signal"], "macd(3,6,2).histogram": macd["histogram"]
    }  # fmt: skip
    trend = made("supertrend")
    for bar in BARS[:200]:
        trend.update(bar)
    assert trend["trend"] in (1.0, -1.0)
    assert trend.label == "supertrend(10,3)"


BAD = [
    ("smaa", {}, "unknown indicator 'smaa': choose one of sma, "),
    ("sma", {}, "indicator sma: period is missing; it must be a whole number in 1..10000"),
    ("sma", {"period": 0}, "indicator sma: period must be a whole number in 1..10000, was 0"),
    ("sma", {"period": 2.5}, "indicator sma: period must be a whole number in 1..10000, was 2.5"),
    ("sma", {"period": True}, "indicator sma: period must be a whole number in 1..10000, was True"),
    ("sma", {"period": "5"}, "indicator sma: period must be a whole number in 1..10000, was '5'"),
    ("sma", {"period": math.nan}, "indicator sma: period must be a whole number in 1..10000, was nan"),
    ("sma", {"period": 5, "span": 3}, "indicator sma: unknown parameter 'span': it has period"),
    ("obv", {"period": 5}, "indicator obv: unknown parameter 'period': it has none"),
    ("bb", {"std_dev_mult": -1}, "indicator bb: std_dev_mult must be a number in 0..1000, was -1"),
    ("macd", {"fast_period": 26}, "indicator macd: fast_period must be below slow_period, were 26 and 26"),
    ("uo", {"mid_period": 28}, "indicator uo: mid_period must be below slow_period, were 28 and 28"),
]


@pytest.mark.parametrize(("name", "params", "said"), BAD)
def test_bad_parameters_are_refused_with_name_value_and_range(name: str, params: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        make(name, params)


def test_the_docs_have_a_row_for_each() -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    expected = []
    for kind in sorted((*KINDS, *SESSION_KINDS), key=lambda kind: kind.name):
        params = ", ".join(
            param.name if param.default is None else f"{param.name} {param.default:g}" for param in kind.params
        )
        outputs = ", ".join(kind.outputs)
        expected.append(
            f"| `{kind.name}` | {params} | {outputs} | {kind.unit} | {make_warmup(kind.name)} | {kind.about} |"
        )
    assert rows == expected


def make_warmup(name: str) -> str:
    return str(made(name).warmup) + (" (20)" if name in ("sma", "ema") else " (14)" if name == "rsi" else "")
