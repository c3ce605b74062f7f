"""`tapeline strategies new` and `check`: what it writes passes, and planted faults are found, each by its own check."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import polars as pl
import pytest

from config.bots import load
from engine.errors import ConfigError
from engine.messages import Bar
from engine.ports import Trade
from engine.strategies import OwnFill, Target
from engine.values import NS_PER_MINUTE, Direction
from tapeline import strategies, strategy_check
from tapeline.strategy_check import bot_of, findings, made_bars, run_check
from tapeline.strategy_foresight import knows_the_next_bar, warms_up_too_short
from tapeline.strategy_play import Said
from tests.engine.owner import Owner

BARS = made_bars(2_000)


def test_what_new_writes_passes_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert strategies.run_new("my_first", tmp_path) == 0
    assert load(tmp_path / "my_first.toml").strategy == "my_first.py:MyFirst"
    assert run_check("my_first.py:MyFirst", ["period=30"], None) == 0
    assert "FAULT" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"my_first\.py exists"):
        strategies.run_new("my_first", tmp_path)
    with pytest.raises(ConfigError, match="NAME must be 1 to 32"):
        strategies.run_new("../x", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("breakout", marks=pytest.mark.soak),
        "macd_trend",
        pytest.param("stochrsi_ema", marks=pytest.mark.soak),
    ],
)
def test_shipped_strategies_pass(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(name, [], None) == 0, capsys.readouterr().out


class _Base:
    def __init__(self) -> None:
        self.bars = 0

    def on_bar(self, bar: Bar) -> Target | None:
        self.bars += 1
        return Target(Direction.LONG if self.bars % 7 < 3 else Direction.FLAT, 1.0, f"{self.bars}")

    def snapshot(self) -> dict[str, float]:
        return {"bars": float(self.bars)}


class _Raises(_Base):
    def on_bar(self, bar: Bar) -> Target | None:
        return super().on_bar(bar) if bar.volume else Target(Direction.LONG, 1 / bar.volume, "")


class _Silent(_Base):
    def on_bar(self, bar: Bar) -> Target | None:
        return None


class _NotANumber(_Base):
    def snapshot(self) -> dict[str, float]:
        return {"bars": float("nan") if self.bars > 900 else 1.0}


class _Random(_Base):
    def on_bar(self, bar: Bar) -> Target | None:
        return Target(Direction.LONG, random.random(), "dice")


class _Remembers(_Base):
    """Knows the next close, once it has seen it: of a market that it was shown before."""

    closes: dict[int, float] = {}  # noqa: RUF012  (the fault)

    def on_bar(self, bar: Bar) -> Target | None:
        self.closes[bar.ts_event] = bar.close
        after = self.closes.get(bar.ts_event + 60_000_000_000, 0.0)
        return Target(Direction.LONG if after > bar.close else Direction.FLAT, 1.0, "")


class _Forgets(_Base):
    def __getstate__(self) -> dict[str, int]:
        return {"bars": 0}


class _CannotBeKept(_Base):
    def __init__(self) -> None:
        super().__init__()
        self.rule = lambda close: close > 1


class _Grows(_Base):
    def __init__(self) -> None:
        super().__init__()
        self.closes: list[float] = []

    def on_bar(self, bar: Bar) -> Target | None:
        self.closes.append(bar.close)
        return super().on_bar(bar)


class _RaisesAtAFill(_Base):
    def on_fill(self, fill: OwnFill) -> None:
        raise ValueError(fill.position)


class _GrowsByFills(_Base):
    def __init__(self) -> None:
        super().__init__()
        self.entries: list[float] = []

    def on_fill(self, fill: OwnFill) -> None:
        self.entries.append(fill.average_price)


class _RaisesAtATrade(_Base):
    def on_tick(self, trade: Trade) -> Target | None:
        raise ValueError(trade.px)


class _SenselessAtATrade(_Base):
    def on_tick(self, trade: Trade) -> Target | None:
        return Target(Direction.LONG, trade.px, "too strong")


@pytest.mark.parametrize(
    ("kind", "faulty"),
    [
        (_Base, []),
        (_RaisesAtATrade, ["raises at no bar"]),
        (_SenselessAtATrade, ["values are numbers"]),
        (_Raises, ["raises at no bar"]),
        (_Silent, ["says something"]),
        (_NotANumber, ["values are numbers"]),
        (_Forgets, ["goes on after a restart"]),
        (_CannotBeKept, ["goes on after a restart"]),
        (_Grows, ["state does not grow"]),
        (_RaisesAtAFill, ["raises at no bar"]),
        (_GrowsByFills, ["state does not grow"]),
        (Owner, []),
    ],
)
def test_a_planted_fault_is_found(kind: type[_Base], faulty: list[str]) -> None:
    assert [found.name for found in findings(kind, BARS) if found.fault] == faulty


class _SlowerAndSlower(_Grows):
    def on_bar(self, bar: Bar) -> Target | None:
        sum(self.closes)
        return super().on_bar(bar)


def test_one_that_takes_longer_and_longer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy_check, "_SECONDS_MAX", 0.0)
    [fault] = [found.fault for found in findings(_SlowerAndSlower, BARS[:10]) if found.fault]
    assert fault.startswith("a bar takes longer and longer (")


@pytest.mark.parametrize(
    ("method", "gives", "said"),
    [
        ("on_bar", 3, "TypeError: on_bar must give a Target or None, gave int"),
        ("on_tick", "up", "TypeError: on_tick must give a Target or None, gave str"),
        ("snapshot", {"a": "abc"}, "ValueError: snapshot must give numbers by name, 'a' is str"),
    ],
)
def test_a_fault_names_the_method(method: str, gives: object, said: str) -> None:
    kind = type("Odd", (_Base,), {method: lambda *_: gives})
    [found] = findings(kind, BARS)
    assert found.fault.startswith(said)


@pytest.mark.parametrize("kind", [_Random, _Remembers])
def test_what_is_not_the_same_again_is_found(kind: type[_Base]) -> None:
    assert "same bars, same targets" in {found.name for found in findings(kind, BARS) if found.fault}


def test_a_strategy_that_knew_the_market_before_looks_ahead() -> None:
    for bar in BARS:
        _Remembers.closes[bar.ts_event] = bar.close
    assert "does not look ahead" in {found.name for found in findings(_Remembers, BARS) if found.fault}


def test_a_parameter_that_is_none() -> None:
    with pytest.raises(ConfigError, match="unknown parameter 'x': known here are period"):
        bot_of("rsi", ["x=1"])
    with pytest.raises(ConfigError, match="unknown strategy 'best'"):
        bot_of("best")


_PEEK = """
import polars as pl

