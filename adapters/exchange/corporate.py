"""Splits at the exchange: announced, done overnight, and what they do to prices, holdings and open orders.

A split is announced at once and done before the first minute that opens on its ex-date (or before the next minute,
where asked for). From then on bars are the source's divided by the ratio; bars before it stay as they were, and are
divided only where adjusted history is asked for. Open orders, after Alpaca's documentation ("Orders at Alpaca") and
FINRA rule 5330: of a forward split a simple order is adjusted and an order of a group (sent DNR/DNC) stays as it is; a
reverse split cancels every order of the symbol. Called by the venue and the control URL. Pure.
"""

from __future__ import annotations

from datetime import date, time
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from adapters.exchange import ids
from adapters.exchange.bars import SymbolHistory, VenueBar
from adapters.exchange.calendar import VenueCalendar, new_york, ns_of
from adapters.exchange.orders import Order, decimals
from engine.values import CRYPTO_LOT, Side, price_tick, round_to

OrdersPolicy = Literal["venue", "keep", "adjust", "cancel"]


class SplitRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /control/splits: a ratio (4, 0.1), or new_rate and old_rate; when; and what happens to orders.

    Attributes:
        ex_date: First day at the new prices; null is the next trading day.
        at_once: Before the next minute instead.
        orders: `venue` does as Alpaca does; the others do it to every open order.
    """

    symbol: str
    ratio: Decimal | None = None
    new_rate: Decimal | None = None
    old_rate: Decimal | None = None
    ex_date: date | None = None
    at_once: bool = False
    orders: OrdersPolicy = "venue"


class Split(msgspec.Struct, frozen=True):
    """An announced split."""

    id: str
    symbol: str
    new_rate: Decimal
    old_rate: Decimal
    ex_date: date
    effective_ns: int
    declared_on: date
    orders: OrdersPolicy

    @property
    def ratio(self) -> Decimal:
        """New shares for an old one."""
        return self.new_rate / self.old_rate

    @property
    def is_reverse(self) -> bool:
        """True when there are fewer shares afterwards."""
        return self.new_rate < self.old_rate


class SplitError(ValueError):
    """A split that cannot be; the text says what and why."""


class Splits:
    """All splits of a run.

    Args:
        seed: Of the ids.
        calendar: Trading days.
    """

    def __init__(self, seed: int, calendar: VenueCalendar) -> None:
        self._seed = seed
        self._calendar = calendar
        self.announced: list[Split] = []
        self._done: dict[str, list[Split]] = {}

    def announce(self, request: SplitRequest, symbol: str, now_ns: int, next_open_ns: int | None) -> Split:
        """Take a split in.

        Args:
            request: The body.
            symbol: Its canonical symbol.
            now_ns: Venue time.
            next_open_ns: Open of the next minute that has bars; None at the end.

        Raises:
            SplitError: There is no such ratio, the day is past, or the market is at its end.
        """
        new_rate, old_rate = _rates(request)
        if "/" in symbol:
            msg = f"{symbol} is a coin: only stocks are split"
            raise SplitError(msg)
        if next_open_ns is None:
            msg = "the market is at its end: no minute is left for a split"
            raise SplitError(msg)
        if request.at_once:
            ex_date, effective_ns = new_york(next_open_ns).date(), next_open_ns
        else:
            ex_date = request.ex_date or self._next_day(now_ns)
            effective_ns = ns_of(ex_date, time(0))
            if effective_ns <= now_ns:
                msg = f"ex_date must be after {new_york(now_ns).date()}, was {ex_date}"
                raise SplitError(msg)
        split = Split(
            ids.make_uuid(self._seed, "split", symbol, ex_date.isoformat(), len(self.announced)),
            symbol, new_rate, old_rate, ex_date, effective_ns, new_york(now_ns).date(), request.orders,
        )  # fmt: skip
        self.announced.append(split)
        return split

    def _next_day(self, now_ns: int) -> date:
        session = self._calendar.next_open(now_ns)
        is_today = session.day == new_york(now_ns).date()
        return self._calendar.next_open(session.open_ns).day if is_today else session.day

    def due(self, open_ns: int) -> list[Split]:
        """Give the splits to be done before the minute that opens then, and count them as done."""
        found = [
            split for split in self.announced
            if split.effective_ns <= open_ns and split not in self._done.get(split.symbol, [])
        ]  # fmt: skip
        for split in sorted(found, key=lambda split: (split.effective_ns, split.symbol, split.id)):
            self._done.setdefault(split.symbol, []).append(split)
        return found

    def factor_since(self, symbol: str, open_ns: int) -> Decimal:
        """By how much a price of a bar that opened then is too high today: the ratios of the splits done since."""
        factor = Decimal(1)
        for split in self._done.get(symbol, ()):
            if open_ns < split.effective_ns:
                factor *= split.ratio
        return factor

    def scaled(self, bars: list[VenueBar]) -> list[VenueBar]:
        """Give the source's bars at today's prices: the source knows of no split."""
        if not self._done:
            return bars
        return [divided(bar, self.factor_since(bar.symbol, -1)) for bar in bars]

    def adjusted(self, known: SymbolHistory) -> SymbolHistory:
        """The history at today's prices."""
        if known.symbol not in self._done:
            return known
        made = SymbolHistory(known.symbol)
        for index in range(len(known)):
            made.append(divided(known.bar(index), self.factor_since(known.symbol, known.open_ns[index])))
        return made


