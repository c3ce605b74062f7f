"""Faults of trade_updates: lost, doubled, late, swapped, empty or unreadable messages.

The hub hands each update's message in, in order, and sends what comes out. A delayed message waits for so many later
updates, a swapped one for the next of the same emission; nothing here looks at a clock.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.exchange.faults import UPDATE_FAULTS, FaultRule, Faults
from adapters.exchange.settlement import TradeUpdate

UNKNOWN = "unheard_of"


class UpdateFaults:
    """What happens to the messages of one account.

    Args:
        faults: The rules.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._delayed: list[tuple[int, bytes]] = []
        self._swapped: bytes | None = None

    def frames(self, update: TradeUpdate, data: dict[str, Any]) -> list[bytes]:
        """Give the frames that go out now for one update."""
        frame = _frame(data)
        if not (self._delayed or self._swapped or self._faults.has(UPDATE_FAULTS)):
            return [frame]
        name = update.order.client_order_id
        rule = self._faults.for_update(UPDATE_FAULTS, update.event, update.symbol, name, update.execution_id)
        due = self._due()
        swapped, self._swapped = self._swapped, None
        out = [*self._changed(rule, data, frame), *([swapped] if swapped is not None else []), *due]
        if rule is not None and rule.fault == "update_delayed":
            self._delayed.append((rule.count, frame))
        return out

    def rest(self) -> list[bytes]:
        """Give what was to be swapped and has no successor in this emission."""
        swapped, self._swapped = self._swapped, None
        return [swapped] if swapped is not None else []

    def _due(self) -> list[bytes]:
        """Delayed messages that have waited long enough once this update is out."""
        waiting = [(left - 1, frame) for left, frame in self._delayed]
        self._delayed = [(left, frame) for left, frame in waiting if left > 0]
        return [frame for left, frame in waiting if left <= 0]

    def _changed(self, rule: FaultRule | None, data: dict[str, Any], frame: bytes) -> list[bytes]:
        match rule.fault if rule is not None else "":
            case "update_lost" | "update_delayed":
                return []
            case "update_reordered":
                self._swapped = frame
                return []
            case "update_duplicate":
                return [frame] * (1 + (rule.count if rule else 0))
            case "update_null":
                return [_frame(None)]
            case "update_unknown":
                return [_frame({**data, "event": UNKNOWN, "order": {**data["order"], "status": UNKNOWN}})]
            case "update_broken":
                return [_frame({**data, "order": {**data["order"], "submitted_at": None}})]
            case _:
                return [frame]


def _frame(data: dict[str, Any] | None) -> bytes:
    return msgspec.json.encode({"stream": "trade_updates", "data": data})
