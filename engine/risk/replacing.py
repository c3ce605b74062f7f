"""Risk's answer to a person's wish to change a working order: an intent that takes its place, or a denial.

An order may become cheaper or smaller, not larger: what is more than before is a new order, for all rules to judge.
Part of engine.risk.core.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from engine.bots import RiskLimits
from engine.ids import make_id
from engine.messages import OrderIntent, ReplaceOrder, RiskDenied
from engine.risk.exposure import Exposure
from engine.risk.proposal import Refusal
from engine.risk.state import RiskState
from engine.risk.working import OpenOrder, Working
from engine.values import NS_PER_MS, OrderClass, TradingMode, money, plain, price_tick, round_to, to_decimal

_PRICES = ("limit_px", "stop_px")
_CHANGES = (*_PRICES, "trail_px", "trail_percent")


def answer_replace(
    wish: ReplaceOrder,
    working: Working,
    state: RiskState,
    limits: RiskLimits,
    *,
    now_ns: int,
    last: Callable[[str], Decimal | None],
) -> OrderIntent | RiskDenied:
    """Answer a wish.

    Args:
        wish: What a person wants.
        working: The open orders.
        state: Risk's.
        limits: Of the rules.
        now_ns: Venue time of the decision.
        last: Gives the last known price of a symbol.
    """
    answer_id = make_id(state.account, state.run, "replace", wish.id)
    order = working.get(wish.client_order_id)
    if order is None or not isinstance(order.body, OrderIntent):
        refusal = Refusal("replace", "no open order of ours has this id", "open orders", wish.client_order_id)
        return _denied(answer_id, wish, refusal, None, now_ns)
    old = order.body
    changes = {name: getattr(wish, name) for name in _CHANGES if getattr(wish, name) is not None}
    quantity = old.quantity if wish.quantity is None else wish.quantity
    refusal = _mode_refusal(state) or _refusal(old, changes, quantity, order.filled_qty)
    refusal = refusal or _far(changes, last(old.symbol), limits)
    if refusal is not None:
        return _denied(answer_id, wish, refusal, old, now_ns)
    share = quantity / old.quantity if old.quantity else Decimal(1)
    return msgspec.structs.replace(
        old,
        id=answer_id,
        signal_id=wish.id,
        quantity=quantity,
        reserved=money(old.reserved * share),
        decided_ns=now_ns,
        valid_until=now_ns + limits.intent_valid_ms * NS_PER_MS,
        replaces=old.id,
        **changes,
    )


def reserve_successor(state: RiskState, exposure: Exposure, replaced: OpenOrder) -> None:
    """Let the order that took another's place count on from there, and reserve what is left."""
    for order in state.orders.values():
        body = order.body
        if isinstance(body, OrderIntent) and body.replaces == replaced.body.id:
            order.filled_qty = max(order.filled_qty, replaced.filled_qty)
            left, key = order.leaves_qty, f"{body.bot}|{body.symbol}"
            cash = body.reserved * left / body.quantity
            state.portfolio.reserve_for(body.id, key, body.side.sign * left, money(cash))
            exposure.touch(body.bot, body.symbol)


def _mode_refusal(state: RiskState) -> Refusal | None:
    if state.mode is not TradingMode.HALTED:
        return None
    return Refusal("trading_mode", f"trading is halted: {state.mode_reason}", "active", "halted")


def _refusal(old: OrderIntent, changes: dict[str, Decimal], quantity: Decimal, filled: Decimal) -> Refusal | None:
    if old.order_class is not OrderClass.SIMPLE or old.notional is not None:
        return Refusal("replace", "orders of a group and notional orders cannot be changed", "simple", old.order_class)
    if not changes and quantity == old.quantity:
        return Refusal("replace", "nothing would change", "a change", "none")
    if not filled < quantity <= old.quantity:
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


def _far(changes: dict[str, Decimal], last: Decimal | None, limits: RiskLimits) -> Refusal | None:
    """Refuse a price that is far from the last one known."""
    far_max = limits.price_move_fraction_max
    for name in _PRICES:
        if far_max is None or name not in changes:
            continue
        limit = to_decimal(far_max)
        if last is None:
            return Refusal("price_move_fraction_max", "no price of the symbol is known", plain(limit), "unknown")
        move = abs(changes[name] - last) / last
        if move > limit:
            return Refusal("price_move_fraction_max", f"{name} is far from the last price", plain(limit), plain(move))
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
