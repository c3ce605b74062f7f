"""A bot: a strategy with symbols, timeframe, capital and limits. Values only; files are read by config/bots."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec


class Bot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A configured strategy with capital.

    Attributes:
        name: Letters, digits, `-` and `_`; one token of a subject.
        strategy: Name in engine.strategies.
        params: The strategy's own parameters, by name.
        capital: USD this bot may use.
        position_fraction: Share of the capital that one symbol's full-strength target uses, (0, 1].
        session: `regular` trades US equities in regular hours only, `any` whenever bars come; crypto is always `any`.
    """

    name: str
    strategy: str
    symbols: tuple[str, ...]
    capital: Decimal
    params: dict[str, float | int | bool | str] = {}
    timeframe: str = "1m"
    position_fraction: float = 0.1
    session: Literal["regular", "any"] = "regular"


class RiskLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the first risk checks; each is a setting of the same name under [risk].

    Attributes:
        order_notional_usd_max: Largest order, quantity x reference price.
        position_fraction_max: Largest |position| in one symbol as a share of the bot's capital, working orders counted.
        bar_age_ms_max: Oldest bar a decision may rest on, in venue time.
        price_buffer_fraction: Added to the reference price when cash is reserved for a market buy.
        intent_valid_ms: How long after the decision an intent may be sent.
    """

    order_notional_usd_max: Decimal = Decimal(50_000)
    position_fraction_max: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    bar_age_ms_max: Annotated[int, msgspec.Meta(ge=1)] = 120_000
    price_buffer_fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02
    intent_valid_ms: Annotated[int, msgspec.Meta(ge=1)] = 120_000

    def __post_init__(self) -> None:
        """Refuse a limit that compares with nothing."""
        limit = self.order_notional_usd_max
        if not (limit.is_finite() and limit > 0):
            msg = f"order_notional_usd_max must be a finite number > 0 USD, was {limit}"
            raise ValueError(msg)
