"""Splits and changes of name as the venue does them: two activities that together turn one holding into another.

Alpaca removes what was held in one row and adds what is held from then on in another, minutes apart, so one of the two
may be seen alone. Booked alone, the first would look like a sale of everything. `conversions` puts pairs together; what
has no partner waits until it is too old to get one. Pure; called by engine.execution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from engine.ports import VenueActivity, VenueSplit
from engine.values import NS_PER_DAY

KINDS = frozenset({"SPLIT", "SSP", "NC", "SC"})
_NO_PAIR = "USPLIT"
"""A unit split turns one thing into two: its rows are booked one by one."""
ALONE_NS_MAX = NS_PER_DAY
_SIDE = re.compile(r"\s*(REMOVE|ADD)\b[\s,]*")
_NAMES = re.compile(r"from\s+(?P<old>[A-Z][\w./]*)\s+to\s+(?P<new>[A-Z][\w./]*)", re.IGNORECASE)


class Conversions(msgspec.Struct, frozen=True):
    """What a list of activities comes to.

    Attributes:
        splits: Done by pairs, oldest first.
        others: Everything else, to be booked row by row, in the order given.
        waiting: Rows of a conversion whose partner is not there yet: ask again.
        alone: Ids of those among `others` that waited in vain: their quantity is booked as it is, and a person must
            look.
    """

    splits: tuple[VenueSplit, ...]
    others: tuple[VenueActivity, ...]
    waiting: tuple[VenueActivity, ...]
    alone: tuple[str, ...]


def conversions(activities: Iterable[VenueActivity], now_ns: int) -> Conversions:
    """Put the rows of splits and changes of name together.

    Args:
        activities: As read; those that were booked before are left out by the caller.
        now_ns: Venue time, to tell what has waited too long.
    """
    rows = list(activities)
    open_rows = [row for row in rows if row.kind in KINDS and row.quantity and row.sub_kind != _NO_PAIR]
    splits: list[VenueSplit] = []
    used: set[str] = set()
    for row in sorted(open_rows, key=lambda row: (row.ts_event, row.id)):
        if row.id in used:
            continue
        partners = (other for other in open_rows if other.id not in used and _are_a_pair(row, other))
        partner = min(partners, key=lambda other: (abs(other.ts_event - row.ts_event), other.id), default=None)
        if partner is not None:
            used |= {row.id, partner.id}
            splits.append(_split(row, partner))
    left = [row for row in open_rows if row.id not in used]
    waiting = [row for row in left if now_ns - row.ts_event <= ALONE_NS_MAX]
    kept_back = used | {row.id for row in waiting}
    return Conversions(
        splits=tuple(sorted(splits, key=lambda split: (split.effective_ns, split.id))),
        others=tuple(row for row in rows if row.id not in kept_back),
        waiting=tuple(waiting),
        alone=tuple(row.id for row in left if row.id not in kept_back),
    )


def _are_a_pair(one: VenueActivity, two: VenueActivity) -> bool:
    """Whether one row takes away what the other gives: same action, opposite signs."""
    if one.id == two.id or one.kind != two.kind or one.sub_kind != two.sub_kind:
        return False
    if (one.quantity > 0) == (two.quantity > 0) or abs(one.ts_event - two.ts_event) > ALONE_NS_MAX:
        return False
    if one.group or two.group:
        return one.group == two.group
    if _action(one) != _action(two):
        return False
    return one.symbol == two.symbol or abs(one.quantity) == abs(two.quantity)


def _action(row: VenueActivity) -> str:
    return _SIDE.sub("", row.description)


def _split(one: VenueActivity, two: VenueActivity) -> VenueSplit:
    removing, adding = (one, two) if _removes(one, two) else (two, one)
    return VenueSplit(
        id=min(one.id, two.id),
        symbol=removing.symbol,
        new_symbol=adding.symbol,
        ratio=-adding.quantity / removing.quantity,
        effective_ns=max(one.ts_event, two.ts_event),
        removed=-removing.quantity,
        added=adding.quantity,
        activities=tuple(sorted((one.id, two.id))),
    )


def _removes(one: VenueActivity, two: VenueActivity) -> bool:
    """Whether the first row is the one that takes away: it says so, it has the old name, or it is negative.

    The last is wrong for a short position whose rows say nothing: they never came without words so far.
    """
    for row, answer in ((one, True), (two, False)):
        side = _SIDE.match(row.description)
        if side is not None:
            return answer == (side.group(1) == "REMOVE")
    names = _NAMES.search(one.description)
    if names is not None and one.symbol != two.symbol and names["old"] in (one.symbol, two.symbol):
        return one.symbol == names["old"]
    return one.quantity < 0
