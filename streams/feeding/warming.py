"""Bars from before the first that there is, for bots that want them: asked for beside the feed's work. Part of feed.

What to ask for and what is stored of the answer is decided in engine.pasts.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog
from nats.js.errors import NotFoundError

from engine.liveness import few
from engine.messages import Alert, Bar, MarketBody, PastBars, decode_market
from engine.pasts import PastCore, Wanted
from engine.sessions import SessionTable
from engine.values import NS_PER_S, PAST_SYMBOLS_MAX, timeframe_ns
from streams.feeding.fetching import FetchedPast, Fetcher
from streams.reader import read
from streams.role import Context
from streams.subjects import escape

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_BATCH_MAX = 100


class Warming:
    """What was asked for, and how far it is.

    Args:
        context: The role's.
        fetcher: Who asks.
        sessions: The calendar, kept up by the owner.
    """

    def __init__(self, context: Context, fetcher: Fetcher, sessions: SessionTable) -> None:
        self._context = context
        self._fetcher = fetcher
        self._sessions = sessions
        self._core = PastCore(sessions)
        self._open = self._asked = 0
        self._stored: set[Wanted] = set()

    @property
    def note(self) -> str:
        """How far it is, for a person; empty: nothing is awaited."""
        return f"past bars to warm up with: {self._asked - self._open} of {self._asked} came" if self._open else ""

    async def start(self) -> None:
        """Learn what the stream has."""
        context, market = self._context, self._context.topology.market
        subject = f"{context.topology.prefix}.past.>"
        try:
            last = (await context.js.get_last_msg(market, subject)).seq or 0
        except NotFoundError:
            return
        reader, seq, known = context.reader(market, 0, [subject]), 0, list[Wanted]()
        await reader.start()
        while seq < last:
            for item in await reader.batch(_BATCH_MAX):
                seq, body = item.seq, read(item, market, decode_market).body
                if isinstance(body, PastBars):
                    known.append((body.symbol, body.timeframe, body.wanted))
        await reader.stop()
        context.readers.remove(reader)
        self._stored = set(known)
        self._core = PastCore(self._sessions, known)

    async def look(self, wanted: Collection[Wanted], connected: Collection[str]) -> None:
        """Ask for what is wanted and was not asked for, of symbols that are connected: others may not be known."""
        if len({symbol for symbol, *_ in wanted}) > PAST_SYMBOLS_MAX:
            return
        await self._forget_gone()
        missing = self._core.missing(one for one in wanted if one[0] in connected)
        if not missing:
            return
        now = await self._context.clock.now_ns()
        since = {symbol: await self._since(symbol, now) for symbol in {symbol for symbol, *_ in missing}}
        asks = self._core.asks(missing, since, now)
        self._asked = self._open + sum(len(ask.symbols) for ask in asks)
        self._open = self._asked
        self._fetcher.ask_past(asks)

    async def taken(self, answer: FetchedPast) -> list[MarketBody]:
        """Give what is to be stored of an answer."""
        ask = answer.ask
        self._open -= len(ask.symbols)
        if isinstance(answer.bars, str):
            self._core.on_failed(ask)
            return []
        now = await self._context.clock.now_ns()
        found = self._core.on_past(ask, answer.bars, answer.minutes, now)
        self._stored |= {(one.symbol, one.timeframe, one.wanted) for one in found}
        bars = sum(len(one.bars) for one in found)
        log.info("past bars came", timeframe=ask.timeframe, symbols=few(ask.symbols), bars=bars, to_come=self._open)
        return list[MarketBody](found)

    async def _forget_gone(self) -> None:
        """Forget what was stored and is not there any more: the stream keeps messages for a while only."""
        topology = self._context.topology
        info = await self._context.js.stream_info(topology.market, subjects_filter=f"{topology.prefix}.past.>")
        there = info.state.subjects or {}
        gone = {one for one in self._stored if f"{topology.prefix}.past.{one[1]}.{escape(one[0])}" not in there}
        self._stored -= gone
        self._core.forget(gone)

    async def _since(self, symbol: str, now_ns: int) -> int:
        """Give since when the stream has bars of a symbol, or will have them."""
        context, topology, feed = self._context, self._context.topology, self._context.settings.feed
        subject = f"{topology.prefix}.bars.{feed.timeframe}.{escape(symbol)}"
        try:
            first = await context.js.get_msg(topology.market, 1, subject=subject, direct=True, next=True)
        except NotFoundError:
            return max(context.opened_ns, now_ns - feed.backfill_s_max * NS_PER_S)
        bar = decode_market(first.data or b"").body
        return bar.ts_event - timeframe_ns(bar.timeframe) if isinstance(bar, Bar) else now_ns


def failure(answer: FetchedPast) -> Alert | None:
    """Give the alert of an answer that is none."""
    if not isinstance(answer.bars, str):
        return None
    names, timeframe = few(answer.ask.symbols), answer.ask.timeframe
    what = f"past bars ({timeframe}) of {names} did not come: {answer.bars}; strategies warm up with what comes"
    return Alert("", "warning", "feed", what, 0)
