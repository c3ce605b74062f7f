"""What bringing an account to nothing comes to: what is in the way, which orders to send, when it is flat.

Invariants:
1. An order is sent toward zero only, for no more than the venue reports as held, in a symbol in which nothing is open.
2. Its id is made of the halt, the symbol and the round, and a round begins only when the one before has ended at the
   venue. So the command may be killed anywhere, run again, or run twice: an order exists once, whoever sent it.
3. Positions lag behind fills (up to 10 s at Alpaca, Alpaca-API #276). What is held is believed when nothing was traded
   in the symbol for that long, or when it is exactly what the last round left and nobody else traded since.
Pure; carried out by tapeline.fence.flatten, which asks in this order: open orders, ends of our own ones, executions,
positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_DOWN, Decimal

import msgspec

from engine.adoption import FLATTEN, FLATTEN_PREFIX
from engine.messages import OrderIntent
from engine.orders import has_ended
from engine.ports import OpenOrder, VenueExecution, VenueOrder
from engine.values import (
    CRYPTO_LOT,
    NS_PER_MINUTE,
    NS_PER_S,
    ZERO,
    AssetClass,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
    asset_class_of,
    round_to,
)

_LATCH_DIGITS = 16
_VALID_NS = 10 * NS_PER_MINUTE


class Look(msgspec.Struct, frozen=True):
    """What the venue said in one look.

    Attributes:
        now_ns: Venue time at its beginning.
        open_orders: Everything open at the account.
        is_whole: Whether `open_orders` holds all of it.
        executions: At least those since `now_ns` less the lag of positions.
        positions: Signed quantities by canonical symbol.
        sessions: Regular sessions (open, close) of equities around now.
    """

    now_ns: int
    open_orders: Sequence[OpenOrder]
    executions: Sequence[VenueExecution]
    positions: dict[str, Decimal]
    sessions: Sequence[tuple[int, int]]
    is_whole: bool = True


class Plan(msgspec.Struct, frozen=True):
    """What follows from a look; by symbol and why: `waiting` for the venue, `queued` for its opening, `stuck`.

    Attributes:
        cancel: Orders in the way, whoever placed them.
        send: Market orders to send now, one per symbol.
        is_flat: Nothing is open, nothing is held, and the venue can be believed.
    """

    cancel: tuple[OpenOrder, ...]
    send: tuple[OrderIntent, ...]
    waiting: dict[str, str]
    queued: dict[str, str]
    stuck: dict[str, str]
    is_flat: bool

    @property
    def is_over(self) -> bool:
        """Whether no further look can change anything: flat, or what is left is queued or stuck."""
        return not (self.cancel or self.send or self.waiting)


class _Round(msgspec.Struct, frozen=True):
    number: int
    order: VenueOrder


class Flattening:
    """The rounds of one halt.

    Args:
        latch_id: Id of the halt, at least 16 characters.
        token_of: Writes a symbol as a part of an id (`BTC/USD` -> `BTC%2FUSD`), injectively.
        lag_ns: How long positions may lag behind fills.
        refusals_max: After so many refusals of the venue a symbol counts as stuck.
    """

    def __init__(
        self, latch_id: str, token_of: Callable[[str], str], lag_ns: int = 10 * NS_PER_S, refusals_max: int = 5
    ) -> None:
        self.prefix = f"{FLATTEN_PREFIX}{latch_id[:_LATCH_DIGITS]}-"
        self._token_of = token_of
        self._lag_ns = lag_ns
        self._refusals_max = refusals_max
        self._rounds: dict[str, _Round] = {}
        self._refusals: dict[str, list[str]] = {}
        self._began_ns = 0

    # --- what happened -----------------------------------------------------------------------------------------------

    def learn(self, order: VenueOrder) -> None:
        """Take in one of our orders as the venue has it; a later round replaces an earlier one."""
        number = self._round_of(order.client_order_id, order.symbol)
        known = self._rounds.get(order.symbol)
        if not number or (known is not None and number < known.number):
            return
        self._rounds[order.symbol] = _Round(number, order)
        # Also after it was taken (Alpaca-API #107). What an earlier run met is not counted: run again, it tries again.
        if order.status == "rejected" and order.submitted_ns >= self._began_ns:
            self.refused(order.symbol, "the venue took its closing order and rejected it afterwards")
        elif order.filled_qty:
            self._refusals.pop(order.symbol, None)

    def refused(self, symbol: str, reason: str) -> None:
        """Note that the venue refused an order of the symbol."""
        self._refusals.setdefault(symbol, []).append(reason)

    def unknown(self, open_orders: Iterable[OpenOrder]) -> list[str]:
        """Give the ids of our orders that must be asked for: open ones we do not know, known ones that vanished."""
        found = {order.client_order_id: order.symbol for order in open_orders if self._is_ours(order)}
        new = {key for key, symbol in found.items() if key != self._last_id(symbol)}
        vanished = {
            last.order.client_order_id
            for last in self._rounds.values()
            if not has_ended(last.order.status) and last.order.client_order_id not in found
        }
        return sorted(new | vanished)

    # --- what to do --------------------------------------------------------------------------------------------------

    def in_the_way(self, open_orders: Iterable[OpenOrder]) -> tuple[OpenOrder, ...]:
        """Give the orders to cancel: all but those of this halt."""
        return tuple(order for order in open_orders if not self._is_ours(order))

    def plan(self, look: Look) -> Plan:
        """Decide what follows from a look."""
        self._began_ns = self._began_ns or look.now_ns
        others = self.in_the_way(look.open_orders)
        blocked = {order.symbol for order in others}
        symbols = blocked | look.positions.keys() | self._rounds.keys()
        symbols |= {order.symbol for order in look.open_orders}
        symbols |= {execution.symbol for execution in self._recent(look)}
        send: list[OrderIntent] = []
        waiting: dict[str, str] = {}
        queued: dict[str, str] = {}
        stuck: dict[str, str] = {}
        for symbol in sorted(symbols):
            held = look.positions.get(symbol, ZERO)
            if symbol in blocked:
                waiting[symbol] = "an order is still open at the venue"
            elif self._is_working(symbol, look):
                if _is_open(symbol, look):
                    waiting[symbol] = "its closing order is still open at the venue"
                else:
                    queued[symbol] = "its closing order waits for the session"
            elif not look.is_whole:
                waiting[symbol] = "more orders are open than the venue lists at once"
            elif not self._is_believed(symbol, held, look):
                waiting[symbol] = f"traded less than {self._lag_ns // NS_PER_S} s ago: its position may lag behind"
            elif held:
                intent = self._close(symbol, held, look.now_ns)
                if isinstance(intent, str):
                    stuck[symbol] = intent
                else:
                    send.append(intent)
        is_flat = not (look.open_orders or send or waiting or queued or stuck)
        return Plan(others, tuple(send), waiting, queued, stuck, is_flat and look.is_whole)

    def _close(self, symbol: str, held: Decimal, now_ns: int) -> OrderIntent | str:
        """Give the market order that brings `held` to nothing, or why there is none."""
        refusals = self._refusals.get(symbol, [])
        if len(refusals) >= self._refusals_max:
            return refusals[-1]
        quantity = round_to(abs(held), CRYPTO_LOT, ROUND_DOWN)
        if not quantity:
            return f"{held} is less than the venue can trade"
        last = self._rounds.get(symbol)
        is_crypto = asset_class_of(symbol) is AssetClass.CRYPTO
        return OrderIntent(
            id=self._id(symbol, last.number + 1 if last else 1),
            signal_id=self.prefix,
            bot=FLATTEN,
            symbol=symbol,
            side=Side.SELL if held > 0 else Side.BUY,
            quantity=quantity,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.GTC if is_crypto else TimeInForce.DAY,
            ref_px=ZERO,
            reserved=ZERO,
            decided_ns=now_ns,
            valid_until=now_ns + _VALID_NS,
            purpose=Purpose.FLATTEN,
        )

    # --- what is known -----------------------------------------------------------------------------------------------

    def _is_working(self, symbol: str, look: Look) -> bool:
        """Whether an order of ours may still fill: one that is listed as open, or whose end is not known."""
        last = self._rounds.get(symbol)
        is_listed = any(order.symbol == symbol and self._is_ours(order) for order in look.open_orders)
        return is_listed or (last is not None and not has_ended(last.order.status))

    def _is_believed(self, symbol: str, held: Decimal, look: Look) -> bool:
        recent = [execution for execution in self._recent(look) if execution.symbol == symbol]
        last = self._rounds.get(symbol)
        if last is None:
            return not recent
        order = last.order
        ordered = order.filled_qty if order.quantity is None else order.quantity
        left = -order.side.sign * (ordered - order.filled_qty)
        is_ours = all(e.venue_order_id == order.venue_order_id or e.ts_event < order.submitted_ns for e in recent)
        if held == left and is_ours:
            return True
        return not recent and order.updated_ns <= look.now_ns - self._lag_ns

    def _recent(self, look: Look) -> list[VenueExecution]:
        return [execution for execution in look.executions if execution.ts_event > look.now_ns - self._lag_ns]

    # --- ids ---------------------------------------------------------------------------------------------------------

    def _is_ours(self, order: OpenOrder) -> bool:
        return self._round_of(order.client_order_id, order.symbol) > 0

    def _last_id(self, symbol: str) -> str:
        last = self._rounds.get(symbol)
        return last.order.client_order_id if last else ""

    def _id(self, symbol: str, number: int) -> str:
        return f"{self.prefix}{self._token_of(symbol)}-{number}"

    def _round_of(self, client_order_id: str, symbol: str) -> int:
        """Give the round that an id names, 0 if it is no order of this halt in this symbol."""
        stem, _, number = client_order_id.rpartition("-")
        if stem != f"{self.prefix}{self._token_of(symbol)}" or not (number.isascii() and number.isdigit()):
            return 0
        return int(number)


def _is_open(symbol: str, look: Look) -> bool:
    """Whether the symbol trades now; an unknown calendar says no."""
    if asset_class_of(symbol) is AssetClass.CRYPTO:
        return True
    return any(opening <= look.now_ns < closing for opening, closing in look.sessions)
