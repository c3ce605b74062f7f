"""How executor's events are named when they are stored: the same event has the same id, whoever tells it how often."""

from __future__ import annotations

from engine.ids import fill_key, make_id
from engine.messages import (
    Alert,
    AnyBody,
    CancelOrder,
    Command,
    Correction,
    Fee,
    Fill,
    OrderAdopted,
    Sessions,
    Split,
    SymbolStatus,
    VenueFunds,
)
from engine.ports import VenueExecution
from engine.values import plain
from streams.publisher import Outgoing
from streams.role import Context


class Names:
    """Wraps events for publishing, and remembers what others call the executions in them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._refs: dict[str, dict[str, str]] = {}

    def remember(self, execution: VenueExecution, via: str) -> None:
        """Note the venue's names of an execution, and by which way it was told first."""
        key = fill_key(execution.venue_order_id, plain(execution.cum_qty))
        refs = {"execution_id": execution.execution_id, "activity_id": execution.activity_id, "via": via}
        self._refs.setdefault(key, refs)

    def forget(self) -> None:
        """Everything is stored."""
        self._refs.clear()

    def outgoing(self, body: AnyBody) -> Outgoing:
        """Wrap an event."""
        context = self._context
        account, run = context.account, context.run
        match body:
            case Fill():
                key = fill_key(body.venue_order_id, plain(body.cum_qty))
                msg_id = make_id(account, run, "fill", key)
                return context.outgoing(body, msg_id, trace=body.client_order_id, refs=self._refs.get(key))
            case Fee() | Split() | Correction() | Command() | Alert() | CancelOrder():
                return context.outgoing(body, make_id(account, run, type(body).__name__.lower(), body.id))
            case SymbolStatus():
                key = f"{body.symbol}|{body.source}|{body.ts_event}"
                return context.outgoing(body, make_id(account, run, "status", key))
            case VenueFunds():
                return context.outgoing(body, make_id(account, run, "funds", body.ts_event))
            case OrderAdopted():
                return context.outgoing(body, make_id(account, run, "adopted", body.venue_order_id), trace=body.id)
            case Sessions():
                key = "|".join(str(opening) for opening, _ in body.spans)
                return context.outgoing(body, make_id(account, run, "sessions", key))
            case _:
                order_id = str(getattr(body, "client_order_id", ""))
                msg_id = make_id(account, run, "order", type(body).__name__, order_id)
                return context.outgoing(body, msg_id, trace=order_id)
