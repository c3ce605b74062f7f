"""Two checks of `tapeline strategies check`: what a strategy cannot know, and whether its warm-up is long enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.messages import Bar
from engine.strategies import Strategy, past_bars_of, values_of
from engine.values import PAST_BARS_MAX
from tapeline.strategy_play import Moved, Said, play_on

_MOVES_MIN, _RIGHT_MAX = 25, 0.8
"""Nobody is right about the next minute at more than this share of so many rises and falls without having seen it."""
_CUTS = (0.35, 0.55, 0.75, 0.95)
_SAME, _OTHER, _RECENT = 0.005, 0.05, 300
"""Shares of the range of a value over so many bars: within it values are the same, beyond it others."""
_SIGNS = {"long": 1, "short": -1, "flat": 0}


def knows_the_next_bar(bars: Sequence[Bar], said: Sequence[Said]) -> str:
    """Find that what is wanted at a bar goes with the move after it: a file of the future, read by the strategy itself.

    Bars that are made here are in no file: it can only be seen on given ones.

    Returns:
        What was found; empty: nothing.
    """
    up, down, held = list[int](), list[int](), 0
    for one, bar, following in zip(said, bars, bars[1:], strict=False):
        held = held if one is None else _SIGNS[one[0]]
        if change := following.close - bar.close:
            (up if change > 0 else down).append(held)
    if min(len(up), len(down)) < _MOVES_MIN:
        return ""
    # Both ways: one that always holds is right about every move of a market that only rises.
    of_longs = sum(one > 0 for one in up), sum(one <= 0 for one in down)
    of_shorts = sum(one >= 0 for one in up), sum(one < 0 for one in down)
    for right in (of_longs, of_shorts):
        if right[0] > len(up) * _RIGHT_MAX and right[1] > len(down) * _RIGHT_MAX:
            told = f"{right[0]} of {len(up)} rises and {right[1]} of {len(down)} falls"
            return f"it is right about the next bar at {told}: it reads what it cannot know at that bar"
    return ""


def warms_up_too_short(new: Callable[[], Strategy], bars: Sequence[Bar]) -> str:
    """Find values that as many past bars as it is warmed up with do not give, and more of them do.

    What never forgets the first bar (a sum of all volumes) is no matter of a warm-up: longer ones differ as well. Nor
    is what it wants: one that waits for a crossing wants nothing until there was one.

    Returns:
        What was found; empty: nothing, or it says of no `warm_up`, or the bars are too few to say.
    """
    short = past_bars_of(new(), None)
    long = max(PAST_BARS_MAX, 2 * short)
    cuts = [cut for share in _CUTS if (cut := int(len(bars) * share)) > long]
    if not short:
        return ""
    moved, at, recent = Moved(new()), 0, list[dict[str, float]]()
    for cut in cuts:
        for bar in bars[at:cut]:
            moved.by(bar)
            recent = [*recent[1 - _RECENT :], dict(values_of(moved.strategy))]
        at = cut
        ranges = {name: _range([each[name] for each in recent if name in each]) for name in recent[-1]}
        by_long = _after(new, bars[cut - long : cut])
        by_short = _after(new, bars[cut - short : cut])
        for name, value in recent[-1].items():
            bound, longer, shorter = ranges[name], by_long.get(name), by_short.get(name)
            if longer is None or abs(longer - value) > _SAME * bound:
                continue
            if shorter is None or abs(shorter - value) > _OTHER * bound:
                told = "missing" if shorter is None else f"{shorter:g}"
                return f"after {short} bars {name} is {told}, after all {cut} before them {value:g}: {_MEND}"
    return ""


_MEND = "let `warm_up` be the number of bars until its values are right"


def _after(new: Callable[[], Strategy], bars: Sequence[Bar]) -> dict[str, float]:
    """Give the values of a new strategy after some bars."""
    moved = Moved(new())
    play_on(moved, bars)
    return dict(values_of(moved.strategy))


def _range(values: Sequence[float]) -> float:
    """Give how far a value moves; of one that stands still, what is a rounding of it."""
    return max(max(values) - min(values), 1e-9 * abs(values[-1]))
