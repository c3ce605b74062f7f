"""Makes the bodies of risk's answers to a signal. Part of engine.risk.core."""

from __future__ import annotations

from decimal import Decimal

from engine.messages import OrderIntent, RiskDenied, Signal
from engine.ordering import Terms
from engine.risk.guards import STRATEGY
from engine.risk.proposal import Refusal
from engine.values import NS_PER_MS, Purpose, Side


def denial(verdict_id: str, signal: Signal, refusal: Refusal, now_ns: int, quantity: Decimal | None) -> RiskDenied:
    """Make a denial; `quantity` is signed, None where nothing was sized."""
    return RiskDenied(
        id=verdict_id,
        signal_id=signal.id,
        bot=signal.bot,
        symbol=signal.symbol,
        rule=refusal.rule,
        reason=refusal.reason,
        limit=refusal.limit,
        observed=refusal.observed,
        decided_ns=now_ns,
        side=None if quantity is None else (Side.BUY if quantity > 0 else Side.SELL),
        quantity=None if quantity is None else abs(quantity),
    )


def approval(
    verdict_id: str,
    signal: Signal,
    quantity: Decimal,
    terms: Terms,
    *,
    price: Decimal,
    reserved: Decimal,
    now_ns: int,
    valid_ms: int,
) -> OrderIntent:
    """Make an intent of a signed quantity and the terms that the rules let pass."""
    return OrderIntent(
        id=verdict_id,
        signal_id=signal.id,
        bot=signal.bot,
        symbol=signal.symbol,
        side=Side.BUY if quantity > 0 else Side.SELL,
        quantity=abs(quantity),
        order_type=terms.order_type,
        time_in_force=terms.time_in_force,
        ref_px=price,
        reserved=reserved,
        decided_ns=now_ns,
        valid_until=now_ns + valid_ms * NS_PER_MS,
        limit_px=terms.limit_px,
        stop_px=terms.stop_px,
        extended_hours=terms.extended_hours,
        trail_percent=terms.trail_percent,
        notional=terms.notional,
        order_class=terms.order_class,
        take_profit_px=terms.take_profit_px,
        stop_loss_px=terms.stop_loss_px,
        purpose=Purpose.GUARD if signal.strategy == STRATEGY else Purpose.TARGET,
    )
