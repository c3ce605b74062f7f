"""Which strategies exist, with their parameter types. `check` is what validation of a bot calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine.errors import ConfigError
from engine.faults import readable
from engine.strategies.base import Strategy
from engine.strategies.bollinger_reversion import BollingerReversion, BollingerReversionParams
from engine.strategies.breakout import Breakout, BreakoutParams
from engine.strategies.crypto_scalping import CryptoScalping, CryptoScalpingParams
from engine.strategies.macd_trend import MacdTrend, MacdTrendParams
from engine.strategies.multi import Multi, MultiParams, Part
from engine.strategies.obv_trend import ObvTrend, ObvTrendParams
from engine.strategies.rsi import Rsi, RsiParams
from engine.strategies.rule import Rule, RuleParams
from engine.strategies.sma_crossover import MomentumParams, SmaCrossover, SmaCrossoverParams
from engine.strategies.stochastic import Stochastic, StochasticParams
from engine.strategies.stochrsi_ema import StochrsiEma, StochrsiEmaParams

_STRATEGIES: dict[str, tuple[type[msgspec.Struct], Callable[[Any], Strategy]]] = {
    "bollinger_reversion": (BollingerReversionParams, BollingerReversion),
    "breakout": (BreakoutParams, Breakout),
    "crypto_scalping": (CryptoScalpingParams, CryptoScalping),
    "macd_trend": (MacdTrendParams, MacdTrend),
    "momentum": (MomentumParams, SmaCrossover),
    "multi": (MultiParams, lambda params: Multi(params, [make(one.strategy, one.params) for one in params.parts])),
    "obv_trend": (ObvTrendParams, ObvTrend),
    "rsi": (RsiParams, Rsi),
    "rule": (RuleParams, Rule),
    "sma_crossover": (SmaCrossoverParams, SmaCrossover),
    "stochastic": (StochasticParams, Stochastic),
    "stochrsi_ema": (StochrsiEmaParams, StochrsiEma),
}


def register(name: str, params: type[msgspec.Struct], build: Callable[[Any], Strategy]) -> None:
    """Add a strategy of a user, or of an installed package (config.own).

    Args:
        name: Under which bots name it; of code that goes with a bot `path.py:Class#digest`.
        params: Type of its parameters.
        build: Makes one for one symbol.

    Raises:
        ConfigError: There is one of this name.
    """
    if name in _STRATEGIES:
        msg = f"there is a strategy {name} already: rename the entry point"
        raise ConfigError(msg)
    _STRATEGIES[name] = params, build


def is_known(name: str) -> bool:
    """Whether there is a strategy of this name."""
    return name in _STRATEGIES


def names() -> list[str]:
    """Names of all strategies but those whose code goes with a bot, sorted."""
    return sorted(name for name in _STRATEGIES if "#" not in name)


def params_of(name: str) -> type[msgspec.Struct]:
    """Give the type of a strategy's parameters. Raises ConfigError when there is none of this name."""
    found = _STRATEGIES.get(name)
    if found is None:
        msg = f"unknown strategy {name!r}: choose one of {', '.join(names())}"
        raise ConfigError(msg)
    return found[0]


def check(name: str, params: Mapping[str, object]) -> msgspec.Struct:
    """Give the typed parameters of a strategy.

    Raises:
        ConfigError: Unknown strategy, unknown parameter, value of the wrong type or out of range.
    """
    kind = params_of(name)
    try:
        typed: msgspec.Struct = msgspec.convert(dict(params), kind)
    except msgspec.ValidationError as err:
        known = ", ".join(field.name for field in msgspec.structs.fields(kind))
        said = readable(str(err), dict(params), kind, "parameter", root="")
        more = "" if ": known here are " in said else f" (parameters: {known or 'none'})"
        msg = f"strategy {name.partition('#')[0]}: {said}{more}"
        raise ConfigError(msg) from None
    if isinstance(typed, MultiParams):
        for number, part in enumerate(typed.parts, 1):
            _check_part(f"strategy {name}, part {number}", part)
    return typed


def _check_part(where: str, part: Part) -> None:
    if part.strategy == "multi":
        msg = f"{where}: it may not be multi itself: list its parts here"
        raise ConfigError(msg)
    try:
        check(part.strategy, part.params)
    except ConfigError as err:
        msg = f"{where}: {err}"
        raise ConfigError(msg) from None


def make(name: str, params: Mapping[str, object]) -> Strategy:
    """Build a strategy for one symbol. Raises ConfigError as `check` does."""
    typed = check(name, params)
    return _STRATEGIES[name][1](typed)
