"""Money and holdings of the account: cash, positions, executions and fee activities, in exact Decimals.

Promises:
1. Cash = start - cost of buys + proceeds of sells - commissions + net_amount of the other activities, exactly: never
   rounded.
2. A position's quantity = sum of signed fills + qty of the other activities of that symbol that move it.
3. A crypto fee is `fee bps * what is credited`, rounded half-even to 9 decimals: coins of a buy, USD of a sell
   (Alpaca charges in the credited asset). It is posted at once, not at the end of the day.

It asks no price and knows no order rules. Changed by the book alone.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

import msgspec

from adapters.exchange.calendar import new_york
from adapters.exchange.ids import make_uuid
from adapters.exchange.orders import Order
from engine.costs import NO_FEES, FeeModel
from engine.values import CRYPTO_LOT, ZERO, AssetClass, Side, plain, round_to

_BPS = Decimal(10_000)


class Position(msgspec.Struct, frozen=True):
    """Net holding of a symbol: negative is short; `avg_px` is the average entry price, rounded to 9 decimals."""

    symbol: str
    qty: Decimal
    avg_px: Decimal


class Execution(msgspec.Struct, frozen=True):
    """One fill."""

    id: str
    qty: Decimal
    price: Decimal
    cum_qty: Decimal
    ns: int
    commission: Decimal = ZERO


class Activity(msgspec.Struct, frozen=True):
    """An account activity: a fill (`FILL`), a crypto fee (`CFEE`), a row of a split, or one posted by control.

    `net_amount` is USD, negative for a cost. `qty` is told only where `moves_qty` is false (a dividend's shares).
    """

    id: str
    kind: str
    ns: int
    symbol: str
    qty: Decimal
    price: Decimal
    net_amount: Decimal = ZERO
    order_id: str = ""
    order_status: str = ""
    side: str = ""
    cum_qty: Decimal = ZERO
    leaves_qty: Decimal = ZERO
    is_partial: bool = False
    sub_kind: str = ""
    description: str = ""
    group: str = ""
    moves_qty: bool = True


class Ledger:
    """Cash, positions and activities.

    Args:
        cash: USD at the start.
        seed: Seed of the ids.
        crypto_fee_bps: Fee on crypto fills, basis points.
        fees: What is taken of the cash with each fill.
    """

    def __init__(self, cash: Decimal, seed: int, crypto_fee_bps: Decimal, fees: FeeModel = NO_FEES) -> None:
        self.cash = cash
        self.positions: dict[str, Position] = {}
        self.activities: list[Activity] = []
        self._taken = 0
        self.executions = 0
        self.fees = 0
        self._seed = seed
        self._fee_part = crypto_fee_bps / _BPS
        self._fees = None if fees == NO_FEES else fees

    def qty(self, symbol: str) -> Decimal:
        """Signed quantity held, 0 without a position."""
        position = self.positions.get(symbol)
        return position.qty if position else ZERO

    def fill(self, order: Order, qty: Decimal, price: Decimal, ns: int) -> Execution:
        """Book one fill of an order: cash, position, the order's totals and the activities.

        The order's status is set by the book before (the FILL activity carries it).
        """
        side, cost = order.terms.side, ZERO
        signed, value = qty * side.sign, qty * price
        if self._fees is not None:
            cost = self._fees.commission(order.terms.symbol, side, qty, price, is_first=not order.filled_qty)
        order.filled_qty += qty
        order.filled_cost += value
        execution_id = make_uuid(self._seed, "execution", order.id, plain(order.filled_qty))
        execution = Execution(execution_id, qty, price, order.filled_qty, ns, cost)
        self.executions += 1
        self.cash -= value * side.sign + cost
        is_done = order.status == "filled"
        leaves = ZERO if is_done or order.terms.qty is None else order.terms.qty - order.filled_qty
        activity = Activity(
            "", "FILL", ns, order.terms.symbol, qty, price, ZERO, order.id, order.status, side.value,
            order.filled_qty, leaves, not is_done,
        )  # fmt: skip
        self._post(activity)
        self._move(order.terms.symbol, signed, price)
        if order.terms.asset_class is AssetClass.CRYPTO and self._fee_part > 0:
            self._charge(order, qty, price, ns)
        return execution

    def positions_at(self, ns: int) -> dict[str, Position]:
        """The positions as they were at a time, ns UTC, made again from the activities."""
        then = Ledger(ZERO, self._seed, ZERO)
        for activity in self.activities:
            if activity.ns <= ns and activity.qty and activity.moves_qty:
                sign = -1 if activity.side == Side.SELL.value else 1
                then._move(activity.symbol, activity.qty * sign, activity.price)
        return then.positions

    def post(self, activity: Activity) -> Activity:
        """Book an activity that no order caused: its cash, and its quantity where that moves.

        Returns:
            The activity with its id.
        """
        self.cash += activity.net_amount
        if activity.moves_qty and activity.qty:
            self._move(activity.symbol, activity.qty, activity.price)
        if activity.net_amount or (activity.moves_qty and activity.qty):
            self.fees += 1
        return self._post(activity)

    def take_activities(self) -> list[Activity]:
        """Give all since the last call, oldest first, and forget them."""
        taken, self.activities = self.activities, []
        self._taken += len(taken)
        return taken

    def split(self, symbol: str, ratio: Decimal, ns: int, *, group: str) -> None:
        """Turn a holding into what it is after a split, by the two rows that Alpaca writes; the cost stays the same."""
        before = self.positions.get(symbol)
        if before is None:
            return
        after = round_to(before.qty * ratio, CRYPTO_LOT, ROUND_DOWN)
        told = (
            f"From QTY:{plain(-before.qty)}, To QTY:{plain(after)}, Position Value:{plain(before.qty * before.avg_px)}"
        )
        sub_kind = "FSPLIT" if ratio > 1 else "RSPLIT"
        for what, qty, price in (
            ("REMOVE", -before.qty, before.avg_px),
            ("ADD", after, round(before.avg_px / ratio, 9)),
        ):
            self._move(symbol, qty, price)
            row = Activity("", "SPLIT", ns, symbol, qty, price, sub_kind=sub_kind, group=group)
            self._post(msgspec.structs.replace(row, description=f"{what}, {told}"))

    def _charge(self, order: Order, qty: Decimal, price: Decimal, ns: int) -> None:
        symbol = order.terms.symbol
        self.fees += 1
        if order.terms.side is Side.BUY:
            coins = round_to(qty * self._fee_part, CRYPTO_LOT)
            self._move(symbol, -coins, price)
            self._post(Activity("", "CFEE", ns, symbol, -coins, price, ZERO, order.id, cum_qty=order.filled_qty))
        else:
            usd = round_to(qty * price * self._fee_part, CRYPTO_LOT)
            self.cash -= usd
            self._post(Activity("", "CFEE", ns, symbol, ZERO, price, -usd, order.id, cum_qty=order.filled_qty))

    def _move(self, symbol: str, signed: Decimal, price: Decimal) -> None:
        """Change a position by average cost; through zero, the rest opens at `price`."""
        before = self.positions.get(symbol)
        held = before.qty if before else ZERO
        after = held + signed
        if after == 0:
            self.positions.pop(symbol, None)
        elif before is None or held * after < 0:
            self.positions[symbol] = Position(symbol, after, price)
        elif abs(after) > abs(held):
            average = round((before.avg_px * held + price * signed) / after, 9)
            self.positions[symbol] = Position(symbol, after, average)
        else:
            self.positions[symbol] = Position(symbol, after, before.avg_px)

    def _post(self, activity: Activity) -> Activity:
        """Give the activity its id: New York time to the millisecond, and a UUID from its content."""
        moment = new_york(activity.ns)
        stamp = f"{moment:%Y%m%d%H%M%S}{activity.ns // 1_000_000 % 1000:03d}"
        content = (activity.kind, activity.order_id, plain(activity.cum_qty))
        if not activity.order_id:
            number = self._taken + len(self.activities)
            content += (activity.symbol, activity.description, activity.group, str(number))
        named = msgspec.structs.replace(activity, id=f"{stamp}::{make_uuid(self._seed, 'activity', *content)}")
        self.activities.append(named)
        return named
