"""executor's looks at what the venue has: open orders, cash, positions, announced splits, beside what the ledger says.

After each catching up (start, reconnect) and every `executor.reconcile_every_s`. A look that agrees costs three
requests and stores nothing, save what the venue lets be spent where that is news. One that differs is taken again after
`executor.lookup_wait_s`; the same once more, everything that could explain it is asked for (orders, executions,
activities, splits), and only what still differs `executor.difference_s_min` later is corrected: the venue's positions
may lag behind by seconds.

Sending: after a start or a reconnect nothing leaves until a look agreed or was settled. Between two periodic looks
that agree nothing waits; while a difference is being looked into, orders that add to a position do, and cancels and
reducing orders pass. What a difference means is engine.execution's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from config.settings import ExecutorSettings
from engine.bots import RiskLimits
from engine.errors import UnreachableError
from engine.execution import ExecutionCore, Looks, Seen, Step
from engine.execution.funds import funds_news
from engine.execution.splitting import ASKED_AHEAD_NS, ASKED_BACK_NS
from engine.messages import AnyBody, Split
from engine.ports import Venue, VenueAccount, VenueOrder, VenueSplit
from engine.values import NS_PER_DAY, NS_PER_MINUTE, AssetClass, asset_class_of, plain
from streams.rest import RestLane
from streams.tasks import Tasks

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_MARGIN_NS = NS_PER_MINUTE
"""An order may carry a time that is so much older than the moment it is listed first."""
_DUE_S = 1.0
_SPLITS_EVERY_NS = NS_PER_DAY // 4


class Looked(msgspec.Struct, frozen=True):
    """What a look brought.

    Attributes:
        number: Of the connection it was made under; what came before a reconnect does not count.
        now_ns: Venue time before the questions.
        splits: Announced ones; empty where they were not asked for.
        failure: Why there is nothing; the rest is then empty.
    """

    number: int
    now_ns: int = 0
    orders: tuple[VenueOrder, ...] = ()
    account: VenueAccount | None = None
    splits: tuple[VenueSplit, ...] = ()
    failure: str = ""


class Taken(msgspec.Struct, frozen=True):
    """What follows from a look: events that are applied already, and whether everything must be asked for."""

    events: tuple[AnyBody, ...] = ()
    needs_sweep: bool = False


class Reconciler:
    """Looks, again and again.

    Args:
        core: Gives the ledger to compare with.
        venue: Who is asked.
        lane: Its REST.
        tasks: Where the questions run.
        answer: Takes what came.
        now_ns: Venue time.
        limits: Of risk: below which the venue's funds are news.
        settings: How often, how long to wait, from which difference on a person must look.
        symbols: Gives those of the bots: their splits matter though nothing is held.
    """

    def __init__(
        self,
        core: Callable[[], ExecutionCore],
        venue: Venue,
        lane: RestLane,
        *,
        tasks: Tasks,
        answer: Callable[[Looked], None],
        now_ns: Callable[[], Awaitable[int]],
        settings: ExecutorSettings,
        limits: RiskLimits,
        symbols: Callable[[], tuple[str, ...]],
    ) -> None:
        self._core = core
        self._venue = venue
        self._lane = lane
        self._tasks = tasks
        self._answer = answer
        self._now_ns = now_ns
        self._settings = settings
        self._limits = limits
        self._symbols = symbols
        self._looks = Looks()
        self._number = 0
        self._splits_asked_ns = 0
        self._is_sweeping = False
        self.is_agreed = False
        self.open = 0
        self.corrections = 0

    @property
    def is_paused(self) -> bool:
        """Whether a difference is being looked into."""
        return self._looks.is_open

    def problems(self) -> list[str]:
        """Say what a person should look at."""
        found = ["venue and ledger differ, which is being looked into"] if self.is_paused else []
        for split in self._core().unbooked:
            ratio = f"{plain(split.ratio)} for 1"
            found.append(f"the split of {split.symbol} ({ratio}) has taken effect and the venue has not booked it")
        return found

    def reset(self) -> None:
        """Forget what was seen: the connection is another one."""
        self._number += 1
        self._looks.reset()
        self._is_sweeping = self.is_agreed = False

    def look(self, wait_s: float = 0.0) -> None:
        """Ask what the venue has, after a wait."""
        self.open += 1
        self._tasks.spawn(self._look(self._number, wait_s))

    def swept(self) -> None:
        """Go on: everything was asked for, and what it explains is in the ledger."""
        if self._is_sweeping:
            self._is_sweeping = False
            self.look(self._settings.difference_s_min if self.is_paused else 0.0)
        elif self._core().has_done_split and self.is_agreed and not self.open:
            self.look()

    async def run(self) -> None:
        """Look every so often, and whenever something is due about a split; for ever."""
        waited_s = 0.0
        while True:
            due_ns = self._core().due_ns()
            wait_s = min(_DUE_S, self._settings.reconcile_every_s) if due_ns else self._settings.reconcile_every_s
            await asyncio.sleep(wait_s)
            waited_s += wait_s
            is_due = waited_s >= self._settings.reconcile_every_s or (due_ns and await self._now_ns() >= due_ns)
            if is_due and self.is_agreed and not self.open and not self.is_paused:
                waited_s = 0.0
                self.look()

    def take(self, looked: Looked, *, is_idle: bool, latched: bool) -> Taken:
        """Judge a look.

        Args:
            looked: What it brought.
            is_idle: Whether no request is under way that could explain a difference.
            latched: Whether the latch file is there.
        """
        self.open -= 1
        core, account = self._core(), looked.account
        if looked.number != self._number:
            return Taken()
        if account is None:
            log.warning("venue did not say what the account has", reason=looked.failure)
            if self.is_paused or not self.is_agreed:
                self.look(self._settings.lookup_wait_s)
            return Taken()
        core.announce(looked.splits)
        done = core.on_account(account, looked.now_ns).events
        for event in done:
            core.apply(event)
        if any(isinstance(event, Split) for event in done):  # see to its orders, and compare the rest anew
            self._is_sweeping = True
            return Taken(done, needs_sweep=True)
        seen = core.compare(account, looked.orders, looked.now_ns)
        match self._looks.take(seen, core.state.book.moves, is_idle=is_idle):
            case Step.AGREED:
                core.swept(looked.now_ns - _MARGIN_NS)
                self.is_agreed = True
                news = funds_news(core.state, account, self._limits, looked.now_ns)
                for event in news:
                    core.apply(event)
                return Taken((*done, *news))
            case Step.AGAIN:
                self.look(self._settings.lookup_wait_s)
            case Step.SWEEP:
                self._is_sweeping = True
                return Taken(done, needs_sweep=True)
            case Step.SETTLE:
                return Taken((*done, *self._settle(seen, account, looked.now_ns, latched=latched)))
        return Taken(done)

    def _settle(self, seen: Seen, account: VenueAccount, now_ns: int, *, latched: bool) -> tuple[AnyBody, ...]:
        core = self._core()
        usd_max = self._settings.correction_usd_max
        events = core.settle(account, usd_max=usd_max, now_ns=now_ns, latched=latched).events
        for event in events:
            core.apply(event)
        self.corrections += bool(events)
        log.warning("the ledger was corrected", account=str(seen.account), orders=seen.orders)
        self.is_agreed = True
        return events

    async def _look(self, number: int, wait_s: float) -> None:
        if wait_s:
            await asyncio.sleep(wait_s)
        core, venue = self._core(), self._venue
        since = core.orders_since()
        try:
            now = await self._now_ns()
            splits = await self._splits(now)
            orders = await self._lane.call("look", lambda: venue.orders(since))
            account = await self._lane.call("look", venue.account)
        except UnreachableError as err:
            self._answer(Looked(number, failure=str(err)))
            return
        self._answer(Looked(number, now, tuple(orders), account, splits))

    async def _splits(self, now: int) -> tuple[VenueSplit, ...]:
        """Ask for announced splits four times a day, and while something differs."""
        if now - self._splits_asked_ns < _SPLITS_EVERY_NS and not self.is_paused:
            return ()
        venue, symbols = self._venue, {*self._symbols(), *self._core().state.book.positions}
        shares = sorted(symbol for symbol in symbols if asset_class_of(symbol) is AssetClass.US_EQUITY)
        splits = await self._lane.call(
            "look", lambda: venue.splits(shares, now - ASKED_BACK_NS, now + ASKED_AHEAD_NS) if shares else ()
        )
        self._splits_asked_ns = now
        return tuple(splits)
