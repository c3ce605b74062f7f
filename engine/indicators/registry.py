"""The registry: indicators by name, with checked parameters. Called by strategies and by validation of bots."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import version

from engine.errors import ConfigError
from engine.indicators.catalog import KINDS, Kind, Param
from engine.indicators.indicator import Indicator
from engine.indicators.session import SESSION_KINDS

LIBRARY = f"talipp {version('talipp')}"
"""What values and checkpointed states were made by."""
_KINDS: dict[str, Kind] = {kind.name: kind for kind in (*KINDS, *SESSION_KINDS)}
_ASCENDING = (
    ("fast_period", "slow_period"),
    ("fast_period", "mid_period"),
    ("mid_period", "slow_period"),
    ("fast_roc_period", "slow_roc_period"),
    ("fast_macd_period", "slow_macd_period"),
    ("fast_ema_constant_period", "slow_ema_constant_period"),
)
"""Pairs of parameters of which the first must be the smaller one."""


def register(kind: Kind) -> None:
    """Add an indicator of an installed package (config.own).

    Raises:
        ConfigError: There is one of this name.
    """
    if kind.name in _KINDS:
        msg = f"there is an indicator {kind.name} already: give it another name"
        raise ConfigError(msg)
    _KINDS[kind.name] = kind


def names() -> list[str]:
    """Names of all indicators, sorted."""
    return sorted(_KINDS)


def kind_of(name: str) -> Kind:
    """Give what is known of an indicator.

    Raises:
        ConfigError: There is none of this name.
    """
    kind = _KINDS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, _KINDS, 3) or names()
        msg = f"unknown indicator {name!r}: choose one of {', '.join(near)}"
        raise ConfigError(msg)
    return kind


def check(name: str, params: Mapping[str, object]) -> dict[str, float]:
    """Give the parameters of an indicator in its order, those that are not given at their defaults.

    Raises:
        ConfigError: Unknown name, unknown or missing parameter, value of the wrong type or out of range.
    """
    kind = kind_of(name)
    known = [param.name for param in kind.params]
    if unknown := [key for key in params if key not in known]:
        msg = f"indicator {name}: unknown parameter {unknown[0]!r}: it has {', '.join(known) or 'none'}"
        raise ConfigError(msg)
    checked = {param.name: _checked(name, param, params.get(param.name, param.default)) for param in kind.params}
    for small, large in _ASCENDING:
        if small in checked and large in checked and checked[small] >= checked[large]:
            msg = f"indicator {name}: {small} must be below {large}, were {checked[small]:g} and {checked[large]:g}"
            raise ConfigError(msg)
    return checked


def _checked(name: str, param: Param, value: object) -> float:
    if value is None:
        msg = f"indicator {name}: {param.name} is missing; it must be {_range(param)}"
        raise ConfigError(msg)
    is_whole = isinstance(param.low, int)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not param.low <= value <= param.high
        or (is_whole and value != int(value))
    ):
        msg = f"indicator {name}: {param.name} must be {_range(param)}, was {value!r}"
        raise ConfigError(msg)
    return int(value) if is_whole else float(value)


def _range(param: Param) -> str:
    return f"{'a whole number' if isinstance(param.low, int) else 'a number'} in {param.low:g}..{param.high:g}"


def make(name: str, params: Mapping[str, object]) -> Indicator:
    """Build an indicator. Raises ConfigError as `check` does."""
    kind, checked = kind_of(name), check(name, params)
    label = (
        f"{name}({','.join(f'{value:g}' if isinstance(value, float) else str(value) for value in checked.values())})"
    )
    return Indicator(label, kind.build(*checked.values()), kind.source, kind.outputs, kind.warmup(checked))
