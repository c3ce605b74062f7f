"""executor's orders on their way out: stored as submitted, then posted once each, and only while trading lets them.

Failing closed: nothing leaves unless risk confirmed the trading mode within 2 s; latch file, mode and `valid_until` are
looked at right before each POST, which may have waited for others. What may leave is decided by engine.execution.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from engine.errors import UnreachableError
from engine.execution import ExecutionCore
from engine.messages import AnyBody, OrderIntent, OrderSubmitted
from engine.ports import SubmitOutcome, Unknown, Venue
from streams.latch import Latch
from streams.rest import RestLane
from streams.role import Context
from streams.tasks import Tasks

_AHEAD_MAX = 32
"""Orders stored as submitted and not answered yet; after a kill each of them is looked up."""
_CONFIRMED_S_MAX = 2.0
_BURST_MIN = 16
_STILL_S, _HELD_S_MAX = 0.02, 0.5
"""Orders that come by the dozen wait until no more come, at the longest so long: sending one costs as much CPU as
deciding ten, and the venue's rate lets them out one by one anyway."""


class Latched(msgspec.Struct, frozen=True):
    """The latch, or a trading mode that forbids it, was found right before the POST, which was not made."""


class TooLate(msgspec.Struct, frozen=True):
    """`valid_until` was over right before the POST, which was not made: others were in the way for too long."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one POST."""

    intent: OrderIntent
    outcome: SubmitOutcome | Latched | TooLate


class Burst:
    """Says how long orders that come in a burst wait for its end. Times are monotonic seconds.

    Args:
        count_min: Orders waiting that make a burst.
        still_s: It has ended when none came for so long.
        held_s_max: Longest time from its first order on, however many follow.
    """

    def __init__(self, count_min: int, still_s: float, held_s_max: float) -> None:
        self._count_min = count_min
        self._still_s = still_s
        self._held_s_max = held_s_max
        self._began = self._newest = -held_s_max

    def came(self, now_s: float) -> None:
        """Note an order."""
        if now_s - self._newest >= self._still_s:
            self._began = now_s
        self._newest = now_s

    def wait_s(self, count: int, now_s: float) -> float:
        """Give how long `count` orders have to wait still; 0 when they may go."""
        if count < self._count_min:
            return 0.0
        return max(0.0, min(self._newest + self._still_s, self._began + self._held_s_max) - now_s)


