"""Moves venue time: by control calls (lock-step) or N times real time (timed), and hands what happens to the hubs.

Lock-step, rule 17: `events` moves to the next close and emits all that is decided in that interval; `bars` emits its
bars. Timed: both happen when venue time reaches the close; spans of more than five minutes in which no bar
closes are jumped over. Venue time never passes a close whose bars are not out. It decides no fill.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from adapters.exchange.bars import VenueBar
from adapters.exchange.generator import SyntheticBars
from adapters.exchange.market_ws import MarketHub
from adapters.exchange.trading_ws import TradingHub
from adapters.exchange.venue import Venue
from engine.values import NS_PER_MINUTE, NS_PER_S

State = Literal["held", "running", "waiting", "finished"]
_JUMP_NS = 5 * NS_PER_MINUTE
_NAP_S_MAX = 1.0


class PhaseError(Exception):
    """A step that does not fit: the phases alternate, and only lock-step has steps."""


class Driver:
    """The clock of one run.

    Args:
        venue: What is moved.
        market: Receives bars.
        trading: Receives events.
    """

    def __init__(self, venue: Venue, market: MarketHub, trading: TradingHub) -> None:
        self._venue = venue
        self._market = market
        self._trading = trading
        self._test_bars = SyntheticBars(venue.config.seed)
        self._test_minute: list[VenueBar] = []
        self._is_held = venue.config.hold and not venue.config.is_lockstep
        self._started = asyncio.Event()
        if not self._is_held:
            self._started.set()
        self._anchor: tuple[float, int] | None = None
        self._step_lock = asyncio.Lock()

    @property
    def state(self) -> State:
        """held, running, waiting (lock-step) or finished."""
        if self._venue.is_finished:
            return "finished"
        if self._venue.config.is_lockstep:
            return "waiting"
        return "running" if self._started.is_set() or self._anchor is not None else "held"

    @property
    def now_ns(self) -> int:
        """Venue time."""
        venue = self._venue
        if self._anchor is None:
            return venue.now_ns
        since, anchor_ns = self._anchor
        passed = (asyncio.get_running_loop().time() - since) * float(venue.config.speed)
        flowing = max(venue.now_ns, anchor_ns + int(passed * NS_PER_S))
        next_close = venue.next_close
        return venue.now_ns if next_close is None else min(flowing, next_close)

    def start(self) -> bool:
        """Let a held run go; False when there was nothing to start."""
        if self._started.is_set():
            return False
        self._started.set()
        return True

    def hold(self) -> bool:
        """Stop a timed run at its next close, until `start`; False when it does not run."""
        if self.state != "running" or not self._started.is_set():
            return False
        self._started.clear()
        return True

    def tell(self) -> None:
        """Emit what requests caused, at once in timed mode; in lock-step it waits for the next step."""
        if not self._venue.config.is_lockstep:
            self._trading.emit(self._venue.book.acknowledge(), self.now_ns)
            self._market.say()

    async def step_events(self) -> int:
        """Do the first phase of a step.

        Returns:
            Number of events emitted.
        """
        self._check_lockstep()
        async with self._step_lock:
            if self._venue.is_between:
                msg = "the bars of this step are not emitted yet: POST phase bars first"
                raise PhaseError(msg)
            count = self._begin()
            await self._trading.flushed()
            return count

    async def step_bars(self) -> int:
        """Do the second phase of a step.

        Returns:
            Number of bars emitted.
        """
        self._check_lockstep()
        async with self._step_lock:
            if not self._venue.is_between:
                if self._venue.is_finished:
                    return 0
                msg = "the events of this step are not emitted yet: POST phase events first"
                raise PhaseError(msg)
            count = self._end()
            await self._market.flushed()
            return count

    async def run_timed(self) -> None:
        """Play the market in timed mode until its end."""
        venue, loop = self._venue, asyncio.get_running_loop()
        while (next_close := venue.next_close) is not None:
            if not self._started.is_set():
                self._anchor = None
                await self._started.wait()
            if self._anchor is None:
                self._anchor = (loop.time(), venue.now_ns)
            if next_close - venue.now_ns > _JUMP_NS:
                venue.now_ns = next_close - NS_PER_MINUTE
                self._anchor = (loop.time(), venue.now_ns)
            await self._reach(next_close)
            self._begin()
            self._end()
            await asyncio.sleep(0)

    async def _reach(self, venue_ns: int) -> None:
        """Sleep until venue time is there, in naps, so that a stop is never far."""
        speed = float(self._venue.config.speed)
        while True:
            left_ns = venue_ns - self.now_ns
            if left_ns <= 0:
                return
            await asyncio.sleep(min(_NAP_S_MAX, left_ns / NS_PER_S / speed))

    def _begin(self) -> int:
        updates = self._venue.begin_minute()
        self._trading.emit(updates, self._venue.now_ns)
        if self._venue.is_between:
            self._test_minute = [self._test_bars.minute(self._venue.now_ns - NS_PER_MINUTE)]
            self._market.prepare(self._venue.minute, self._test_minute, self._venue.late_updates)
        return len(updates)

    def _end(self) -> int:
        late, bars = self._venue.end_minute()
        self._market.emit(bars, self._test_minute, late)
        return len(bars)

    def _check_lockstep(self) -> None:
        if not self._venue.config.is_lockstep:
            msg = 'only a run with speed "max" is moved by steps'
            raise PhaseError(msg)
