"""Orders at the venue that no intent of ours stands for: whose they are, and what is known of them from then on.

A leg of a group belongs to its parent's bot. An order of `tapeline halt --flatten` belongs to nobody until risk shares
its fills out. Everything else was placed by hand or by another program. Called by engine.execution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from engine.messages import OrderAdopted, OrderIntent
from engine.ports import VenueExecution, VenueOrder
from engine.values import ZERO, OrderClass, Purpose

FLATTEN = "flatten"
MANUAL = "manual"
UNATTRIBUTED = "unattributed"
NOBODY = frozenset({FLATTEN, MANUAL, UNATTRIBUTED})
"""Names under which the ledger counts what belongs to no bot; no bot may have them."""
FLATTEN_PREFIX = f"{FLATTEN}-"
_OURS = re.compile(r"[0-9a-f]{32}")


def is_of_another_tapeline(client_order_id: str) -> bool:
    """Whether an unknown id has the form of ours: a second data directory trades on this account (rule 16)."""
    return _OURS.fullmatch(client_order_id) is not None


def filled_before(report: VenueOrder, executions: Iterable[VenueExecution]) -> Decimal:
    """Give what an order had filled before the first of these executions: the ledger's opening holds it already."""
    since = sum((e.last_qty for e in executions if e.venue_order_id == report.venue_order_id), ZERO)
    return max(report.filled_qty - since, ZERO)


def adopt(
    report: VenueOrder, parent: OrderIntent | OrderAdopted | None, *, foreign: str, before: Decimal
) -> OrderAdopted:
    """Make the event by which an order of the venue becomes known.

    Args:
        report: The order as the venue has it.
        parent: The order it is a leg of, if it is one of ours or adopted.
        foreign: Whose an order of others is: `manual` or `unattributed`.
        before: What of it is in the ledger's opening already.
    """
    if parent is not None:
        bot, purpose = parent.bot, parent.purpose if isinstance(parent, OrderAdopted) else Purpose.PROTECT
    elif report.client_order_id.startswith(FLATTEN_PREFIX):
        bot, purpose = FLATTEN, Purpose.FLATTEN
    else:
        bot, purpose = foreign, Purpose.FOREIGN
    return OrderAdopted(
        id=report.client_order_id or report.venue_order_id,
        bot=bot,
        symbol=report.symbol,
        side=report.side,
        quantity=report.quantity if report.quantity is not None else report.filled_qty,
        order_type=report.order_type,
        time_in_force=report.time_in_force,
        venue_order_id=report.venue_order_id,
        purpose=purpose,
        ts_event=report.submitted_ns,
        filled_qty=before,
        limit_px=report.limit_px,
        stop_px=report.stop_px,
        trail_px=report.trail_px,
        trail_percent=report.trail_percent,
        notional=report.notional,
        order_class=report.order_class if parent is None else _class_of(report, parent),
        parent="" if parent is None else parent.id,
    )


def _class_of(report: VenueOrder, parent: OrderIntent | OrderAdopted) -> OrderClass:
    return parent.order_class if report.order_class is OrderClass.SIMPLE else report.order_class
