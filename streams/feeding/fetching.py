"""Asks history for what was missed while a connection was down, beside the feed's work, and hands in the answers.

Ticks and bars are asked for side by side and answered in this order, so marks stand before the bars they belong to.
Called by streams/services/feed only; what to ask for and what follows is decided in engine.ingest and engine.marks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engine.errors import ConfigError, UnreachableError
from engine.ingest import Span
from engine.marks import Missed, Tick
from engine.messages import Bar
from engine.pasts import PastAsk
from engine.ports import BarHistory
from engine.values import MINUTE_BAR, AssetClass, asset_class_of
from streams.tasks import Tasks


class FetchedBars(msgspec.Struct, frozen=True):
    """History that came, or the reason why it did not."""

    span: Span
    bars: list[Bar] | str


class FetchedTicks(msgspec.Struct, frozen=True):
    """Trades and quotes that were missed, or the reason why they did not come."""

    missed: Missed
    ticks: Sequence[Tick] | str


class FetchedPast(msgspec.Struct, frozen=True):
    """Bars to warm up with, or the reason why they did not come; and minutes of the frames that are not over."""

    ask: PastAsk
    bars: list[Bar] | str
    minutes: list[Bar]


Fetched = FetchedBars | FetchedTicks | FetchedPast


class Fetcher:
    """Questions to history under way.

    Args:
        history: Who is asked; blocking.
        timeframe: Timeframe of the bars.
        tasks: Where the questions run.
        answer: Takes each answer.

    Attributes:
        open: Questions without an answer.
    """

    def __init__(self, history: BarHistory, timeframe: str, tasks: Tasks, answer: Callable[[Fetched], None]) -> None:
        self._history = history
        self._timeframe = timeframe
        self._tasks = tasks
        self._answer = answer
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="history")
        self._past_pool = ThreadPoolExecutor(1, thread_name_prefix="past")
        self.open = 0

    def ask(self, missed: Sequence[Missed], spans: Sequence[Span]) -> None:
        """Ask for all of it; each question gets one answer."""
        wanted = [
            (asset_class, Span(names, span.from_ns, span.to_ns))
            for span in spans
            for asset_class in AssetClass
            if (names := tuple(s for s in span.symbols if asset_class_of(s) is asset_class))
        ]
        self.open += len(missed) + len(wanted)
        ticks_are_in = asyncio.Event()
        self._tasks.spawn(self._all_ticks(missed, ticks_are_in))
        for kind, span in wanted:
            self._tasks.spawn(self._bars(kind, span, ticks_are_in))

    def ask_past(self, asks: Sequence[PastAsk]) -> None:
        """Ask for bars to warm up with, one question after the other, in a thread of its own."""
        self.open += len(asks)
        self._tasks.spawn(self._all_past(asks))

    async def _all_past(self, asks: Sequence[PastAsk]) -> None:
        waiting = list(asks)
        while waiting:
            ask = waiting.pop(0)
            try:
                bars, minutes = await asyncio.get_running_loop().run_in_executor(self._past_pool, self._past, ask)
            except (UnreachableError, ConfigError, ValueError) as err:  # none of it is worth more than the feed itself
                if isinstance(err, UnreachableError) or len(ask.symbols) == 1:
                    self._done(FetchedPast(ask, str(err), []))
                    continue
                alone = [msgspec.structs.replace(ask, symbols=(symbol,)) for symbol in ask.symbols]
                self.open += len(alone) - 1
                waiting[:0] = alone  # one of them is refused: the others need not be
            else:
                self._done(FetchedPast(ask, bars, minutes))

    def _past(self, ask: PastAsk) -> tuple[list[Bar], list[Bar]]:
        """Ask for the bars, and for the minutes of the frames that are not over."""
        names, read = ask.symbols, self._history.bars
        bars = read(ask.asset_class, names, ask.fetched, ask.from_ns, ask.to_ns, is_adjusted=True)
        if ask.minutes_from_ns >= ask.to_ns:
            return list(bars), []
        minutes = read(ask.asset_class, names, MINUTE_BAR, ask.minutes_from_ns, ask.to_ns, is_adjusted=True)
        return list(bars), list(minutes)

    def close(self) -> None:
        """Give up what is under way."""
        for pool in (self._pool, self._past_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _all_ticks(self, missed: Sequence[Missed], are_in: asyncio.Event) -> None:
        for one in missed:
            await self._ticks(one)
        are_in.set()

    async def _ticks(self, missed: Missed) -> None:
        kind = asset_class_of(missed.symbols[0])
        try:
            ticks = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._history.ticks, kind, missed.symbols, missed.from_ns, missed.to_ns
            )
        except UnreachableError as err:
            self._done(FetchedTicks(missed, str(err)))
        else:
            self._done(FetchedTicks(missed, ticks))

    async def _bars(self, kind: AssetClass, span: Span, after: asyncio.Event) -> None:
        answer: list[Bar] | str
        try:
            answer = list(
                await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._history.bars, kind, span.symbols, self._timeframe, span.from_ns, span.to_ns
                )
            )
        except UnreachableError as err:
            answer = str(err)
        await after.wait()
        self._done(FetchedBars(span, answer))

    def _done(self, answer: Fetched) -> None:
        self._answer(answer)
        self.open -= 1
