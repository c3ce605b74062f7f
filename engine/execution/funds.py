"""When the venue's word on what may be spent is worth storing. Pure; called at the executor's start and each look.

Buying power moves with every price, so not each figure is stored: the first; one that lies below what the ledger lets
be spent, and the next ones until it does no longer; and whether the account may sell short, by switch or by equity.
"""

from __future__ import annotations

from decimal import Decimal

from engine.bots import RiskLimits
from engine.execution.fold import ExecState
from engine.messages import OrderIntent, VenueFunds
from engine.ports import VenueAccount
from engine.values import ZERO, multiplier, to_decimal


def funds_of(account: VenueAccount, now_ns: int) -> VenueFunds:
    """Write down what the venue says."""
    return VenueFunds(account.buying_power, account.equity, account.is_shorting_enabled, now_ns)


def funds_news(state: ExecState, account: VenueAccount, limits: RiskLimits, now_ns: int) -> tuple[VenueFunds, ...]:
    """Give what is worth storing of an account's answer, if anything is."""
    new, known = funds_of(account, now_ns), state.funds
    if known is not None:
        least = limits.short_equity_usd_min
        is_other = known.is_shorting_enabled != new.is_shorting_enabled or (
            least is not None and (known.equity < least) != (new.equity < least)
        )
        free = _free(state, account, limits)
        is_short = new.buying_power < free and new.buying_power != known.buying_power
        is_over = new.buying_power >= free > known.buying_power
        if not (is_other or is_short or is_over):
            return ()
    return (new,)


def _free(state: ExecState, account: VenueAccount, limits: RiskLimits) -> Decimal:
    """Give about what risk's ledger lets be spent."""
    free = account.cash
    for key in state.open_ids:
        order = state.orders[key]
        if isinstance(order.intent, OrderIntent) and order.intent.quantity:
            intent = order.intent
            free -= intent.reserved * max(intent.quantity - order.filled_qty, ZERO) / intent.quantity
    bound = 1 + to_decimal(limits.short_margin_fraction)
    for symbol, quantity in account.positions.items():
        if quantity < 0:
            free += quantity * account.prices.get(symbol, ZERO) * multiplier(symbol) * bound
    return free
