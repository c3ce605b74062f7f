"""What a report of the venue implies: events to store, and what must be asked or done next."""

from __future__ import annotations

import msgspec

from engine.messages import AnyBody, OrderIntent


class Conclusion(msgspec.Struct, frozen=True):
    """What a report implies.

    Attributes:
        events: To be stored, in order.
        needs_executions: Executions are missing and must be asked for.
        needs_orders: The venue speaks of an order that is not known: its list must be asked for.
        intruders: Ids of orders that another data directory of Tapeline placed on this account.
        ask_again: The order must be asked for once more, after a wait.
        send_again: The venue does not have this order: it may be posted with the same id.
    """

    events: tuple[AnyBody, ...] = ()
    needs_executions: bool = False
    needs_orders: bool = False
    intruders: tuple[str, ...] = ()
    ask_again: bool = False
    send_again: OrderIntent | None = None
