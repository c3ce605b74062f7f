"""The limits that count for a bot in a symbol: of the account's, the bot's and the symbol's the strictest of each.

Put together once per bot and symbol. Part of engine.risk.judging, latching and replacing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.bots import Bot, RiskLimits
from engine.limits import SymbolLimits

_LARGER_IS_STRICTER = frozenset({"cooldown_s"})


class Narrowed:
    """Limits by bot and symbol.

    Args:
        limits: Of the account, with those of bots and symbols in it.
        bots: By name, as they are now, with limits of their own.
    """

    def __init__(self, limits: RiskLimits, bots: Mapping[str, Bot]) -> None:
        self._limits = limits
        self._bots = bots
        self._known: dict[tuple[str, str], tuple[Bot | None, RiskLimits]] = {}

    def of(self, bot: str, symbol: str = "") -> RiskLimits:
        """Give the limits of a bot in a symbol, or of the bot over all symbols."""
        limits, key, of = self._limits, (bot, symbol), self._bots.get(bot)
        own = None if of is None else of.limits
        if own is None and not (limits.bots or limits.symbols):
            return limits
        known = self._known.get(key)
        if known is None or known[0] is not of:
            narrowed = strictest(limits, limits.bots.get(bot), own, limits.symbols.get(symbol))
            known = self._known[key] = of, narrowed
        return known[1]


def strictest(limits: RiskLimits, *parts: SymbolLimits | None) -> RiskLimits:
    """Narrow limits down by parts of them."""
    for part in parts:
        changes: dict[str, object] = {}
        for name in () if part is None else part.__struct_fields__:
            ours, theirs = getattr(limits, name), getattr(part, name)
            if theirs is None:
                continue
            pick = max if name in _LARGER_IS_STRICTER else min
            changes[name] = theirs if ours is None else pick(ours, theirs)
        limits = msgspec.structs.replace(limits, **changes)
    return limits
