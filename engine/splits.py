"""What a split does to numbers: quantities of holdings and orders, prices, bars. Used by whoever keeps any of them.

Quantities are kept to 1e-9, the venue's smallest step, computed with 60 digits: a ratio such as 1/3 has 28, so nine
shares become three and not 2.999999997. Open orders as by FINRA rule 5330: what is left goes down to whole shares,
prices to the tick that is worse for nobody; executor compares with what the venue made of them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Context, Decimal

import msgspec

from engine.messages import Bar, FillTold, OrderAdopted, OrderIntent, Split, Ticks
from engine.messages.market import PastBar
from engine.values import ZERO, OrderClass, Side, normal, price_tick, round_to

_STEP = Decimal("0.000000001")
_WHOLE = Decimal(1)
_EXACT = Context(prec=60)


def times(quantity: Decimal, ratio: Decimal) -> Decimal:
    """Give a quantity after a split, to 1e-9."""
    return normal(_EXACT.multiply(quantity, ratio).quantize(_STEP, ROUND_HALF_EVEN, context=_EXACT))


def divided(price: Decimal, ratio: Decimal) -> Decimal:
    """Give a price after a split, to 1e-9."""
    return normal(_EXACT.divide(price, ratio).quantize(_STEP, ROUND_HALF_EVEN, context=_EXACT))


def net_after(net: Decimal, split: Split) -> Decimal:
    """Give what the account holds after a split, of what it held in the symbol before."""
    return normal(times(net, split.ratio) - split.fraction_qty)


class Part(msgspec.Struct, frozen=True):
    """What a split makes of one bot's holding.

    Attributes:
        quantity: Held after it, before `given` is taken off.
        given: Signed quantity that the venue did not keep of it.
    """

    quantity: Decimal
    given: Decimal = ZERO


def shared_out(held: Mapping[str, Decimal], split: Split) -> dict[str, Part]:
    """Give what each holder has after a split; together exactly what the account has.

    What the venue does not keep is taken off those that hold its sign, the largest fraction of a share first, then by
    name. A rest of rounding, a few 1e-9, goes to the largest holder.
    """
    after = {name: times(quantity, split.ratio) for name, quantity in held.items()}
    given = dict.fromkeys(after, ZERO)
    left, sign = split.fraction_qty, 1 if split.fraction_qty > 0 else -1
    holders = sorted((n for n, q in after.items() if q * sign > 0), key=lambda n: (-(abs(after[n]) % _WHOLE), n))
    for whole in (False, True):  # parts of shares first, then, if that is not enough, shares
        for name in holders:
            has = abs(after[name] - given[name])
            part = min(abs(left), has if whole else has % _WHOLE)
            given[name] += sign * part
            left -= sign * part
    net = sum(held.values(), ZERO)
    rest = net_after(net, split) - sum(after.values(), ZERO) + sum(given.values(), ZERO)
    if rest and after:
        largest = min(after, key=lambda n: (-abs(after[n]), n))
        after[largest] += rest
    return {name: Part(after[name], given[name]) for name in after}


def order_quantity(quantity: Decimal, ratio: Decimal) -> Decimal:
    """Give an order's quantity after a split; one of whole shares goes down to whole shares, if one is left."""
    after = times(quantity, ratio)
    whole = after.quantize(_WHOLE, ROUND_DOWN)
    return whole if quantity == quantity.to_integral_value() and whole else after


def goes_along(order: OrderIntent | OrderAdopted, ratio: Decimal) -> bool:
    """Whether the venue takes an open order through a split: a simple one through a forward split."""
    return ratio == 1 or (ratio > 1 and order.order_class is OrderClass.SIMPLE)


