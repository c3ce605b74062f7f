"""Incremental indicators by name, over talipp; the only place that imports it.

`make(name, params)` gives an `Indicator`: `update(bar)` moves it by one bar in O(1) and returns its value or None while
it warms up. Memory is bounded: talipp keeps every input, so inputs are purged in blocks, never below the warm-up
(tried: purged to 2 warm-ups, outputs are bit-identical; purged below one, talipp silently starts over).
"""

from engine.indicators.catalog import Kind, Param
from engine.indicators.indicator import Indicator
from engine.indicators.registry import LIBRARY, check, kind_of, make, names, register

__all__ = ["LIBRARY", "Indicator", "Kind", "Param", "check", "kind_of", "make", "names", "register"]