class Sender:
    """Sends approved intents, in order per symbol.

    Args:
        context: The role's.
        venue: Who is sent to.
        lane: Its REST.
        tasks: Where POSTs run.
        latch: The latch file.
        answer: Takes each outcome.
    """

    def __init__(
        self,
        context: Context,
        venue: Venue,
        lane: RestLane,
        *,
        tasks: Tasks,
        latch: Latch,
        answer: Callable[[Outcome | None], None],
    ) -> None:
        self._context = context
        self._venue = venue
        self._lane = lane
        self._tasks = tasks
        self._latch = latch
        self._answer = answer
        self._to_send: deque[OrderIntent] = deque()
        self._resend: set[str] = set()
        self._in_flight: set[str] = set()
        self._confirmed_at = -_CONFIRMED_S_MAX
        self._burst = Burst(_BURST_MIN, _STILL_S, _HELD_S_MAX)
        self._is_waking = False
        self.posting = 0
        self.submitted = 0
        self.not_sent = 0

    def add(self, intent: OrderIntent) -> None:
        """Queue an intent that was never sent."""
        self._to_send.append(intent)
        self._burst.came(time.monotonic())

    def again(self, intent: OrderIntent) -> None:
        """Queue an order that was stored as submitted and that the venue does not have."""
        self._resend.add(intent.id)
        self._to_send.appendleft(intent)

    def again_later(self, intent: OrderIntent, wait_s: float) -> None:
        """Queue an order that the venue refused for the rate; until then it counts as under way."""
        self.posting += 1
        self._in_flight.add(intent.id)
        self._tasks.spawn(self._wait(intent, wait_s))

    def is_in_flight(self, client_order_id: str) -> bool:
        """Whether a request with this id is under way: until it is answered nothing says that the order is missing."""
        return client_order_id in self._in_flight

    def answered(self, intent: OrderIntent) -> None:
        """Note that the answer to a POST was dealt with."""
        self.posting -= 1
        self._in_flight.discard(intent.id)

    def confirmed(self) -> None:
        """Note that risk said the trading mode just now."""
        was_confirmed = self.is_confirmed
        self._confirmed_at = time.monotonic()
        if self._to_send and not was_confirmed:
            self._answer(None)

    @property
    def is_confirmed(self) -> bool:
        """Whether the trading mode is known well enough to send."""
        return time.monotonic() - self._confirmed_at < _CONFIRMED_S_MAX

    @property
    def open(self) -> int:
        """How many are on their way."""
        return len(self._to_send) + self.posting

    async def send(
        self,
        core: ExecutionCore,
        publish: Callable[[list[AnyBody]], Awaitable[None]],
        *,
        only_reducing: bool = False,
    ) -> None:
        """Store the next ones as submitted, or as never sent; post the former.

        Args:
            core: What is known of the orders.
            publish: Stores events.
            only_reducing: What adds to a position waits, as long as it is valid.
        """
        if not self._to_send or not self.is_confirmed or self.posting > _AHEAD_MAX // 2:
            return
        if wait_s := self._burst.wait_s(len(self._to_send), time.monotonic()):
            self._look_again_after(wait_s)
            return
        now = await self._context.clock.now_ns()
        latched = self._latch.is_set()
        ready: list[OrderIntent] = []
        events: list[AnyBody] = []
        waiting: list[OrderIntent] = []
        while self._to_send and self.posting + len(ready) < _AHEAD_MAX:
            intent = self._to_send.popleft()
            if intent.id in self._in_flight:
                continue
            if not core.is_missing(intent.id):  # it ended, or the venue said meanwhile that it has it
                self._resend.discard(intent.id)
                continue
            if only_reducing and intent.reserved and now <= intent.valid_until:
                waiting.append(intent)
                continue
            event = core.submit(intent, now, latched=latched, may_oppose=self._context.settings.limits.opposite_sides)
            if not isinstance(event, OrderSubmitted):
                self.not_sent += 1
            else:
                ready.append(intent)
                self._in_flight.add(intent.id)
                if intent.id in self._resend:
                    self._resend.discard(intent.id)
                    continue
            core.apply(event)
            events.append(event)
        self._to_send.extendleft(reversed(waiting))
        await publish(events)
        for intent in ready:
            self.submitted += 1
            self.posting += 1
            self._tasks.spawn(self._post(intent, core))

    async def _post(self, intent: OrderIntent, core: ExecutionCore) -> None:
        points, clock = self._context.points, self._context.clock

        def post() -> SubmitOutcome | Latched | TooLate:
            points.hit("executor.before_post")
            if not core.may_leave(intent, latched=self._latch.is_set()):
                return Latched()
            if clock.estimate_ns() > intent.valid_until:
                return TooLate()
            outcome = self._venue.replace(intent) if intent.replaces else self._venue.submit(intent)
            points.hit("executor.after_post")
            return outcome

        try:
            outcome = await self._lane.call(intent.symbol, post)
        except UnreachableError as err:
            outcome = Unknown(str(err))
        self._answer(Outcome(intent, outcome))

    def _look_again_after(self, wait_s: float) -> None:
        async def wake() -> None:
            await asyncio.sleep(wait_s)
            self._is_waking = False
            self._answer(None)

        if not self._is_waking:
            self._is_waking = True
            self._tasks.spawn(wake())

    async def _wait(self, intent: OrderIntent, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        self._resend.add(intent.id)
        self.posting -= 1
        self._in_flight.discard(intent.id)
        self._to_send.append(intent)
        self._answer(None)