def _rates(request: SplitRequest) -> tuple[Decimal, Decimal]:
    if request.ratio is not None:
        if not request.ratio.is_finite() or request.ratio <= 0 or request.ratio == 1:
            msg = f"ratio must be above 0 and not 1, was {request.ratio}"
            raise SplitError(msg)
        fraction = Fraction(request.ratio)
        return Decimal(fraction.numerator), Decimal(fraction.denominator)
    new_rate, old_rate = request.new_rate, request.old_rate
    if new_rate is None or old_rate is None or not (new_rate > 0 < old_rate) or new_rate == old_rate:
        msg = f"ratio, or new_rate and old_rate above 0, must be given, was {new_rate} for {old_rate}"
        raise SplitError(msg)
    return new_rate, old_rate


def divided(bar: VenueBar, factor: Decimal) -> VenueBar:
    """The bar with its prices divided and its volume multiplied by a factor."""
    if factor == 1:
        return bar
    by = float(factor)
    return msgspec.structs.replace(
        bar, open=round(bar.open / by, 4), high=round(bar.high / by, 4), low=round(bar.low / by, 4),
        close=round(bar.close / by, 4), volume=float(round(bar.volume * by)), vwap=round(bar.vwap / by, 6),
    )  # fmt: skip


def fate_of(order: Order, split: Split) -> OrdersPolicy:
    """What happens to an open order: keep, adjust or cancel."""
    if split.orders != "venue":
        return split.orders
    if split.is_reverse:
        return "cancel"
    return "keep" if order.order_class else "adjust"


def adjust(order: Order, ratio: Decimal) -> bool:
    """Put an open order at the new prices: what is left is multiplied, what is filled stays what it was.

    Returns:
        False, and nothing is changed, when less than a share would be left.
    """
    terms = order.terms
    qty = terms.qty
    if qty is not None:
        lot = CRYPTO_LOT if decimals(qty) else Decimal(1)
        left = round_to(order.leaves_qty * ratio, lot, ROUND_DOWN)
        if left <= 0:
            return False
        qty = order.filled_qty + left
    is_sale = terms.side is Side.SELL
    order.terms = msgspec.structs.replace(
        terms,
        qty=qty,
        limit_px=_at(terms.symbol, terms.limit_px, ratio, up=is_sale),
        stop_px=_at(terms.symbol, terms.stop_px, ratio, up=not is_sale),
        trail_px=_at(terms.symbol, terms.trail_px, ratio, up=True),
    )
    if order.hwm is not None:
        order.hwm = _at(terms.symbol, order.hwm, ratio, up=is_sale)
    return True


def _at(symbol: str, price: Decimal | None, ratio: Decimal, *, up: bool) -> Decimal | None:
    if price is None:
        return None
    exact = price / ratio
    tick = price_tick(symbol, exact)
    below = exact - exact % tick
    return below + tick if up and below != exact else below
