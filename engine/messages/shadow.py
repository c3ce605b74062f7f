"""The body of what a shadow would have done: recorded, and never sent anywhere."""

from __future__ import annotations

from engine.messages.base import Body
from engine.messages.decisions import OrderIntent, RiskDenied, Signal, TargetReached
from engine.messages.ledger import Fee, Fill, Position
from engine.messages.orders import (
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
)

ShadowBody = (
    Signal
    | OrderIntent
    | RiskDenied
    | TargetReached
    | OrderSubmitted
    | OrderAccepted
    | OrderAdopted
    | OrderRejected
    | OrderFilled
    | OrderCanceled
    | OrderExpired
    | OrderReplaced
    | Fill
    | Fee
    | Position
)


class Shadowed(Body, frozen=True):
    """What followed from a shadow's signals on an account of its own. No role acts on it.

    Attributes:
        life: Id of the wish that the shadow began with: one that was removed and added again is another one.
        ordinal: Its place among all of this life, from 0.
        of: What the daemon would have stored; its `Signal`s are exits of guards.
    """

    bot: str
    symbol: str
    life: str
    ordinal: int
    of: ShadowBody
    ts_event: int
