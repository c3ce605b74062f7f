"""A proposal that every rule lets pass, to be changed in one place."""

from __future__ import annotations

import msgspec

from engine.bots import RiskLimits
from engine.messages import Sessions
from engine.risk.rules import Proposal
from engine.sessions import SessionTable
from engine.values import AssetClass
from tests.engine.build import D, bot, minute, signal

NOW = minute(2)
OFF = RiskLimits(
    order_notional_usd_max=D(10**9), position_fraction_max=1, bot_exposure_fraction_max=None, open_orders_max=None,
    orders_per_min_max=None, bot_orders_per_min_max=None, bot_orders_per_day_max=None, repeats_max=None,
    bot_daily_loss_fraction_max=None, bot_drawdown_fraction_max=None, price_move_fraction_max=None, opposite_sides=True,
    shortable_known=False,
)  # fmt: skip
"""Every rule that can be switched off is."""


def sessions(first: int = 0, last: int = 1 << 62) -> SessionTable:
    table = SessionTable()
    table.add(Sessions(AssetClass.US_EQUITY, ((first, last),), 0))
    return table


def proposal(limits: dict[str, object], **more: object) -> Proposal:
    """10 shares at 100 USD by a bot with 100,000 USD that holds nothing."""
    fields: dict[str, object] = {
        "bot": bot(),
        "signal": signal(number=2),
        "quantity": D(10),
        "price": D(100),
        "held": D(0),
        "working": D(0),
        "cash_free": D(10**9),
        "repeated": "",
        "now_ns": NOW,
        "sessions": sessions(),
        "limits": msgspec.structs.replace(OFF, **limits),
    }
    return Proposal(**(fields | more))  # type: ignore[arg-type]
