"""`tapeline strategies check`: whether a strategy keeps what every strategy must promise, on made or given bars.

It raises at no bar; the same bars give the same targets; what comes later changes nothing of what was said before, and
is not known; its values after as many past bars as it is warmed up with are those after all of them; it goes on after a
restart as if there had been none; its state does not grow with the bars it has seen; its values are numbers. What is
not checked: whether it earns anything.
"""

from __future__ import annotations

import math
import pickle
import random
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from config import own
from engine.bots import Bot
from engine.errors import ConfigError
from engine.messages import Bar
from engine.strategies import Strategy, check, fault_text, make, senseless, values_of
from engine.values import NS_PER_MINUTE
from engine.zones import midnight_before
from tapeline.strategy_foresight import knows_the_next_bar, warms_up_too_short
from tapeline.strategy_play import Moved, Said, play, play_on

_COUNT = 6_000
_CUTS = (0.1, 0.5, 0.9)
_EVERY, _LENGTHS, _LONGEST = 100, (6_000, 12_000, 24_000, 48_000, 96_000), 96_000
_SPAN, _SECONDS_MAX, _SLOWER_MAX = 2_000, 10.0, 4.0
"""Bars that are timed together; after so many seconds one that became so many times slower is given up."""
_GROWTH_MAX = 0.02
"""Share of the state that is no growth: numbers get longer."""
_BEGIN_NS = midnight_before(1_767_623_400_000_000_000)
"""Monday 2026-01-05, 09:30 in New York."""


class Finding(msgspec.Struct, frozen=True):
    """What one check found; `fault` is empty where it holds."""

    name: str
    fault: str


def run_check(strategy: str, params: Sequence[str], bars_file: Path | None) -> int:
    """Print a line per check; 0 when all hold. Raises ConfigError when there is no such strategy."""
    bot = bot_of(strategy, params)
    bars = made_bars(_COUNT) if bars_file is None else _bars_of(bars_file)
    wrong = 0
    for finding in findings(lambda: make(bot.source, bot.params), bars):
        wrong += bool(finding.fault)
        sys.stdout.write(f"{'FAULT' if finding.fault else 'ok':6} {finding.name}{': ' if finding.fault else ''}")
        sys.stdout.write(f"{finding.fault}\n")
        sys.stdout.flush()
    return 1 if wrong else 0


def bot_of(strategy: str, params: Sequence[str] = ()) -> Bot:
    """Give a bot with a strategy by name or `path.py:Class`, and parameters as name=value. Raises ConfigError."""
    from config.bots import changed

    wrong = next((each for each in params if not each.partition("=")[1]), None)
    if wrong is not None:
        msg = f"--param takes name=value, such as period=7, was {wrong!r}"
        raise ConfigError(msg)
    bot = changed(named(strategy), [f"params.{each}" for each in params])
    check(bot.source, bot.params)
    return bot


def named(strategy: str) -> Bot:
    """Give a bot with a strategy by name or `path.py:Class`, whose parameters are not looked at."""
    own.learn_installed()
    code = own.read_code(strategy, Path()) if ".py:" in strategy else ""
    file, _, name = strategy.rpartition(":")
    shown = f"{Path(file).name}:{name}" if code else strategy
    bot = Bot("check", shown, ("AAPL",), Decimal(1), code=code)
    own.learn(bot)
    return bot


def findings(new: Callable[[], Strategy], bars: Sequence[Bar]) -> Generator[Finding]:
    """Do every check, one after the other; one that raises ends them, for the others rest on it."""
    try:
        strategy = new()
        said = play(strategy, bars)
    except (Exception, SystemExit) as err:  # noqa: BLE001  (whatever a user's code raises)
        lines = traceback.format_exc().splitlines()
        yield Finding("raises at no bar", f"{fault_text(err)} ({_place(lines)})")
        return
    yield Finding("raises at no bar", "")
    yield Finding("says something", "" if any(said) else f"no target in {len(bars)} bars: is its warm-up longer?")
    yield Finding("values are numbers", _first_senseless(new(), bars))
    yield Finding("same bars, same targets", _difference(said, play(new(), bars)))
    yield Finding("does not look ahead", _look_ahead(new, bars, said) or knows_the_next_bar(bars, said))
    yield Finding("its warm-up is long enough", warms_up_too_short(new, bars))
    yield Finding("goes on after a restart", _restart(new, bars, said))
    yield Finding("state does not grow", _growth(new))


def _first_senseless(strategy: Strategy, bars: Sequence[Bar]) -> str:
    moved = Moved(strategy)
    for number, bar in enumerate(bars, 1):
        target = moved.by(bar)
        values = values_of(strategy)
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        senses = (senseless(each, values) for each in (target, *moved.at_trades) if each is not None)
        fault = f"{wrong[0]} = {values[wrong[0]]!r}" if wrong else next(filter(None, senses), "")
        if fault:
            return f"bar {number}: {fault}"
    return ""


