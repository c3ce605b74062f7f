"""Risk's answer to a person's wish to change a working order: an intent that takes its place, or a denial.

The order as it would be is judged by the same rules as any other, as if the one it replaces did not work. Its quantity
may become smaller only: what is more than before is a new order. Until the venue has put it in the place of the old
one either may fill, so what the dearer of both needs is reserved. Part of engine.risk.core.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.bots import Bot, RiskLimits
from engine.ids import make_id
from engine.messages import OrderIntent, ReplaceOrder, RiskDenied
from engine.ordering import Terms
from engine.risk.exposure import Exposure
from engine.risk.judging import Judge
from engine.risk.proposal import Refusal
from engine.risk.state import RiskState
from engine.risk.working import OpenOrder
from engine.values import NS_PER_MS, ZERO, OrderClass, Purpose, money, plain, price_tick, round_to, to_decimal

_PRICES = ("limit_px", "stop_px")
_CHANGES = (*_PRICES, "trail_px", "trail_percent")


class Replacer:
    """Answers wishes to replace, and reserves for the orders that follow.

    Args:
        state: Risk's.
        bots: By name.
        limits: Of the rules.
        exposure: Sums over the portfolio; knows the last prices.
        judge: Judges the order as it would be.
    """

    def __init__(
        self, state: RiskState, bots: dict[str, Bot], limits: RiskLimits, *, exposure: Exposure, judge: Judge
    ) -> None:
        self._state = state
        self._bots = bots
        self._limits = limits
        self._exposure = exposure
        self._judge = judge

    def answer(self, wish: ReplaceOrder, now_ns: int) -> OrderIntent | RiskDenied:
        """Answer a wish."""
        state = self._state
        answer_id = make_id(state.account, state.run, "replace", wish.id)
        order = state.orders.get(wish.client_order_id)
        if order is None or not isinstance(order.body, OrderIntent):
            refusal = Refusal("replace", _why_not(order), "open orders", wish.client_order_id)
            return _denied(answer_id, wish, refusal, None, now_ns)
        old, changes = order.body, {name: px for name in _CHANGES if (px := getattr(wish, name)) is not None}
        quantity = old.quantity if wish.quantity is None else wish.quantity
        refusal = _refusal(old, changes, quantity, order.filled_qty) or self._far(changes, old)
        if refusal is not None:
            return _denied(answer_id, wish, refusal, old, now_ns)
        new = msgspec.structs.replace(
            old,
            id=answer_id,
            signal_id=wish.id,
            quantity=quantity,
            decided_ns=now_ns,
            valid_until=now_ns + self._limits.intent_valid_ms * NS_PER_MS,
            replaces=old.id,
            **changes,
        )
        judged = self._judged(old, new, order.filled_qty, now_ns)
        if isinstance(judged, Refusal):
            return _denied(answer_id, wish, judged, old, now_ns)
        return msgspec.structs.replace(new, reserved=judged)

    def _judged(self, old: OrderIntent, new: OrderIntent, filled: Decimal, now_ns: int) -> Decimal | Refusal:
        """Give the cash that the new order needs if none of it were filled, or why it may not be."""
        bot = self._bots.get(old.bot)
        if bot is None:
            return Refusal("bot", "no bot of this name is configured", "configured bots", old.bot)
        terms = Terms(new.order_type, new.time_in_force, new.limit_px, new.stop_px, new.trail_percent)
        terms = msgspec.structs.replace(terms, extended_hours=new.extended_hours)
        left, price = new.quantity - filled, self._exposure.last(old.symbol) or old.ref_px
        needed = self._judge.rejudge(bot, old, terms, left, price=price, now_ns=now_ns)
        if isinstance(needed, Refusal):
            return needed
        return money(max(old.reserved * new.quantity / old.quantity, needed * new.quantity / left))

    def _far(self, changes: dict[str, Decimal], old: OrderIntent) -> Refusal | None:
        """Refuse a price that is far from the last one known."""
        limits, last = self._judge.narrowed.of(old.bot, old.symbol), self._exposure.last(old.symbol)
        far_max = limits.price_move_fraction_max
        for name in _PRICES:
            if far_max is None or name not in changes:
                continue
            rule, limit = "price_move_fraction_max", to_decimal(far_max)
            if last is None:
                return Refusal(rule, "no price of the symbol is known", plain(limit), "unknown")
            move = abs(changes[name] - last) / last
            if move > limit:
                return Refusal(rule, f"{name} is far from the last price", plain(limit), plain(move))
        return None

    # --- cash --------------------------------------------------------------------------------------------------------

    def reserve_more(self, new: OrderIntent) -> None:
        """Reserve what an approved replacement needs beyond what the order does that it is to replace."""
        book, order = self._state.portfolio, self._state.orders.get(new.replaces)
        if order is None or new.purpose is Purpose.PROTECT:
            return
        held = book.reservations.get(new.replaces)
        needed = new.reserved * (new.quantity - order.filled_qty) / new.quantity
        more = needed - (ZERO if held is None else held.held_cash)
        if more > 0:
            book.reserve_for(new.id, f"{new.bot}|{new.symbol}", ZERO, money(more))

    def succeed(self, replaced: OpenOrder) -> None:
        """Let the order that took another's place count on from there, and reserve what is left."""
        for order in self._state.orders.values():
            body = order.body
            if isinstance(body, OrderIntent) and body.replaces == replaced.body.id:
                order.filled_qty = max(order.filled_qty, replaced.filled_qty)
                if body.purpose is Purpose.PROTECT:
                    continue  # it reserves nothing
                left, key = order.leaves_qty, f"{body.bot}|{body.symbol}"
                self._state.portfolio.release(body.id)
                cash = body.reserved * left / body.quantity
                self._state.portfolio.reserve_for(body.id, key, body.side.sign * left, money(cash))
                self._exposure.touch(body.bot, body.symbol)


