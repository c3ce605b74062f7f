"""How a promise is checked, and which events end an order."""

from __future__ import annotations

from engine.messages import OrderCanceled, OrderExpired, OrderFilled, OrderRejected, OrderReplaced
from tests.simulation.world import FoundError

TERMINAL = (OrderFilled, OrderCanceled, OrderExpired, OrderRejected, OrderReplaced)


def demand(holds: bool, what: str) -> None:
    """Raise unless it holds."""
    if not holds:
        raise FoundError(what)
