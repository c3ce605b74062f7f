"""executor's questions to the venue: orders by our id, executions since the last one known, activities.

Asked after a restart, a reconnect, an unknown outcome, and now and then. Answers go to the executor's inbox; what they
mean is engine.execution's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from engine.errors import UnreachableError
from engine.execution import ExecutionCore
from engine.ports import LookupOutcome, Unknown, Venue, VenueActivity, VenueExecution
from streams.rest import RestLane
from streams.tasks import Tasks


class CaughtUp(msgspec.Struct, frozen=True):
    """What a round of questions brought: orders by our id, and executions since the last one known."""

    lookups: dict[str, LookupOutcome]
    executions: list[VenueExecution]
    activities: list[VenueActivity]
    failure: str = ""
    whole: bool = False


class Asker:
    """Asks the venue.

    Args:
        core: Gives the moments to ask from.
        venue: Who is asked.
        lane: Its REST.
        tasks: Where the questions run.
        answer: Takes what came.
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
        wait_s: float,
    ) -> None:
        self._core = core
        self._venue = venue
        self._lane = lane
        self._tasks = tasks
        self._answer = answer
        self._wait_s = wait_s
        self.open = 0

    def ask(self, ids: set[str], *, whole: bool = False, later: bool = False) -> None:
        """Ask for these orders and what happened since; `whole`: also without any. `later`: after a wait."""
        self.open += 1
        self._tasks.spawn(self._ask(ids, whole=whole, wait_s=self._wait_s if later else 0.0))

    def taken(self) -> None:
        """Note that an answer was dealt with."""
        self.open -= 1

    async def _ask(self, ids: set[str], *, whole: bool, wait_s: float) -> None:
        """Ask for orders, then executions, then activities; a state seen is never older than what is asked next."""
        if wait_s:
            await asyncio.sleep(wait_s)
        state = self._core().state
        since_execution = self._core().executions_since()
        since_activity = max(state.last_activity_ns, state.opened_ns)
        lookups: dict[str, LookupOutcome] = {}
        try:
            for client_order_id in sorted(ids):
                lookups[client_order_id] = await self._lane.call(
                    "ask", lambda key=client_order_id: self._venue.lookup(key)
                )
            executions: list[VenueExecution] = []
            if ids or whole:
                executions = list(await self._lane.call("ask", lambda: self._venue.executions(since_execution)))
            activities = list(await self._lane.call("ask", lambda: self._venue.activities(since_activity)))
        except UnreachableError as err:
            missing = {key: lookups.get(key, Unknown(str(err))) for key in ids}
            self._answer(CaughtUp(missing, [], [], failure=str(err), whole=whole))
            return
        self._answer(CaughtUp(lookups, executions, activities, whole=whole))
