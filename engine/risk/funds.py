"""What the account may spend: by the ledger, and by the venue's own word. Part of engine.risk.core and judging.

By the ledger: cash less what orders reserve, less what shorts bind. The proceeds of a short are in the cash but are not
ours to spend, and the venue wants margin on top (Regulation T: 150 % of the value). The venue's buying power counts
where it is lower: how far it lay below the ledger's figure when it was looked at is taken off until the next look, so
that orders and fills in between count on both sides. Orders that the venue did not have at that moment are none of its
figure, so the ledger's is compared without them.
"""

from __future__ import annotations

from decimal import Decimal

from engine.bots import RiskLimits
from engine.messages import OrderIntent, VenueFunds
from engine.portfolio import exactly
from engine.risk.exposure import Exposure
from engine.risk.state import RiskState
from engine.values import ZERO, money, to_decimal


@exactly
def cash_free(state: RiskState, exposure: Exposure, limits: RiskLimits) -> Decimal:
    """Give the cash that the ledger lets be spent, USD."""
    book = state.portfolio
    bound = exposure.account.short * (1 + to_decimal(limits.short_margin_fraction))
    return money(book.cash - book.reserved - bound)


@exactly
def equity(state: RiskState, exposure: Exposure) -> Decimal | None:
    """Give what the account is worth at the last known prices, USD; None while one is missing."""
    return None if exposure.account.unknown else money(state.portfolio.cash + exposure.account.value)


def take_funds(state: RiskState, exposure: Exposure, limits: RiskLimits, funds: VenueFunds) -> None:
    """Take in what the venue said."""
    if state.funds is not None and funds.ts_event < state.funds.ts_event:
        return
    held = state.portfolio.reservations
    unseen = sum(
        (
            held[key].held_cash
            for key, order in state.orders.items()
            if key in held and isinstance(order.body, OrderIntent)
            if not order.is_accepted or order.body.decided_ns > funds.ts_event
        ),
        ZERO,
    )
    state.funds = funds
    state.venue_gap = min(ZERO, funds.buying_power - cash_free(state, exposure, limits) - unseen)
