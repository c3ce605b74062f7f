"""Strategies by name. A strategy turns bars of one symbol into a target; it knows no quantity, no account, no clock."""

from engine.strategies.base import Strategy, Target
from engine.strategies.registry import check, make, names, params_of

__all__ = ["Strategy", "Target", "check", "make", "names", "params_of"]