def _difference(one: Sequence[Said], other: Sequence[Said], first: int = 1) -> str:
    for number, (before, after) in enumerate(zip(one, other, strict=True), first):
        if before != after:
            return f"bar {number}: {_shown(before)}, then {_shown(after)}"
    return ""


def _shown(said: Said) -> str:
    return "nothing" if said is None else f"{said[0]} {said[1]:g} ({said[2]})"


def _look_ahead(new: Callable[[], Strategy], bars: Sequence[Bar], said: Sequence[Said]) -> str:
    """Another future, or none: what was said before stays."""
    for share in _CUTS:
        cut = int(len(bars) * share)
        other = [_mirrored(bar, bars[cut]) for bar in bars[cut:]]
        for future in ((), other):
            again = play(new(), [*bars[:cut], *future])[:cut]
            if fault := _difference(said[:cut], again):
                return f"with another future after bar {cut}, {fault}"
    return ""


def _mirrored(bar: Bar, at: Bar) -> Bar:
    """Give a bar that moves the other way from a point on."""

    def turned(price: float) -> float:
        return max(2 * at.close - price, 0.01)

    low, high = sorted((turned(bar.low), turned(bar.high)))
    return msgspec.structs.replace(bar, open=turned(bar.open), high=high, low=low, close=turned(bar.close))


def _restart(new: Callable[[], Strategy], bars: Sequence[Bar], said: Sequence[Said]) -> str:
    for share in _CUTS:
        cut = int(len(bars) * share)
        moved = Moved(new())
        play_on(moved, bars[:cut])
        try:
            moved.strategy = pickle.loads(pickle.dumps(moved.strategy, protocol=5))  # noqa: S301  (made right here)
        except Exception as err:  # noqa: BLE001  (whatever a user's attributes raise)
            return f"its attributes cannot be kept ({type(err).__name__}: {err}): keep numbers, texts, lists, dicts"
        if fault := _difference(said[cut:], play_on(moved, bars[cut:]), cut + 1):
            return f"restarted after bar {cut}, {fault}"
    return ""


def _growth(new: Callable[[], Strategy]) -> str:
    """Look for a size that it does not pass any more: purges of indicators make it go up and down, over long spans."""
    moved, sizes, took = Moved(new()), list[int](), list[float]()
    bars, began = made_bars(_LONGEST), time.monotonic()
    for number, bar in enumerate(bars, 1):
        moved.by(bar)
        if number % _SPAN == 0:
            took.append(time.monotonic() - began - sum(took))
            if sum(took) > _SECONDS_MAX and took[-1] > took[0] * _SLOWER_MAX:
                slow = f"{1e6 * took[0] / _SPAN:.0f} us at the first {_SPAN}, {1e6 * took[-1] / _SPAN:.0f} us now"
                return f"a bar takes longer and longer ({slow}, after {number}): keep no list of all bars"
        if number % _EVERY == 0:
            try:
                sizes.append(len(pickle.dumps(moved.strategy, protocol=5)))
            except Exception:  # noqa: BLE001  (said by the check of restarts)
                return ""
        if number in _LENGTHS:
            third = len(sizes) // 3
            before, after = max(sizes[third : 2 * third]), max(sizes[2 * third :])
            if after <= before * (1 + _GROWTH_MAX):
                return ""
    return f"{sizes[-1]} bytes after {_LONGEST} bars and still growing: keep no list of all bars, forget the oldest"


def _place(lines: Sequence[str]) -> str:
    where = [line.strip() for line in lines if line.lstrip().startswith("File ")]
    return where[-1] if where else "no line known"


def made_bars(count: int, seed: int = 1) -> list[Bar]:
    """Make a market: trends, noise, an hour without a move or trade, jumps."""
    draw, price = random.Random(seed), 100.0
    bars: list[Bar] = []
    for number in range(1, count + 1):
        is_still = 600 <= number % 2_000 < 660
        drift = 0.0004 * math.sin(number / 150)
        jump = 0.05 * draw.choice((-1, 1)) if number % 977 == 0 else 0.0
        before, price = price, price if is_still else max(price * math.exp(drift + jump + draw.gauss(0, 0.001)), 1.0)
        spread = 0.0 if is_still else abs(draw.gauss(0, 0.0005)) * price
        volume = 0.0 if is_still else float(draw.randint(100, 9_000))
        high, low = max(before, price) + spread, min(before, price) - spread
        bars.append(Bar("AAPL", "1m", _BEGIN_NS + number * NS_PER_MINUTE, before, high, low, price, volume))
    return bars


def _bars_of(path: Path) -> list[Bar]:
    """Read the bars of the first symbol of a file."""
    from adapters.exchange.barfile import read_bars

    frame = read_bars(path)
    symbol = frame.get_column("symbol")[0]
    rows = frame.filter(frame.get_column("symbol") == symbol).iter_rows(named=True)
    bars: list[Bar] = []
    for row in rows:
        prices = (float(row[name]) for name in ("open", "high", "low", "close"))
        bars.append(Bar(symbol, "1m", row["open_ns"] + NS_PER_MINUTE, *prices, volume=float(row["volume"])))
    return bars
