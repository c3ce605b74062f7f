"""Limits of one bot or one symbol, beside those of the account. Values only; engine.risk.narrowing puts them together.

Each is a limit of the account that may be narrower here. None (in TOML: left out) says nothing; of several that say
something the strictest counts, so none of these can loosen a limit.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

Usd = Decimal | None
Share = Annotated[float, msgspec.Meta(gt=0, le=1000)] | None
_DECIMAL_MAX = 10**15
Part = Annotated[float, msgspec.Meta(gt=0, le=1)] | None
Count = Annotated[int, msgspec.Meta(ge=1, le=10**11)] | None


def refuse_senseless(limits: msgspec.Struct) -> None:
    """Refuse a limit that compares with nothing, or has no place in a message. Raises ValueError."""
    for field in msgspec.structs.fields(limits):
        limit = getattr(limits, field.name)
        if isinstance(limit, Decimal) and not (limit.is_finite() and 0 < limit <= _DECIMAL_MAX):
            msg = f"{field.name} must be a finite number > 0 and at most {_DECIMAL_MAX}, was {limit}"
            raise ValueError(msg)


class SymbolLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a symbol, under [limits.symbols.AAPL]; each as the one of the account of that name."""

    order_notional_usd_max: Usd = None
    order_quantity_max: Usd = None
    position_fraction_max: Part = None
    symbol_exposure_usd_max: Usd = None
    price_move_fraction_max: Share = None
    collar_fraction_max: Share = None
    bar_age_ms_max: Count = None
    quote_age_ms_max: Count = None
    cooldown_s: Count = None

    def __post_init__(self) -> None:
        """Refuse a limit that compares with nothing."""
        refuse_senseless(self)


class BotLimits(SymbolLimits, frozen=True, forbid_unknown_fields=True):
    """Limits of a bot, under [limits] of its file or [limits.bots.NAME]; each as the account's of that name."""

    bot_exposure_fraction_max: Share = None
    bot_positions_max: Count = None
    bot_orders_per_min_max: Count = None
    bot_orders_per_day_max: Count = None
    repeats_max: Count = None
    bot_daily_loss_fraction_max: Share = None
    bot_drawdown_fraction_max: Share = None