from tapeline.api import Bar, Direction, Target

FILE = pl.read_csv("BARS")
NEXT = dict(zip(FILE["timestamp"].str.to_datetime(time_zone="UTC").dt.epoch("ns"), FILE["close"]))


class Peek:
    def __init__(self) -> None:
        self.close = 0.0

    def on_bar(self, bar: Bar) -> Target | None:
        self.close = bar.close
        following = NEXT.get(bar.ts_event, 0.0)  # the bar that opens when this one closes
        return Target(Direction.LONG if following > bar.close else Direction.FLAT, 1.0, "tomorrow's news")

    def snapshot(self) -> dict[str, float]:
        return {"close": self.close}
"""


def test_a_strategy_that_reads_the_next_close_in_a_file_looks_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No other future would tell: it looks at none of the bars that it is given."""
    monkeypatch.chdir(tmp_path)
    opens = pl.Series([bar.ts_event - NS_PER_MINUTE for bar in BARS]).cast(pl.Datetime("ns", "UTC"))
    columns = {name: [getattr(bar, name) for bar in BARS] for name in ("open", "high", "low", "close", "volume")}
    pl.DataFrame({"symbol": "AAPL", "timestamp": opens.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), **columns}).write_csv(
        "bars.csv"
    )
    (tmp_path / "peek.py").write_text(_PEEK.replace("BARS", str(tmp_path / "bars.csv")))
    assert run_check("peek.py:Peek", [], Path("bars.csv")) == 1
    [fault] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAULT")]
    assert "does not look ahead: it is right about the next bar at" in fault


def test_one_that_always_holds_in_a_market_that_only_rises_knows_nothing() -> None:
    rising = [msgspec.structs.replace(bar, close=100.0 + number) for number, bar in enumerate(BARS)]
    said: list[Said] = [("long", 1.0, "")] * len(rising)
    assert knows_the_next_bar(rising, said) == ""
    knowing: list[Said] = [
        ("short" if after.close < bar.close else "flat", 1.0, "") for bar, after in zip(BARS, BARS[1:], strict=False)
    ]
    assert knows_the_next_bar(BARS, knowing).startswith("it is right about the next bar at ")


class _Hasty:
    """An average of 60 closes that says it takes five."""

    warm_up = 5

    def __init__(self) -> None:
        self.closes: list[float] = []

    def on_bar(self, bar: Bar) -> Target | None:
        self.closes = [*self.closes[-59:], bar.close]
        is_above = bar.close > sum(self.closes) / len(self.closes)
        return Target(Direction.LONG if is_above else Direction.FLAT, 1.0, "")

    def snapshot(self) -> dict[str, float]:
        return {"average": sum(self.closes) / len(self.closes)} if self.is_ready else {}

    @property
    def is_ready(self) -> bool:
        return bool(self.closes)


class _HastyAndSilent(_Hasty):
    """The same, without a value until it has all of them."""

    @property
    def is_ready(self) -> bool:
        return len(self.closes) == 60


class _Patient(_Hasty):
    warm_up = 60


class _Endless(_Hasty):
    """A sum over all bars: no warm-up is long enough for its value, and none is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.volume = 0.0

    def on_bar(self, bar: Bar) -> Target | None:
        self.volume += bar.volume
        return super().on_bar(bar)

    def snapshot(self) -> dict[str, float]:
        return {"volume": self.volume}


def test_a_warm_up_that_is_too_short_is_found() -> None:
    faults = {kind: warms_up_too_short(kind, BARS) for kind in (_Hasty, _HastyAndSilent, _Patient, _Endless)}
    assert "after 25 bars average is " in faults[_Hasty]
    assert "let `warm_up` be the number of bars until its values are right" in faults[_Hasty]
    assert "after 25 bars average is missing" in faults[_HastyAndSilent]
    assert (faults[_Patient], faults[_Endless]) == ("", "")
    assert [found.fault for found in findings(_Hasty, BARS) if found.name == "its warm-up is long enough"] == [
        faults[_Hasty]
    ]
