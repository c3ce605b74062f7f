"""Stores what feed has to say on the trading stream: marks, halts, alerts. Beside the bars, in one order, in batches.

What is told while a batch is being stored becomes the next batch, so that a flood of ticks costs few of them. A bar is
stored only when everything told before it is (`flushed`): risk sees the marks of a minute before its signals.
Called by streams/services/feed only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from engine.ids import make_id
from engine.messages import Alert, BarMarks, Mark, SymbolStatus
from streams.publisher import Outgoing, Publisher
from streams.role import Context

Word = Mark | BarMarks | SymbolStatus | Alert


class Teller:
    """What waits to be stored, and the task that stores it.

    Args:
        context: The role's.
        on_told: Called after each batch.

    Attributes:
        marks: Marks stored since start.
        statuses: Halts, resumptions and bands stored since start.
    """

    def __init__(self, context: Context, on_told: Callable[[], None]) -> None:
        self._context = context
        self._on_told = on_told
        self._publisher = Publisher(context.nc, context.topology.trading, "feed")
        self._waiting: list[tuple[Word, Outgoing]] = []
        self._storing = 0
        self._told = self._stored = 0
        self._is_due = asyncio.Event()
        self._is_moved = asyncio.Event()
        self._failure: BaseException | None = None
        self.marks = 0
        self.statuses = 0

    @property
    def open(self) -> int:
        """Words that are not stored yet."""
        return len(self._waiting) + self._storing

    @property
    def last_seq(self) -> int:
        """Sequence of the last word stored."""
        return self._publisher.last_seq

    def tell(self, words: Sequence[Word], ts_recv: int = 0) -> None:
        """Queue words, which are stored in order."""
        if not words:
            return
        for word in words:
            self._waiting.append((word, self._context.outgoing(word, self._id(word), ts_recv=ts_recv)))
        self._told += len(words)
        self._is_due.set()

    async def run(self) -> None:
        """Store what is queued until canceled."""
        context = self._context
        try:
            while True:
                await self._is_due.wait()
                self._is_due.clear()
                batch, self._waiting = self._waiting, []
                self._storing = len(batch)
                context.points.hit("feed.before_tell")
                outgoing = [one for _, one in batch]
                await (self._publisher.apart if _are_apart(batch) else self._publisher.atomic)(outgoing)
                context.points.hit("feed.after_tell")
                self.marks += sum(_marks_in(word) for word, _ in batch)
                self.statuses += sum(isinstance(word, SymbolStatus) for word, _ in batch)
                self._storing = 0
                self._stored += len(batch)
                self._is_moved.set()
                self._on_told()
        except BaseException as err:
            self._failure = err
            self._is_moved.set()  # whoever waits must not wait for ever
            raise

    async def flushed(self) -> None:
        """Wait until everything told so far is stored; what is told meanwhile, a flood perhaps, is not waited for."""
        told = self._told
        while self._stored < told and self._failure is None:
            self._is_moved.clear()
            await self._is_moved.wait()
        if self._failure is not None:
            raise self._failure

    def _id(self, word: Word) -> str:
        account, run = self._context.account, self._context.run
        match word:
            case Mark():
                return make_id(account, run, "mark", word.symbol, word.ts_event)
            case SymbolStatus():
                return make_id(account, run, "status", word.symbol, word.source, word.ts_event)
            case BarMarks() | Alert():
                return word.id


def _marks_in(word: Word) -> int:
    return len(word.prices) if isinstance(word, BarMarks) else isinstance(word, Mark)


def _are_apart(batch: Sequence[tuple[Word, Outgoing]]) -> bool:
    """Whether these are marks of different symbols: only those of one symbol have an order."""
    symbols = {word.symbol for word, _ in batch if isinstance(word, Mark)}
    return len(symbols) == len(batch)
