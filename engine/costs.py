"""What trading costs beside the price: charges and slippage, by models that a text names. Pure.

Asked by a simulated venue.

Fees of coins that are taken in coins are none of this: the venue books them as activities of their own.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

import msgspec

from engine.errors import ConfigError
from engine.values import ZERO, AssetClass, Side, asset_class_of, money

_CENT = Decimal("0.01")
_PERCENT = Decimal(100)
_MILLION = Decimal(1_000_000)
_MAX = 1_000_000
"""Of any number that is no share: more is a slip of the finger, and would not fit into an amount."""


class FeeModel(msgspec.Struct, frozen=True, kw_only=True):
    """Charges that add up. USD, but for percents.

    Attributes:
        per_share: Of stocks, each way.
        per_order: Once per order, with its first fill.
        percent: Of what is traded, each way; 0.1 is 0.1 %.
        crypto: Of what a trade of coins credits, in that asset, percent.
        sec: Of a million USD of stock sold (Section 31 of the Exchange Act), up to the next cent.
        taf: Of a share sold (FINRA's Trading Activity Fee), up to the next cent.
        taf_max: Most of that, per fill; 0: no limit.
    """

    per_share: Decimal = ZERO
    per_order: Decimal = ZERO
    percent: Decimal = ZERO
    crypto: Decimal = ZERO
    sec: Decimal = ZERO
    taf: Decimal = ZERO
    taf_max: Decimal = ZERO

    def commission(self, symbol: str, side: Side, quantity: Decimal, price: Decimal, *, is_first: bool) -> Decimal:
        """Give what a fill costs, USD on 1e-9.

        Args:
            symbol: Of the order.
            side: Of it.
            quantity: Of the fill, positive.
            price: Of it.
            is_first: Whether it is the order's first.
        """
        value = quantity * price
        cost = value * self.percent / _PERCENT
        if is_first:
            cost += self.per_order
        if asset_class_of(symbol) is AssetClass.US_EQUITY:
            cost += quantity * self.per_share
            if side is Side.SELL:
                taf = quantity * self.taf
                cost += _cents(value * self.sec / _MILLION) + _cents(min(taf, self.taf_max) if self.taf_max else taf)
        return money(cost)


NO_FEES = FeeModel()
EXCHANGE = FeeModel(crypto=Decimal("0.25"))
"""What `tapeline exchange` charges: of coins, as Alpaca's lowest tier does."""
REGULATORY = FeeModel(sec=Decimal("27.80"), taf=Decimal("0.000166"), taf_max=Decimal("8.30"))
"""Rates from 2024-05-22 to 2025-05-13 (SEC Fee Rate Advisory 2024-2, FINRA By-Laws Schedule A)."""
ALPACA = msgspec.structs.replace(REGULATORY, crypto=EXCHANGE.crypto)


class Slippage(msgspec.Struct, frozen=True, kw_only=True):
    """By how much market and stop orders are filled worse; all of it adds up, and stays inside the bar.

    Attributes:
        bps: Up to so many basis points of the price, drawn with the seed.
        ticks: So many steps of the price.
        range: Part of the bar's range, high less low.
    """

    bps: Decimal = ZERO
    ticks: Decimal = ZERO
    range: Decimal = ZERO


NO_SLIPPAGE = Slippage()


def fee_model(text: str) -> FeeModel:
    """Read charges: names of models and `charge=number`, by comma; what is named later counts.

    Raises:
        ConfigError: There is no such name, or a number is none or negative.
    """
    models = {"none": NO_FEES, "exchange": EXCHANGE, "regulatory": REGULATORY, "alpaca": ALPACA}
    return _read("fees", text, NO_FEES, models, {"percent": 100, "crypto": 100})


def slippage_model(text: str) -> Slippage:
    """Read slippage: `none`, or some of `bps=5`, `ticks=1`, `range=0.1`, by comma.

    Raises:
        ConfigError: The same.
    """
    return _read("slippage", text, NO_SLIPPAGE, {"none": NO_SLIPPAGE}, {"bps": 10_000, "range": 1})


def _read[M: FeeModel | Slippage](what: str, text: str, nothing: M, named: dict[str, M], maxima: dict[str, int]) -> M:
    """Read terms by comma: a name stands for the numbers of its model that are not 0; `none` forgets those before."""
    model, fields = nothing, nothing.__struct_fields__
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if not number and name == "none":
            model = nothing
        elif not number and name in named:
            terms = {field: getattr(named[name], field) for field in fields}
            model = msgspec.structs.replace(model, **{field: value for field, value in terms.items() if value})
        elif name in fields and (value := _number(number, maxima.get(name, _MAX))) is not None:
            model = msgspec.structs.replace(model, **{name: value})
        else:
            known = ", ".join([*named, *(f"{field}=0..{maxima.get(field, _MAX)}" for field in fields)])
            msg = f"{what}: {part.strip()!r} is none: use some of {known}, by comma"
            raise ConfigError(msg)
    return model


def _number(text: str, most: int) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and 0 <= value <= most else None


def _cents(value: Decimal) -> Decimal:
    return value.quantize(_CENT, rounding=ROUND_CEILING)
