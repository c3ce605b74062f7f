"""How far two clocks are apart, from a question and its answer.

Called by the adapter that asks the venue, and by whoever judges the answer. Never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.ports import ClockOffset
from engine.values import NS_PER_MS


def offset_of(asked_wall_ns: int, took_ns: int, venue_ns: int, resolution_ns: int) -> ClockOffset:
    """Compare, taking the venue's time as that of the middle between question and answer.

    Args:
        asked_wall_ns: Our wall clock when the question left.
        took_ns: Until the answer was there, by a monotonic clock.
        venue_ns: The time in the answer, cut off (not rounded) to `resolution_ns`.
        resolution_ns: 1 where it is exact, 1 s where it holds whole seconds.
    """
    ours = asked_wall_ns + took_ns // 2
    theirs = venue_ns + resolution_ns // 2
    return ClockOffset(ours - theirs, took_ns // 2 + resolution_ns // 2)


def best_of(offsets: Iterable[ClockOffset]) -> ClockOffset:
    """Give the surest of several; at least one."""
    return min(offsets, key=lambda offset: offset.error_ns)


def is_beyond(offset: ClockOffset, offset_ms_max: int) -> bool:
    """Whether the clocks are surely farther apart than allowed: the possible error speaks for them."""
    return abs(offset.offset_ns) - offset.error_ns > offset_ms_max * NS_PER_MS


def words(offset: ClockOffset) -> str:
    """Say it for people: `0.120 s ahead of the venue's (+-0.041 s)`."""
    side = "ahead of" if offset.offset_ns >= 0 else "behind"
    return f"{abs(offset.offset_ns) / 1e9:.3f} s {side} the venue's (+-{offset.error_ns / 1e9:.3f} s)"
