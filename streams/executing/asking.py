"""executor's questions to the venue: its list of orders, orders by our id, executions, activities.

Asked after a restart, a reconnect, an unknown outcome, an event of an order nobody knows, and now and then. Answers go
to the executor's inbox; what they mean is engine.execution's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from engine.errors import UnreachableError
from engine.execution import ExecutionCore
from engine.ports import LookupOutcome, Unknown, Venue, VenueActivity, VenueExecution, VenueOrder
from engine.values import NS_PER_MINUTE
from streams.rest import RestLane
from streams.tasks import Tasks

_SWEPT_MARGIN_NS = NS_PER_MINUTE
"""An order may carry a time that is so much older than the moment it is listed first."""


class CaughtUp(msgspec.Struct, frozen=True):
    """What a round of questions brought.

    Attributes:
        lookups: Orders by our id.
        orders: The venue's list of orders; None when it was not asked for.
        swept_ns: Venue time up to which that list is whole.
        is_whole: This was the catching up after which orders may be sent.
    """

    lookups: dict[str, LookupOutcome]
    orders: list[VenueOrder] | None
    executions: list[VenueExecution]
    activities: list[VenueActivity]
    failure: str = ""
    swept_ns: int = 0
    is_whole: bool = False


class Asker:
    """Asks the venue.

    Args:
        core: Gives the moments to ask from.
        venue: Who is asked.
        lane: Its REST.
        tasks: Where the questions run.
        answer: Takes what came.
        now_ns: Venue time.
        wait_s: Before asking again.
    """

    def __init__(
        self,
        core: Callable[[], ExecutionCore],
        venue: Venue,
        lane: RestLane,
        *,
        tasks: Tasks,
        answer: Callable[[CaughtUp], None],
        now_ns: Callable[[], Awaitable[int]],
        wait_s: float,
    ) -> None:
        self._core = core
        self._venue = venue
        self._lane = lane
        self._tasks = tasks
        self._answer = answer
        self._now_ns = now_ns
        self._wait_s = wait_s
        self.open = 0

    def ask(self, ids: set[str], *, sweep: bool = False, whole: bool = False, later: bool = False) -> None:
        """Ask for these orders and what happened since.

        Args:
            ids: Our ids; none asks for activities only, unless `sweep`.
            sweep: Also for the venue's list of orders.
            whole: Catching up: implies `sweep`.
            later: After a wait.
        """
        self.open += 1
        wait_s = self._wait_s if later else 0.0
        self._tasks.spawn(self._ask(ids, sweep=sweep or whole, whole=whole, wait_s=wait_s))

    def taken(self) -> None:
        """Note that an answer was dealt with."""
        self.open -= 1

    async def _ask(self, ids: set[str], *, sweep: bool, whole: bool, wait_s: float) -> None:
        """Ask for orders, then executions, then activities; a state seen is never older than what is asked next."""
        if wait_s:
            await asyncio.sleep(wait_s)
        core, venue = self._core(), self._venue
        since_order, since_execution = core.orders_since(), core.executions_since()
        since_activity = core.activities_since()
        lookups: dict[str, LookupOutcome] = {}
        orders: list[VenueOrder] | None = None
        swept_ns = 0
        try:
            if sweep:
                swept_ns = await self._now_ns() - _SWEPT_MARGIN_NS
                orders = list(await self._lane.call("ask", lambda: venue.orders(since_order)))
            listed = {order.client_order_id for order in flattened(orders or ())}
            for client_order_id in sorted(ids - listed):
                lookups[client_order_id] = await self._lane.call("ask", lambda key=client_order_id: venue.lookup(key))
            executions: list[VenueExecution] = []
            if ids or sweep:
                executions = list(await self._lane.call("ask", lambda: venue.executions(since_execution)))
            activities = list(await self._lane.call("ask", lambda: venue.activities(since_activity)))
        except UnreachableError as err:
            missing = {key: lookups.get(key, Unknown(str(err))) for key in ids}
            failed = CaughtUp(missing, [] if sweep else None, [], [], failure=str(err), is_whole=whole)
            self._answer(failed)
            return
        self._answer(CaughtUp(lookups, orders, executions, activities, swept_ns=swept_ns, is_whole=whole))


def flattened(orders: Iterable[VenueOrder]) -> Iterable[VenueOrder]:
    """Give orders and their legs, one after the other."""
    for order in orders:
        yield order
        yield from flattened(order.legs)
