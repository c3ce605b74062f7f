"""Bodies by hypothesis, from their own annotations."""

from __future__ import annotations

import types
import typing
from decimal import Decimal
from enum import StrEnum

import msgspec
from hypothesis import strategies as st

from engine.bots import Bot, OrderStyle, Stops
from engine.messages import Body, OldBar, OldTrade
from engine.window import Window
from tests.engine import build

_EXACT = st.decimals(min_value=Decimal("-1e20"), max_value=Decimal("1e20"), places=9, allow_nan=False)
_BY_TYPE = {
    str: st.text(max_size=12),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    int: st.integers(0, 2**62),
    Decimal: _EXACT,
    dict[str, float]: st.dictionaries(
        st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3
    ),
    dict[str, tuple[float, float, float]]: st.dictionaries(
        st.text(max_size=5), st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3), max_size=3
    ),
    dict[str, Decimal]: st.dictionaries(st.text(max_size=5), _EXACT, max_size=3),
    tuple[tuple[int, int], ...]: st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=3).map(
        tuple
    ),
    tuple[OldBar, ...]: st.lists(
        st.tuples(st.integers(0, 2**62), *[st.floats(allow_nan=False, allow_infinity=False)] * 5), max_size=3
    ).map(tuple),
    tuple[OldTrade, ...]: st.lists(
        st.tuples(st.integers(0, 2**62), *[st.floats(allow_nan=False, allow_infinity=False)] * 2), max_size=3
    ).map(tuple),
    dict[str, int]: st.dictionaries(st.text(max_size=5), st.integers(0, 2**62), max_size=3),
    Bot: st.builds(
        build.bot,
        symbols=st.lists(st.sampled_from(["AAPL", "BRK.B", "BTC/USD"]), min_size=1, max_size=3).map(tuple),
        capital=_EXACT,
        stops=st.sampled_from([None, Stops(stop_loss=0.1)]),
        order=st.sampled_from([OrderStyle(), OrderStyle(limit_offset_bps=-1.5)]),
        window=st.sampled_from([None, Window("09:45", "12:00", "Europe/London", ("mon", "fri"), flatten_before_s=60)]),
        trading_frequency=st.sampled_from(["every_bar", 300]),
    ),
}


def _values(annotation):
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return st.one_of(*(_values(arm) for arm in typing.get_args(annotation)))
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return st.sampled_from(annotation)
    if annotation not in _BY_TYPE and issubclass(annotation, Body):
        return bodies(annotation)
    return _BY_TYPE[annotation]


def bodies(body_type):
    """Any body of this type, every field filled by its annotation."""
    fields = {field.name: _values(field.type) for field in msgspec.structs.fields(body_type)}
    return st.builds(body_type, **fields)
