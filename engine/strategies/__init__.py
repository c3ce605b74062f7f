"""Strategies by name. A strategy turns bars of one symbol into a target; it knows no quantity, no account, no clock."""

from engine.strategies.base import (
    OwnFill,
    Strategy,
    Target,
    checked,
    fault_text,
    past_bars_of,
    senseless,
    tell_fill,
    tell_session,
    values_of,
)
from engine.strategies.registry import check, is_known, make, names, params_of, register

__all__ = [
    "OwnFill",
    "Strategy",
    "Target",
    "check",
    "checked",
    "fault_text",
    "is_known",
    "make",
    "names",
    "params_of",
    "past_bars_of",
    "register",
    "senseless",
    "tell_fill",
    "tell_session",
    "values_of",
]