def _why_not(order: OpenOrder | None) -> str:
    """Say why an order cannot be changed at all."""
    if order is None:
        return "no open order has this id: it ended or was replaced"
    if order.body.purpose is Purpose.PROTECT:
        return "it came with its entry and protects a position: it can be canceled, not changed"
    return "others placed it: it can be canceled, not changed"


def _refusal(old: OrderIntent, changes: dict[str, Decimal], quantity: Decimal, filled: Decimal) -> Refusal | None:
    if old.order_class is not OrderClass.SIMPLE or old.notional is not None:
        return Refusal("replace", "orders of a group and notional orders cannot be changed", "simple", old.order_class)
    if not changes and quantity == old.quantity:
        return Refusal("replace", "nothing would change", "a change", "none")
    if not quantity.is_finite() or not filled < quantity <= old.quantity:
        limit = f"above {plain(filled)}, at most {plain(old.quantity)}"
        return Refusal("replace", "the quantity may become smaller only", limit, str(quantity))
    for name, value in changes.items():
        if getattr(old, name) is None:
            return Refusal("replace", f"a {old.order_type} order has no {name}", "none", plain(value))
        if not value.is_finite() or value <= 0:
            return Refusal("price_sanity", f"{name} must be > 0", "0", str(value))
        if name in _PRICES and value != round_to(value, price_tick(old.symbol, value)):
            return Refusal(
                "replace", f"{name} is not on the venue's tick", plain(price_tick(old.symbol, value)), plain(value)
            )
    return None


def _denied(answer_id: str, wish: ReplaceOrder, refusal: Refusal, old: OrderIntent | None, now_ns: int) -> RiskDenied:
    return RiskDenied(
        id=answer_id,
        signal_id=wish.id,
        bot="manual" if old is None else old.bot,
        symbol="" if old is None else old.symbol,
        rule=refusal.rule,
        reason=refusal.reason,
        limit=refusal.limit,
        observed=refusal.observed,
        decided_ns=now_ns,
        side=None if old is None else old.side,
        quantity=wish.quantity,
    )
