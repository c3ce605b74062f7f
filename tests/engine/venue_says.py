"""A venue's answers, and an executor's core that hears them."""

from __future__ import annotations

from decimal import Decimal

from engine.execution import ExecutionCore
from engine.messages import AnyBody
from engine.ports import VenueAccount, VenueActivity, VenueOrder
from engine.values import NS_PER_DAY, Side
from tests.engine.build import T0, D, opened

NOW = T0 + NS_PER_DAY


def account(cash: str = "100000", prices: dict[str, Decimal] | None = None, **held: str) -> VenueAccount:
    positions = {name.replace("_", "/"): D(quantity) for name, quantity in held.items()}
    worth = {name: D(100) for name in positions} if prices is None else prices
    return VenueAccount("ACC1", D(cash), D(cash), D(cash), positions, worth)


def core(*bodies: AnyBody, cash: str = "100000", **held: str) -> ExecutionCore:
    made = ExecutionCore()
    for body in (opened(cash, **{name.replace("_", "/"): quantity for name, quantity in held.items()}), *bodies):
        made.apply(body)
    return made


def listed(of: str, status: str = "new", filled: str = "0", **more: object) -> VenueOrder:
    fields: dict[str, object] = {
        "client_order_id": of,
        "venue_order_id": f"venue-{of}",
        "symbol": "AAPL",
        "side": Side.BUY,
        "status": status,
        "quantity": D(10),
        "filled_qty": D(filled),
        "avg_px": None,
        "submitted_ns": T0,
        "updated_ns": T0,
    }
    return VenueOrder(**(fields | more))  # type: ignore[arg-type]


def activity(
    id: str, kind: str, symbol: str = "", cash: str = "0", quantity: str = "0", at: int = NOW
) -> VenueActivity:
    return VenueActivity(id, kind, symbol, D(cash), D(quantity), at)


def conclude(made: ExecutionCore, *activities: VenueActivity, now: int = NOW) -> list[AnyBody]:
    found = made.on_activities(activities, now).events
    for body in found:
        made.apply(body)
    return list(found)
