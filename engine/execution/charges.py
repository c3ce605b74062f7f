"""Which bot a fee on coins is of: the one whose execution it was charged for. Part of engine.execution; pure.

The venue takes its fee at once, of what is credited (coins of a buy, USD of a sell), and posts it later without saying
for which order. Bots that trade one coin must not pay for each other: one could be left with less than nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import ROUND_DOWN, Decimal

import msgspec

from engine.values import NS_PER_DAY, ZERO, normal

FEE_FRACTION_MAX = Decimal("0.003")
"""Largest fee on coins, of what was traded. It is taken at once, and posted later."""
FEE_FRACTION = Decimal("0.0025")
"""The usual one: Alpaca's first tier."""
_STEP = Decimal("0.000000001")
_KEPT_NS = 3 * NS_PER_DAY
_KEPT_MAX = 1_000


class Charge(msgspec.Struct, frozen=True):
    """An execution in coins of which no fee was posted yet.

    Attributes:
        bot: Who pays for it.
        is_buy: Its fee is in coins; else in USD.
        basis: Coins bought, or USD got for coins sold.
        ts_event: When it was, ns UTC.
    """

    bot: str
    is_buy: bool
    basis: Decimal
    ts_event: int


def added(charges: Sequence[Charge], charge: Charge) -> list[Charge]:
    """Give the charges of a symbol with one more; those of days ago were posted, or never will be."""
    return [*(one for one in charges if one.ts_event > charge.ts_event - _KEPT_NS), charge][-_KEPT_MAX:]


def match(
    charges: Sequence[Charge], amount: Decimal, *, is_buy: bool, taken: Collection[int] = (), bot: str = ""
) -> int | None:
    """Find the execution that a fee is for: the one whose usual fee is the nearest, of two the older.

    Args:
        charges: Of its symbol, oldest first.
        amount: Of the fee, above 0.
        is_buy: Whether it is in coins.
        taken: Places that other fees are for.
        bot: Only this one's; empty: anybody's.
    """
    found = [
        (abs(amount / one.basis - FEE_FRACTION), place)
        for place, one in enumerate(charges)
        if one.is_buy is is_buy and place not in taken and bot in ("", one.bot)
        if ZERO < amount <= FEE_FRACTION_MAX * one.basis
    ]
    return min(found)[1] if found else None


def give_back(advanced: dict[str, Decimal], bot: str, quantity: Decimal) -> None:
    """Take what is given back to a bot off what was advanced: its own first, then others', for parts are rounded."""
    for name in sorted(advanced, key=lambda one: (one != bot, -advanced[one], one)):
        part = min(advanced[name], quantity)
        quantity -= part
        advanced[name] = normal(advanced[name] - part)
        if not advanced[name]:
            del advanced[name]


def shared(charges: Sequence[Charge], advanced: dict[str, Decimal], missing: Decimal) -> dict[str, Decimal]:
    """Share out coins that the venue kept and has not posted, by what each bot owes for its buys; nothing: nobody does.

    Args:
        charges: Of the symbol.
        advanced: What was taken off each bot already.
        missing: Coins, above 0.
    """
    owed: dict[str, Decimal] = {}
    for one in charges:
        if one.is_buy:
            owed[one.bot] = owed.get(one.bot, ZERO) + FEE_FRACTION * one.basis
    owed = {bot: due - advanced.get(bot, ZERO) for bot, due in owed.items() if due > advanced.get(bot, ZERO)}
    whole = sum(owed.values(), ZERO)
    parts = {bot: normal((missing * due / whole).quantize(_STEP, ROUND_DOWN)) for bot, due in owed.items()}
    if parts:
        largest = min(owed, key=lambda bot: (-owed[bot], bot))
        parts[largest] = normal(parts[largest] + missing - sum(parts.values(), ZERO))
    return {bot: part for bot, part in parts.items() if part}