def restated(order: OrderIntent | OrderAdopted, split: Split, filled: Decimal = ZERO) -> OrderIntent | OrderAdopted:
    """Give an open order as it is after a split: what is left is multiplied, what is filled stays what it was.

    Args:
        order: As it was.
        split: That takes it along.
        filled: Of its quantity.
    """
    changes: dict[str, object] = {"symbol": split.new_symbol}
    if split.ratio != 1:
        changes["quantity"] = normal(filled + order_quantity(order.quantity - filled, split.ratio))
        up = {"limit_px": order.side is Side.SELL, "stop_px": order.side is Side.BUY, "trail_px": True}
        for name, is_up in up.items():
            price: Decimal | None = getattr(order, name)
            if price is not None:
                after = divided(price, split.ratio)
                tick = price_tick(split.new_symbol, after)
                changes[name] = normal(round_to(after, tick, ROUND_UP if is_up else ROUND_DOWN))
        if isinstance(order, OrderIntent):
            changes["ref_px"] = divided(order.ref_px, split.ratio)
    return msgspec.structs.replace(order, **changes)


def adjusted(bar: Bar, ratio: Decimal, symbol: str) -> Bar:
    """Give a bar from before a split in the shares of after it."""
    factor = float(ratio)
    return msgspec.structs.replace(
        bar,
        symbol=symbol,
        open=bar.open / factor,
        high=bar.high / factor,
        low=bar.low / factor,
        close=bar.close / factor,
        volume=bar.volume * factor,
        vwap=None if bar.vwap is None else bar.vwap / factor,
    )


def after_split(told: FillTold, split: Split) -> FillTold:
    """Give a fill in the shares of after a split, if it came before that."""
    if told.symbol != split.symbol or told.ts_event > split.ts_event:
        return told
    return msgspec.structs.replace(
        told,
        symbol=split.new_symbol,
        quantity=times(told.quantity, split.ratio),
        price=divided(told.price, split.ratio),
        position=times(told.position, split.ratio),
        average_px=divided(told.average_px, split.ratio),
    )


def bar_after(bar: Bar, split: Split) -> Bar:
    """Give a bar in the shares of after a split, if it came before that."""
    known_ns = bar.as_of if isinstance(bar, PastBar) else bar.ts_event
    is_before = bar.symbol == split.symbol and known_ns <= split.ts_event
    return adjusted(bar, split.ratio, split.new_symbol) if is_before else bar


def _ticks_after(ticks: Ticks, split: Split) -> Ticks:
    if ticks.symbol != split.symbol or ticks.ts_event > split.ts_event:
        return ticks
    factor = float(split.ratio)
    return msgspec.structs.replace(
        ticks,
        symbol=split.new_symbol,
        trades=tuple((ts, px / factor, size * factor) for ts, px, size in ticks.trades),
        quotes=tuple((ts, bid / factor, ask / factor) for ts, bid, ask in ticks.quotes),
    )


class SplitBook:
    """Every split that is known, and bars, ticks and fills as they are after all of them."""

    def __init__(self) -> None:
        self.known: dict[str, Split] = {}
        self._symbols: frozenset[str] = frozenset()

    def add(self, split: Split) -> None:
        """Take one in; one that is known changes nothing."""
        self.known[split.id] = split
        self.known = dict(sorted(self.known.items(), key=lambda item: (item[1].ts_event, item[0])))
        self._symbols |= {split.symbol}

    def names(self, symbol: str) -> set[str]:
        """Give a symbol with the names that it had before."""
        found, count = {symbol}, 0
        while len(found) > count:
            count = len(found)
            found |= {split.symbol for split in self.known.values() if split.new_symbol in found}
        return found

    def chained(self, bar: Bar) -> Bar:
        """Give a bar in today's shares and under today's name."""
        if bar.symbol not in self._symbols:
            return bar
        for split in self.known.values():
            bar = bar_after(bar, split)
        return bar

    def chained_ticks(self, ticks: Ticks) -> Ticks:
        """Give ticks in today's shares and under today's name."""
        for split in self.known.values() if ticks.symbol in self._symbols else ():
            ticks = _ticks_after(ticks, split)
        return ticks

    def chained_fill(self, told: FillTold) -> FillTold:
        """Give a fill in today's shares and under today's name."""
        for split in self.known.values() if told.symbol in self._symbols else ():
            told = after_split(told, split)
        return told
