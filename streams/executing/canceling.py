"""executor's cancels: while trading is halted, every order that is open at the venue is canceled, until none is.

Cancels have their own thread and their own share of the venue's rate. They need neither NATS nor a decision: the latch
file or the trading mode is enough. How an order ended comes as an event, like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from engine.errors import UnreachableError
from engine.ports import CancelOutcome, CancelRequested, NotFound, Unknown, Venue
from streams.rest import RestLane

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LOOK_S = 0.1
_AGAIN_S = 2.0


class Canceler:
    """Cancels what should not be open.

    Args:
        venue: Who is asked.
        per_min_max: Cancels per minute.
        unwanted: Gives the ids of orders to cancel now.
    """

    def __init__(self, venue: Venue, per_min_max: int, unwanted: Callable[[], list[str]]) -> None:
        self._venue = venue
        self._lane = RestLane(1, per_min_max)
        self._unwanted = unwanted
        self._asked: dict[str, float] = {}
        self.requested = 0

    async def run(self) -> None:
        """Look, cancel, and ask again for what is still open after a while; for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            unwanted = self._unwanted()
            self._asked = {key: at for key, at in self._asked.items() if key in unwanted}
            for key in unwanted:
                if time.monotonic() - self._asked.get(key, -_AGAIN_S) >= _AGAIN_S:
                    self._asked[key] = time.monotonic()
                    await self._cancel(key)

    async def _cancel(self, client_order_id: str) -> None:
        try:
            outcome: CancelOutcome = await self._lane.call("cancel", lambda: self._venue.cancel(client_order_id))
        except UnreachableError as err:
            outcome = Unknown(str(err))
        self.requested += 1
        if not isinstance(outcome, CancelRequested | NotFound):
            log.warning("cancel not taken, asking again", client_order_id=client_order_id, outcome=str(outcome))

    def close(self) -> None:
        """Start no other."""
        self._lane.close()
