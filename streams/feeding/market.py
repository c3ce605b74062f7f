"""Stores bars and gaps on the market stream, and again what nats-server acknowledged and lost (rule 1).

An async stream may lose its newest messages when its server is killed. They are a tail, so the last message that is
still where it was stored is found by bisection among those remembered. Called by streams/services/feed only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import structlog
from nats.js.errors import NotFoundError

from engine.ids import bar_key
from engine.messages import Gap, MarketBody, PastBars, Ticks, decode_market
from streams.publisher import Outgoing, Publisher
from streams.role import Context, last_per_subject

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_REMEMBERED_MAX = 50_000
"""Messages kept for storing again; more than four minutes of the whole market."""


class MarketStore:
    """The market stream as feed writes it.

    Attributes:
        bars: Bars stored since start.
        corrections: Newer revisions of them.
        gaps: Gaps in the stream, whoever stored them.
        pasts: The same of messages with bars from before the first.
        ticks: The same of messages with trades.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._publisher = Publisher(context.nc, context.topology.market, "feed")
        self._is_suspicious = False
        self._recent: deque[tuple[int, Outgoing]] = deque(maxlen=_REMEMBERED_MAX)
        self.bars = 0
        self.corrections = 0
        self.gaps = 0
        self.pasts = 0
        self.ticks = 0

    @property
    def last_seq(self) -> int:
        """Sequence of the last message stored."""
        return self._publisher.last_seq

    async def start(self) -> None:
        """Learn how far the stream is."""
        topology = self._context.topology
        await self._publisher.sync()
        self.gaps = await self._count(f"{topology.prefix}.gaps.>")
        self.pasts = await self._count(f"{topology.prefix}.past.>")
        self.ticks = await self._count(f"{topology.prefix}.ticks.>")

    async def last_ticks(self) -> list[Ticks]:
        """Give the last message with trades of each symbol."""
        topology = self._context.topology
        known = await last_per_subject(self._context, topology.market, f"{topology.prefix}.ticks.>")
        return [body for data in known if isinstance(body := decode_market(data).body, Ticks)]

    async def _count(self, subjects: str) -> int:
        info = await self._context.js.stream_info(self._context.topology.market, subjects_filter=subjects)
        return sum((info.state.subjects or {}).values())

    async def store(self, received: Sequence[tuple[Sequence[MarketBody], int]]) -> int:
        """Store bodies in order, each with when it was received; give how many lost ones were stored again before."""
        context = self._context
        outgoing: list[Outgoing] = []
        gaps = corrections = past = ticks = 0
        for bodies, ts_recv in received:
            for body in bodies:
                if isinstance(body, Gap):
                    answer = f"{body.filled_by}|{body.bars}"
                    key = f"gap|{body.symbol}|{body.timeframe}|{body.ts_from}|{body.ts_to}|{answer}"
                    gaps += 1
                elif isinstance(body, PastBars | Ticks):
                    key = body.id
                    past += isinstance(body, PastBars)
                    ticks += isinstance(body, Ticks)
                else:
                    corrections += body.revision > 0
                    key = bar_key(body.symbol, body.timeframe, body.ts_event, body.revision)
                outgoing.append(context.outgoing(body, key, ts_recv=ts_recv))
        if not outgoing:
            return 0
        mended = await self.mend()
        context.points.hit("feed.before_publish")
        await self._publisher.burst(outgoing)
        first = self._publisher.last_seq - len(outgoing) + 1
        self._recent.extend(enumerate(outgoing, first))
        context.points.hit("feed.after_publish")
        self.gaps += gaps
        self.pasts += past
        self.ticks += ticks
        self.bars += len(outgoing) - gaps - corrections - past - ticks
        self.corrections += corrections
        return mended

    def suspect(self) -> None:
        """Note that the server may have lost its newest messages: looked at before anything else is stored."""
        self._is_suspicious = True

    async def mend(self) -> int:
        """Store again what was lost, if there is suspicion; give how many."""
        if not self._is_suspicious:
            return 0
        self._is_suspicious = False
        recent = list(self._recent)
        intact = 0
        unknown = len(recent)
        while intact < unknown:
            middle = (intact + unknown) // 2
            if await self._is_stored(*recent[middle]):
                intact = middle + 1
            else:
                unknown = middle
        lost = [outgoing for _, outgoing in recent[intact:]]
        if lost:
            log.error("nats-server lost acknowledged bars, publishing them again", lost=len(lost))
            for _ in lost:
                self._recent.pop()
            for outgoing in lost:
                self._recent.append((await self._publisher.one(outgoing), outgoing))
            await self._publisher.sync()
        return len(lost)

    async def _is_stored(self, seq: int, outgoing: Outgoing) -> bool:
        try:
            found = await self._context.js.get_msg(self._context.topology.market, seq)
        except NotFoundError:
            return False
        return found.data == outgoing.data
