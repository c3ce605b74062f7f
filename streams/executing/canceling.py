"""executor's cancels: while trading is halted, every order that is open at the venue is canceled, until none is.

Cancels have their own thread and their own share of the venue's rate. They need neither NATS nor a decision: the latch
file or the trading mode is enough. How an order ended comes as an event, like any other. An order that is asked to end
and goes on for long is told of, once: whatever waits for its end waits with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec
import structlog

from config.settings import ExecutorSettings
from engine.errors import UnreachableError
from engine.ports import CancelOutcome, CancelRequested, NotFound, Rejected, Unknown, Venue
from streams.rest import RestLane

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LOOK_S = 0.1
_AGAIN_S, _TAKEN_AGAIN_S = 2.0, 30.0
"""Before asking again: after no answer, and after the venue took the request (a cancel may be pending for hours)."""


class Stuck(msgspec.Struct, frozen=True):
    """An order that was asked to end long ago, and is open."""

    client_order_id: str


class Canceler:
    """Cancels what should not be open.

    Args:
        venue: Who is asked.
        settings: Cancels per minute, and how long an order may take to end.
        unwanted: Gives the ids of orders to cancel now.
        answer: Takes the orders that take longer, once each.
    """

    def __init__(
        self,
        venue: Venue,
        settings: ExecutorSettings,
        unwanted: Callable[[], list[str]],
        answer: Callable[[Stuck], None],
    ) -> None:
        self._venue = venue
        self._lane = RestLane(1, settings.cancels_per_min_max)
        self._unwanted = unwanted
        self._again_at: dict[str, float] = {}
        self._taken: set[str] = set()
        self._pending_s_max = settings.cancel_pending_s_max
        self._answer = answer
        self._since: dict[str, float] = {}
        self._told: set[str] = set()
        self._woken = asyncio.Event()
        self.requested = 0

    @property
    def open(self) -> int:
        """How many orders are to be canceled that the venue was not asked for yet."""
        return sum(key not in self._taken for key in self._unwanted())

    def problems(self) -> list[str]:
        """Say what has been asked to end for too long."""
        now = time.monotonic()
        return [
            f"order {key} was asked to end {now - self._since[key]:.0f} s ago and is open: look at it at the venue"
            for key in sorted(self._told)
        ]

    def wake(self) -> None:
        """Look at once."""
        self._woken.set()

    async def run(self) -> None:
        """Look, cancel, and ask again for what is still open after a while; for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _LOOK_S)
            self._woken.clear()
            unwanted = self._unwanted()
            self._again_at = {key: at for key, at in self._again_at.items() if key in unwanted}
            self._taken.intersection_update(unwanted)
            self._watch(unwanted)
            for key in unwanted:
                if time.monotonic() >= self._again_at.get(key, 0.0):
                    await self._cancel(key)

    def _watch(self, unwanted: list[str]) -> None:
        """Tell of each order that should have ended by now."""
        now = time.monotonic()
        self._since = {key: self._since.get(key, now) for key in unwanted}
        self._told.intersection_update(unwanted)
        for key, since in self._since.items():
            if now - since > self._pending_s_max and key not in self._told:
                self._told.add(key)
                log.error("an order that was asked to end is still open", client_order_id=key)
                self._answer(Stuck(key))

    async def _cancel(self, client_order_id: str) -> None:
        try:
            outcome: CancelOutcome = await self._lane.call("cancel", lambda: self._venue.cancel(client_order_id))
        except UnreachableError as err:
            outcome = Unknown(str(err))
        self.requested += 1
        is_taken = isinstance(outcome, CancelRequested | NotFound)
        if is_taken or isinstance(outcome, Rejected):
            self._taken.add(client_order_id)  # an event will say how it ended
        if isinstance(outcome, Rejected):  # as a rule it ended meanwhile, the other leg of a pair for instance
            log.info("cancel refused", client_order_id=client_order_id, outcome=str(outcome))
        elif not is_taken:
            log.warning("cancel not taken, asking again", client_order_id=client_order_id, outcome=str(outcome))
        self._again_at[client_order_id] = time.monotonic() + (_TAKEN_AGAIN_S if is_taken else _AGAIN_S)

    def close(self) -> None:
        """Start no other."""
        self._lane.close()
