"""Risk, execution and a simulated venue in one loop: what an account would have done on these bars and signals.

The decisions are those of the daemon, by the same cores in the same order as in its lock-step: a minute's fills and
what follows from them, then its prices, then what is said at it. What the daemon stores in the trading stream is given
back instead, in the order in which it would have been stored.

Promises:
1. Equal messages, bars and rules give equal answers: no clock, no randomness, time is that of bars and signals.
2. An order is filled by the bar after the one that it was decided at, never by that one.
Called by engine.shadows and engine.backtest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from engine.barmarks import bar_marks
from engine.bots import RiskLimits
from engine.errors import BrokenPromiseError
from engine.execution import ExecutionCore
from engine.execution.conclusion import Conclusion
from engine.execution.funds import funds_news
from engine.messages import (
    AccountOpened,
    AnyBody,
    Bar,
    OrderIntent,
    OrderSubmitted,
    Position,
    Sessions,
    Split,
)
from engine.ports import SimulatedVenue
from engine.risk import RiskCore
from engine.risk.waiting import moved_by
from engine.splits import times
from engine.values import ZERO

_DONE_MAX = 2_000
"""Of as many orders it is known what came of them: nothing here comes twice, and a run may be years long."""


class Desk:
    """One account.

    Args:
        opened: Whose, and what cash it begins with.
        limits: The limits of the rules.
        venue: Where its orders go.
        is_prompt: The venue tells at once what came of a request, as venues do; else with the next minute, as the
            exchange does in lock-step.
    """

    def __init__(
        self, opened: AccountOpened, limits: RiskLimits, venue: SimulatedVenue, *, is_prompt: bool = True
    ) -> None:
        self.risk = RiskCore((), limits)
        self._execution = ExecutionCore(done_max=_DONE_MAX)
        self._limits, self._venue, self._is_prompt = limits, venue, is_prompt
        self._now = opened.ts_event
        self._marked: dict[str, int] = {}
        self._to_send: deque[OrderIntent] = deque()
        self._asked: set[str] = set()
        self._holders: dict[str, set[str]] = {}
        self._stored: list[AnyBody] = []
        self._store(opened)
        self._look()

    def take(self, bodies: Iterable[AnyBody], now_ns: int = 0) -> list[AnyBody]:
        """Take in messages that others stored: definitions, calendar, states of symbols, splits, signals.

        Args:
            bodies: The messages.
            now_ns: When signals among them were said; an earlier time than the newest known counts as that.

        Returns:
            What is stored in answer to them, in order; not the messages themselves.
        """
        self._now = max(self._now, now_ns)
        for body in bodies:
            if isinstance(body, Split):
                self._split(body)
                continue
            if isinstance(body, Sessions):
                self._venue.on_sessions(body)
            self._apply(body)
            self._decide(body)
        return self._answers()

    def on_bars(self, bars: Sequence[Bar], now_ns: int) -> list[AnyBody]:
        """Let a minute pass.

        Args:
            bars: Its 1-minute bars, at most one per symbol.
            now_ns: Their close; an earlier time than the newest known counts as that.

        Returns:
            What is stored of it, in order: fills, positions, exits of guards.
        """
        self._now = max(self._now, now_ns)
        updates, done = self._venue.advance(bars, self._now), list[AnyBody]()
        for update in updates:
            self._conclude(self._execution.on_update(update))
            done += self._answers()  # what follows from a fill comes before the next one
        self._charge()
        if updates:
            self._look()
        done += self._answers()
        held = [bar for bar in bars if self._holders.get(bar.symbol)]
        for marks in bar_marks(held, self._marked, self._name) if held else ():
            for caused in self.risk.apply(marks):  # prices are nothing to execution
                self._store(caused)
            self._decide(marks)
        return [*done, *self._answers()] if done else self._answers()

    def _split(self, split: Split) -> None:
        """Exchange what is held; what the venue does not keep of it is of this account, not of that of the message."""
        if split.id in self._execution.state.splits:
            return
        held = self._venue.account().positions.get(split.symbol, ZERO)
        updates = self._venue.split(split)
        lost = times(held, split.ratio) - self._venue.account().positions.get(split.new_symbol, ZERO)
        self._apply(msgspec.structs.replace(split, fraction_qty=lost, cash_in_lieu=ZERO))
        for update in updates:
            self._conclude(self._execution.on_update(update))
        self._charge()

    # --- what is done about it ---------------------------------------------------------------------------------------

    def _answers(self) -> list[AnyBody]:
        """Decide until nothing follows any more; give what was stored since the last call."""
        count = -1
        while count < len(self._stored):
            count = len(self._stored)
            if self._is_prompt:  # and by the clock; in lock-step time passes with messages only
                self._decide()
            self._send()
            for update in self._venue.acknowledge() if self._is_prompt else ():
                self._conclude(self._execution.on_update(update))
        stored, self._stored = self._stored, []
        return stored

    def _decide(self, body: AnyBody | None = None) -> None:
        """Let risk decide, as it does after each message; None: because time has passed."""
        if self.risk.has_work:
            for answer in self.risk.decide_waiting(self._now, "" if body is None else moved_by(body)):
                self._store(answer)

    def _send(self) -> None:
        execution, now = self._execution, self._now
        while self._to_send:
            intent = self._to_send.popleft()
            event = execution.submit(intent, now, may_oppose=self._limits.opposite_sides)
            self._store(event)
            self._decide(event)
            if isinstance(event, OrderSubmitted):
                place = self._venue.replace if intent.replaces else self._venue.submit
                self._conclude(execution.on_outcome(intent.id, place(intent, now), now))
        if not (execution.state.unwanted or execution.is_halted(latched=False)):
            return
        for key in execution.unwanted(latched=False):
            if key not in self._asked:
                self._asked.add(key)
                self._venue.cancel(key, now)

    def _conclude(self, conclusion: Conclusion) -> None:
        if conclusion.needs_executions or conclusion.needs_orders:
            msg = f"the simulated venue told of something that nothing explains: {conclusion}"
            raise BrokenPromiseError(msg)
        for event in conclusion.events:
            self._store(event)
            self._decide(event)

    def _charge(self) -> None:
        """Book what the venue charges or pays."""
        if activities := self._venue.activities():
            self._conclude(self._execution.on_activities(activities, self._now))

    def _look(self) -> None:
        """Note what the account may spend, where that is news."""
        for funds in funds_news(self._execution.state, self._venue.account(), self._limits, self._now):
            self._store(funds)
            self._decide(funds)

    def _store(self, body: AnyBody) -> None:
        """Let what we say count, and what follows from it."""
        self._stored.append(body)
        if isinstance(body, OrderIntent):
            self._to_send.append(body)
        elif isinstance(body, Position):
            holders = self._holders.setdefault(body.symbol, set())
            (holders.add if body.signed_qty else holders.discard)(body.bot)
        self._apply(body)

    def _apply(self, body: AnyBody) -> None:
        self._execution.apply(body)
        for caused in self.risk.apply(body):
            self._store(caused)

    @property
    def _name(self) -> str:
        return f"{self.risk.state.account}|{self.risk.state.run}"
