"""Orders of the account that work now, by bot and symbol: which wait in the book, which protect, and how much.

Part of risk's state, written to checkpoints as it is; moved by stored messages only. What working orders reserve is
the portfolio's; here is what they are. Called by engine.risk.core and guards.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from engine.messages import (
    Fill,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    Split,
)
from engine.splits import goes_along, restated
from engine.values import ZERO, OrderType, Purpose, TimeInForce

OrderEnd = OrderRejected | OrderFilled | OrderCanceled | OrderExpired | OrderReplaced
_AT_ONCE = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})


class OpenOrder(msgspec.Struct):
    """An order that no terminal event was stored for.

    Attributes:
        is_accepted: The venue has it.
        is_unwanted: Somebody wishes it to end, and the wish is stored.
    """

    body: OrderIntent | OrderAdopted
    filled_qty: Decimal = ZERO
    is_accepted: bool = False
    is_unwanted: bool = False

    @property
    def leaves_qty(self) -> Decimal:
        """What may still fill."""
        return self.body.quantity - self.filled_qty

    @property
    def is_resting(self) -> bool:
        """Whether it may wait in the book for long: anything but a market order that trades at once."""
        return not (self.body.order_type is OrderType.MARKET and self.body.time_in_force in _AT_ONCE)

    @property
    def group(self) -> str:
        """Id of the order whose exits belong together."""
        return (self.body.parent if isinstance(self.body, OrderAdopted) else "") or self.body.id


class Working:
    """The open orders.

    Args:
        orders: By client_order_id, oldest first; changed here only.
    """

    def __init__(self, orders: dict[str, OpenOrder]) -> None:
        self._orders = orders
        self._by_symbol: dict[str, dict[str, OpenOrder]] = {}
        for key, order in orders.items():
            self._by_symbol.setdefault(order.body.symbol, {})[key] = order

    def get(self, client_order_id: str) -> OpenOrder | None:
        """Give an open order."""
        return self._orders.get(client_order_id)

    def add(self, body: OrderIntent | OrderAdopted) -> None:
        """Take one in."""
        is_there = isinstance(body, OrderAdopted)
        order = self._orders[body.id] = OpenOrder(body, body.filled_qty if is_there else ZERO, is_there)
        self._by_symbol.setdefault(body.symbol, {})[body.id] = order

    def accept(self, client_order_id: str) -> OpenOrder | None:
        """Note that the venue has one; give it if that is news."""
        order = self._orders.get(client_order_id)
        if order is None or order.is_accepted:
            return None
        order.is_accepted = True
        return order

    def unwanted(self, client_order_id: str) -> OpenOrder:
        """Note that somebody wishes an open one to end; give it."""
        order = self._orders[client_order_id]
        order.is_unwanted = True
        return order

    def fill(self, fill: Fill) -> None:
        """Note an execution."""
        order = self._orders.get(fill.client_order_id)
        if order is not None:
            order.filled_qty += fill.last_qty

    def split(self, split: Split) -> list[OpenOrder]:
        """Restate the orders that the venue takes along through a split; give them."""
        there = self._by_symbol.get(split.symbol, {})
        found = {
            key: order
            for key, order in there.items()
            if order.is_accepted and _since(order.body) < split.ts_event and goes_along(order.body, split.ratio)
        }
        for key, order in found.items():
            order.body = restated(order.body, split, order.filled_qty)
            del there[key]
            self._by_symbol.setdefault(split.new_symbol, {})[key] = order
        return list(found.values())

    def end(self, client_order_id: str) -> OpenOrder | None:
        """Take one out; give it if it was there."""
        order = self._orders.pop(client_order_id, None)
        if order is not None:
            del self._by_symbol[order.body.symbol][client_order_id]
        return order

    def of(self, bot: str, symbol: str) -> list[OpenOrder]:
        """Give a bot's orders in a symbol."""
        return [order for order in self._by_symbol.get(symbol, {}).values() if order.body.bot == bot]

    def of_bot(self, bot: str) -> list[OpenOrder]:
        """Give all orders of a bot."""
        return [order for order in self._orders.values() if order.body.bot == bot]

    def against(self, bot: str, symbol: str, sign: int) -> list[OpenOrder]:
        """Give the orders of others in a symbol that are on the other side, exits of groups left out."""
        return [
            order
            for order in self._by_symbol.get(symbol, {}).values()
            if order.body.bot != bot and order.body.side.sign != sign and order.body.purpose is not Purpose.PROTECT
        ]

    def coverage(self, bot: str, symbol: str) -> Decimal:
        """Give the quantity that exits at the venue protect: of each group its smallest, once its entry is filled.

        A group of which a part was asked to end protects nothing any more: it ends as a whole, and when it does, and
        whether it fills before, only the venue knows.
        """
        smallest: dict[str, Decimal] = {}
        for order in self.of(bot, symbol):
            if order.body.purpose is not Purpose.PROTECT or not order.is_accepted or self.waits_for_entry(order):
                continue
            leaves = ZERO if order.is_unwanted else order.leaves_qty
            smallest[order.group] = min(smallest.get(order.group, leaves), leaves)
        return sum(smallest.values(), ZERO)

    def levels_at_venue(self, bot: str, symbol: str) -> tuple[Decimal | None, Decimal | None]:
        """Give the farthest stop and target of a bot's exits in the venue's book; None where there is none."""
        exits = [one for one in self.of(bot, symbol) if one.body.purpose is Purpose.PROTECT and one.is_accepted]
        bodies = [one.body for one in exits if not self.waits_for_entry(one)]
        own = [body.stop_loss_px for body in bodies if isinstance(body, OrderIntent)]
        stops = [px for px in (*own, *(body.stop_px for body in bodies)) if px is not None]
        targets = [body.limit_px for body in bodies if body.limit_px is not None and body.stop_px is None]
        is_long = all(body.side.sign < 0 for body in bodies)
        low, high = (min, max) if is_long else (max, min)
        return low(stops, default=None), high(targets, default=None)

    def exits_against(self, bot: str, symbol: str, sign: int) -> list[OpenOrder]:
        """Give the exits of others in a symbol that are on the other side and in the venue's book."""
        return [
            order
            for order in self._by_symbol.get(symbol, {}).values()
            if order.body.bot != bot
            and order.body.side.sign != sign
            and order.body.purpose is Purpose.PROTECT
            and not self.waits_for_entry(order)
        ]

    def has_held_exits(self, bot: str, symbol: str) -> bool:
        """Whether a bot has exits that the venue holds back until their entry is filled."""
        return any(
            order.body.purpose is Purpose.PROTECT and self.waits_for_entry(order) for order in self.of(bot, symbol)
        )

    def waits_for_entry(self, order: OpenOrder) -> bool:
        """Whether the venue holds an exit back since its entry is not filled yet."""
        entry = self._orders.get(order.group)
        return entry is not None and entry.body.purpose is not Purpose.PROTECT

    def ids(self, orders: Iterable[OpenOrder]) -> list[str]:
        """Name orders."""
        return [order.body.id for order in orders]


def _since(body: OrderIntent | OrderAdopted) -> int:
    return body.decided_ns if isinstance(body, OrderIntent) else body.ts_event
